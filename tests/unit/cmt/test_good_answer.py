"""The short way to read a good answer: taken for what Marketing Cloud sends, and never in contradiction to the tree."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.cmt.errors import Fault
from app.cmt.good_answer import read_good_answer
from app.cmt.reader import RowAnswer, UnreadableAnswer, WriteAnswer, read_write_answer
from tests.support.answers import PARTNER, bad, good, written
from tests.support.examples import examples

HEADER = (
    '<soap:Header><wsa:Action>UpdateResponse</wsa:Action><wsse:Security><wsu:Timestamp wsu:Id="Timestamp-1fc0">'
    "<wsu:Created>2026-11-22T04:25:26Z</wsu:Created></wsu:Timestamp></wsse:Security></soap:Header>"
)
OBJECT = (
    '<Object xsi:type="DataExtensionObject"><PartnerKey xsi:nil="true" /><CustomerKey>CMT_Contact</CustomerKey>'
    "<Properties><Property><Name>City</Name><Value>Köln &amp; &lt;Bonn&gt;</Value></Property></Properties></Object>"
)


def row(ordinal: int, message: str = "Updated DataExtensionObject", inside: str = OBJECT) -> str:
    return (
        f'<Results xsi:type="DataExtensionUpdateResult"><StatusCode>OK</StatusCode><StatusMessage>{message}'
        f"</StatusMessage><OrdinalID>{ordinal}</OrdinalID>{inside}</Results>"
    )


def answer(*rows: str, header: str = HEADER, operation: str = "Update", overall: str = "OK") -> bytes:
    text = (
        '<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:wsa="urn:a" xmlns:wsse="urn:b" xmlns:wsu="urn:c">'
        f'{header}<soap:Body><{operation}Response xmlns="{PARTNER}">{"".join(rows)}<RequestID>7c7d-01</RequestID>'
        f"<OverallStatus>{overall}</OverallStatus></{operation}Response></soap:Body></soap:Envelope>"
    )
    return text.encode()


def swallowed(opening: str, closing: str) -> bytes:
    """Two good rows to whoever looks for their elements; to the tree one, with the other inside its object."""
    inside = f"<Object>{opening}</Object></Results>" + row(1, inside=f"<Object>{closing}</Object>")
    return answer(row(0, inside=inside.removesuffix("</Results>")))


def assert_reads_as_good(ordinals: list[int], read: WriteAnswer | Fault) -> None:
    """The tree says the same: every row is OK, with these ordinals, and there is nothing else."""
    assert isinstance(read, WriteAnswer)
    rows = zip(read.rows, ordinals, strict=True)
    assert read == WriteAnswer("OK", tuple(RowAnswer("OK", seen.message, ordinal) for seen, ordinal in rows))


def spread(body: bytes) -> bytes:
    """One element a line, as some servers write."""
    return body.replace(b"><", b">\n  <")


@pytest.mark.parametrize("shape", [bytes, spread])
@pytest.mark.parametrize(
    ("body", "operation"),
    [
        (answer(row(0)), "Update"),
        (answer(row(0), row(1), row(2)), "Update"),
        (answer(row(1), row(0)), "Update"),
        (answer(row(0, inside="")), "Update"),
        (answer(row(0, "Deleted DataExtensionObject"), operation="Delete"), "Delete"),
        (answer(row(0), header=""), "Update"),
        (answer(row(0, "Really? Yes!")), "Update"),
    ],
)
def test_what_is_sent_when_all_went_well_needs_no_tree(body: bytes, operation: str, shape: type[bytes]) -> None:
    found = read_good_answer(shape(body), operation)
    assert found is not None
    assert_reads_as_good(found, read_write_answer(shape(body), operation))


@pytest.mark.parametrize(
    "body",
    [
        answer(),
        answer(row(0), overall="Has Errors"),
        answer(row(0), operation="Delete"),
        answer(row(0), bad(310007, "No", ordinal=1)),
        answer(bad(310007, "No"), row(1)),
        swallowed("<!--", "-->"),
        swallowed("<![CDATA[", "]]>"),
        swallowed("<?x ", "?>"),
        answer(row(0).replace("</Object>", "</Object><ErrorCode>2</ErrorCode>")),
        answer(row(0).replace("</Object>", "</Object><ErrorCode>2</ErrorCode><Object></Object>")),
        answer(row(0, inside="<ErrorCode>2</ErrorCode>")),
        answer(row(0, inside="<Object><Object></Object></Object>")),
        answer(row(0, inside="<Object /><StatusCode>Error</StatusCode><Object></Object>")),
        answer(row(0, inside="<Object a='>'/><StatusCode>Error</StatusCode><Object></Object>")),
        answer(row(0, inside="<Object></Object ><StatusCode>Error</StatusCode><Object></Object>")),
        answer(row(0), header="<soap:Header></soap:Header ><soap:Body><soap:Fault/></soap:Body>" + HEADER),
        answer(row(0, inside=f"<Object>{row(1)}</Object>")),
        answer(row(0, "Updated &amp; more")),
        answer(row(0, "Geändert")),
        answer(row(0), row(1)).replace(b"</Object></Results>", b"<!-- </Object></Results> --></Object></Results>", 1),
        answer(row(0)).replace(b"<Results", b"<![CDATA[<Results]]><Results"),
        answer(row(0)).replace(b"<soap:Body>", b"<?stop?><soap:Body>"),
        answer(row(0)).replace(b"utf-8", b"iso-8859-1"),
        answer(row(0))[:-1],
        answer(row(0))[:-20],
        answer(row(0)) + b"more",
        b"<html>" + answer(row(0)),
        answer(row(0)).replace(b"xmlns:wsa", b'xmlns:long="%b" xmlns:wsa' % (b"x" * 4_000)),
        b"",
    ],
)
def test_anything_else_is_left_to_the_reader(body: bytes) -> None:
    assert read_good_answer(body, "Update") is None


PIECES = [
    *(row(0), row(1, inside=""), bad(310007, "No", ordinal=1), good(3), OBJECT, HEADER, "<Results>", "</Results>"),
    *("<Object>", "</Object>", "<Object/>", "<StatusCode>Error</StatusCode>", "<OverallStatus>OK</OverallStatus>"),
    *("<!--", "-->", "<![CDATA[", "]]>", "<?x ?>", "&lt;", "<", ">", "/", '"', "\n", "\r", "é", "Error", "0"),
    *("<Object />", "</Object >"),
    *("<ErrorCode>1</ErrorCode>", "<soap:Header>", "</soap:Header>", "<soap:Body>", "</soap:Body>", "<soap:Fault>"),
    "</UpdateResponse>",
]  # fmt: skip


@settings(max_examples=examples(800), deadline=None)
@given(
    base=st.sampled_from(
        [answer(row(0)), answer(row(0), row(1)), spread(answer(row(0), row(1))), written(good(0) + good(1))]
    ),
    changes=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 60), st.sampled_from(PIECES) | st.just("")), min_size=0, max_size=4
    ),
)
@example(base=answer(row(0), row(1)), changes=[])
def test_it_never_contradicts_the_tree(base: bytes, changes: list[tuple[float, int, str]]) -> None:
    body = base
    for place, length, piece in changes:
        at = int(place * len(body))
        body = body[:at] + piece.encode() + body[at + length * (length % 3) :]
    found = read_good_answer(body, "Update")
    if found is None:
        return
    try:
        read = read_write_answer(body, "Update")
    except UnreadableAnswer:
        return  # what is said of the rows stands there all the same
    assert_reads_as_good(found, read)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([row(0), row(1, inside=""), bad(3, "No"), row(2, "x")]), st.integers(0, 3))),
    st.sampled_from(["OK", "Has Errors", "Error"]),
    st.data(),
)
def test_pieces_put_together_anyhow_read_the_same(
    pieces: list[tuple[str, int]], overall: str, data: st.DataObject
) -> None:
    rows = []
    for text, spaces in pieces:
        tags = text.replace("><", ">" + " " * spaces + "<")
        cut = data.draw(st.sampled_from(["", OBJECT, "<ErrorCode>2</ErrorCode>", "</Object>"]))
        rows.append(tags.replace(cut, "", 1) if cut else tags)
    body = answer(*rows, overall=overall)
    found = read_good_answer(body, "Update")
    if found is not None:
        try:
            read = read_write_answer(body, "Update")
        except UnreadableAnswer:
            return
        assert_reads_as_good(found, read)
