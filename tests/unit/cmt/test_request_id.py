"""The request ID of an answer: what Marketing Cloud's support asks for."""

from __future__ import annotations

import doctest

import pytest

from app.cmt import request_id
from app.cmt.request_id import LONGEST, request_id_of
from app.cmt.results import Mask, names_of, write_results
from app.http.answer import Answer
from app.profile.entities import Catalog
from tests.support.answers import bad, envelope, fault, good, retrieved, written

ROW = {"ConsumerId": "ann", "ContactId": "k1"}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (written(bad(310007, "no")), "7c7d"),
        (written(bad(310007, "no").replace("<Results", "<Results><RequestID>of-the-row</RequestID>")), "7c7d"),
        (retrieved([{"RequestID": "x"}], "Error: no", "f06c-1"), "f06c-1"),
        (written(bad(1, "no")).replace(b"<RequestID>", b'<a:RequestID xmlns:a="b">').replace(b"/R", b"/a:R"), "7c7d"),
        (envelope("<soap:Fault><detail><RequestID> 1-2 </RequestID></detail></soap:Fault>"), "1-2"),
        (fault("Server", "no"), ""),
        (written(good()).replace(b"7c7d", b""), ""),
        (written(good()).replace(b"7c7d", b"x" * LONGEST), "x" * LONGEST),
        (written(good()).replace(b"7c7d", b"x" * (LONGEST + 1)), ""),
        (written(good()).replace(b"7c7d", "\u00e4".encode()), ""),
        (written(good()).replace(b"7c7d", b"a\nb"), ""),
        (written(good()).replace(b"7c7d", b"&#10;"), ""),
        (b"<html>RequestID</html>", ""),
        (b"<RequestID>1", ""),
        (b"", ""),
    ],
)
def test_it_is_that_of_the_answer_or_none(body: bytes, found: str) -> None:
    assert request_id_of(body) == found


def test_only_rows_that_failed_have_one(catalog: Catalog) -> None:
    body = written(good(0) + bad(310007, "no", ordinal=1), "Has Errors")
    results = write_results(Answer(200, body), "Update", Mask((ROW, ROW), names_of(catalog)))
    assert [result.request_id for result in results] == ["", "7c7d"]


def test_a_row_that_the_answer_left_out_has_one_too(catalog: Catalog) -> None:
    results = write_results(Answer(200, written(good(0))), "Update", Mask((ROW, ROW), names_of(catalog)))
    assert [result.request_id for result in results] == ["", "7c7d"]


def test_the_examples_are_true() -> None:
    found = doctest.testmod(request_id)
    assert (found.failed, found.attempted > 0) == (0, True)
