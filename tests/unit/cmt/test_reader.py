"""Answers are read as zeep reads them, and what is no answer is told apart."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import zeep

from app.bundled import schema_path
from app.cmt.errors import Fault
from app.cmt.lenient_xml import made_readable, stand_in_of
from app.cmt.reader import (
    ColumnError,
    RetrieveAnswer,
    RowAnswer,
    UnreadableAnswer,
    WriteAnswer,
    read_retrieve_answer,
    read_write_answer,
)
from tests.support.answers import bad, envelope, fault, good, retrieved, written


@pytest.fixture(scope="module")
def soap() -> zeep.Client:
    return zeep.Client(str(schema_path("cmt.wsdl")), settings=zeep.Settings(strict=True))


def as_zeep_reads(soap: zeep.Client, operation: str, body: bytes) -> Any:
    response = requests.Response()
    response.status_code, response._content = 200, body
    response.headers["Content-Type"] = "text/xml"
    binding = soap.service._binding
    return binding.process_reply(soap, binding.get(operation), response)


@pytest.mark.parametrize(
    "results",
    [
        good(),
        good(0) + bad(310007, "Errors <occurred> & so on", ordinal=1, column=("Value", 70002, "'x' is too long")),
        bad(310001, "No key found.", column=("ContactId", 70004, "empty"), key=True),
        bad(310006, "Rerun the transaction.") + good(1) + good(2),
    ],
)
def test_a_write_answer_reads_as_zeep_reads_it(soap: zeep.Client, results: str) -> None:
    body = written(results, "Has Errors")
    ours, theirs = read_write_answer(body, "Update"), as_zeep_reads(soap, "Update", body)
    assert isinstance(ours, WriteAnswer)
    assert ours.overall_status == theirs.OverallStatus == "Has Errors"
    assert [(row.status, row.message, row.ordinal, row.error_code) for row in ours.rows] == [
        (row.StatusCode, row.StatusMessage, row.OrdinalID, row.ErrorCode) for row in theirs.Results
    ]
    for row, their in zip(ours.rows, theirs.Results, strict=True):
        found = [
            *(their.KeyErrors.KeyError if getattr(their, "KeyErrors", None) else ()),
            *(their.ValueErrors.ValueError if getattr(their, "ValueErrors", None) else ()),
        ]
        assert [(error.column, error.code, error.message) for error in row.column_errors] == [
            (error.Name, error.ErrorCode, error.ErrorMessage) for error in found
        ]


@pytest.mark.parametrize("overall", ["OK", "MoreDataAvailable", "Error: Invalid column name 'x'"])
@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"ConsumerId": "c1", "Value": "ä & <b> \r\n 'x'", "Type": ""}],
        [{"ConsumerId": "c1", "Value": None}, {"ConsumerId": "c2", "Value": "  blanks  "}],
    ],
)
def test_a_retrieve_answer_reads_as_zeep_reads_it(
    soap: zeep.Client, rows: list[dict[str, str | None]], overall: str
) -> None:
    body = retrieved(rows, overall)
    ours, theirs = read_retrieve_answer(body), as_zeep_reads(soap, "Retrieve", body)
    assert isinstance(ours, RetrieveAnswer)
    assert (ours.overall_status, ours.request_id) == (theirs.OverallStatus, theirs.RequestID)
    # zeep makes None of an empty Value; we keep the difference.
    assert [{name: value or None for name, value in row.items()} for row in ours.rows] == [
        {pair.Name: pair.Value or None for pair in row.Properties.Property} for row in theirs.Results
    ]


def test_an_empty_value_is_not_a_null() -> None:
    answer = read_retrieve_answer(retrieved([{"ConsumerId": "c1", "Type": "", "Value": None}]))
    assert isinstance(answer, RetrieveAnswer)
    assert answer.rows == ({"ConsumerId": "c1", "Type": "", "Value": None},)


def test_a_row_error_carries_its_columns() -> None:
    answer = read_write_answer(written(bad(310007, "no", column=("Value", 70002, "too long"))), "Update")
    assert isinstance(answer, WriteAnswer)
    assert answer.rows == (RowAnswer("Error", "no", 0, 310007, "no", (ColumnError("Value", 70002, "too long"),)),)


def test_a_fault_is_read_with_its_code_and_text() -> None:
    assert read_write_answer(fault("Security", "Token Expired"), "Update") == Fault("Security", "Token Expired")
    assert read_retrieve_answer(fault("Server", "Rate Limited", 17, "Wait & see")) == Fault(
        "Server", "Rate Limited: Wait & see", 17
    )


def test_a_fault_of_soap_1_2_is_read_as_well() -> None:
    body = (
        b'<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault>'
        b"<e:Code><e:Value>e:Receiver</e:Value></e:Code><e:Reason><e:Text>Down</e:Text></e:Reason>"
        b"</e:Fault></e:Body></e:Envelope>"
    )
    assert read_write_answer(body, "Update") == Fault("Server", "Down")


@pytest.mark.parametrize("code", ["wsse:FailedAuthentication", "FailedAuthentication", "x:Client.FailedAuthentication"])
def test_what_a_faults_code_says_of_the_token_is_read_with_any_prefix(code: str) -> None:
    assert read_write_answer(fault(code, "Login Failed"), "Update") == Fault("FailedAuthentication", "Login Failed")
    nested = (
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Code><e:Value>e:Sender</e:Value>'
        f"<e:Subcode><e:Value>{code}</e:Value></e:Subcode></e:Code><e:Reason><e:Text>Login Failed</e:Text></e:Reason>"
        "<e:Detail><Value>Security</Value></e:Detail></e:Fault></e:Body></e:Envelope>"
    )
    assert read_write_answer(nested.encode(), "Update") == Fault("FailedAuthentication", "Login Failed")


def test_of_any_other_code_the_first_part_counts() -> None:
    assert read_write_answer(fault("soap:Client.BadRequest", "no"), "Update") == Fault("Client", "no")


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b" \t\n"])
def test_blanks_before_the_xml_declaration_do_no_harm(blank: bytes) -> None:
    body = b'<?xml version="1.0" encoding="utf-8"?>' + fault("Server", "Down").partition(b"?>")[2]
    assert read_write_answer(blank + body, "Update") == Fault("Server", "Down")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Service Unavailable</body></html>",
        b"Bad Request",
        b'{"message": "no"}',
        written(good())[:-40],
        envelope(""),
        retrieved([]),
        written(good(), operation="Delete"),
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_answer_to_an_update_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        read_write_answer(body, "Update")


def test_an_unreadable_answer_is_not_quoted() -> None:
    with pytest.raises(UnreadableAnswer) as caught:
        read_write_answer(b"<a>ann.lee@example.com</b>", "Update")
    assert "ann" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_entities_of_an_answer_are_not_resolved(tmp_path: Any) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("s3cret")
    body = (f'<!DOCTYPE x [<!ENTITY a SYSTEM "{secret.as_uri()}">]>').encode() + retrieved(
        [{"ConsumerId": "&a;"}]
    ).split(b"?>", 1)[1].replace(b"&amp;a;", b"&a;")
    answer = read_retrieve_answer(body)
    assert isinstance(answer, RetrieveAnswer)
    assert "s3cret" not in str(answer)


@pytest.mark.parametrize("operation", ["Create", "Update", "Delete"])
def test_the_operation_names_the_answer(operation: str) -> None:
    answer = read_write_answer(written(good(), operation=operation), operation)
    assert isinstance(answer, WriteAnswer)


# What XML cannot carry


@pytest.mark.parametrize(
    "value", ["&#x1F;", "&#31;", "&#x0;", "&#xD800;", "&#xFFFE;", "&#x110000;", "\x1f", "\x00", "\ufffe"]
)
def test_a_value_that_xml_cannot_carry_does_not_make_the_rows_unreadable(value: str) -> None:
    body = retrieved([{"ConsumerId": "c", "PetId": "1", "Name": "a-value-b"}, {"ConsumerId": "c", "PetId": "2"}])
    answer = read_retrieve_answer(body.replace(b"-value-", value.encode("utf-8", "surrogatepass")))
    assert isinstance(answer, RetrieveAnswer)
    assert [row["PetId"] for row in answer.rows] == ["1", "2"]
    name = answer.rows[0]["Name"] or ""
    assert (name[0], name[-1], len(name)) == ("a", "b", 3)


def test_a_message_that_quotes_such_a_value_is_read_too() -> None:
    body = written(bad(70000, "The value a-b is wrong")).replace(b"a-b", b"a&#x1F;b")
    answer = read_write_answer(body, "Update")
    assert isinstance(answer, WriteAnswer)
    assert stand_in_of(answer.rows[0].message) == "U+001F"


def test_whatever_else_is_wrong_stays_wrong() -> None:
    body = retrieved([{"ConsumerId": "c", "Name": "a&#x1F;b"}])
    for broken in (body[:-20], body.replace(b"</Name>", b"", 1), body + b"<x>"):
        with pytest.raises(UnreadableAnswer):
            read_retrieve_answer(broken)


def test_a_document_without_such_characters_is_left_as_it_is() -> None:
    body = retrieved([{"ConsumerId": "c", "Name": "a&#xA;&#65;\u00e4\ud7ff\ue000\U0001f600"}])
    assert made_readable(body) is body
