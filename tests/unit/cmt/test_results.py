"""What an answer means for the rows of a call, and that nothing personal leaves."""

from __future__ import annotations

import pytest

from app.cmt.errors import AnswerVerdict
from app.cmt.good_answer import read_good_answer
from app.cmt.results import (
    LONGEST_MESSAGE,
    Mask,
    NoResult,
    call_error,
    field_page,
    names_of,
    retrieve_page,
    write_results,
)
from app.delivery import errors as registry
from app.http.answer import Answer
from app.profile.column_types import ColumnType, Field, FieldType
from app.profile.entities import Catalog, DataExtension, Row
from tests.support.answers import bad, envelope, fault, good, retrieved, written

ANN: Row = {"ConsumerId": "ann-4711", "ContactId": "k1", "Type": "Email", "Value": "ann.lee@example.com"}
BOB: Row = {"ConsumerId": "bob-0815", "ContactId": "k2", "Type": "Phone", "Value": "+49 151 2345678"}


def masked(catalog: Catalog, *rows: Row) -> Mask:
    return Mask(rows, names_of(catalog))


def test_every_row_has_its_own_result(catalog: Catalog) -> None:
    body = written(good(0) + bad(310007, "no", ordinal=1) + good(2), "Has Errors")
    results = write_results(Answer(200, body), "Update", masked(catalog, ANN, BOB, ANN))
    assert [(result.ok, result.ordinal, result.code) for result in results] == [
        (True, 0, None),
        (False, 1, "CMT-ROW-INVALID"),
        (True, 2, None),
    ]


def test_results_are_matched_by_ordinal_not_by_place(catalog: Catalog) -> None:
    body = written(bad(310007, "no", ordinal=1) + good(0), "Has Errors")
    results = write_results(Answer(200, body), "Update", masked(catalog, ANN, BOB))
    assert [result.ok for result in results] == [True, False]


def test_results_without_ordinals_are_matched_by_place(catalog: Catalog) -> None:
    body = written((good(0) + bad(310007, "no")).replace("<OrdinalID>0</OrdinalID>", ""))
    results = write_results(Answer(200, body), "Update", masked(catalog, ANN, BOB))
    assert [result.ok for result in results] == [True, False]


@pytest.mark.parametrize("overall", ["OK", "Has Errors", "Has Error", "Error", ""])
def test_the_overall_status_makes_no_row_good_or_bad(catalog: Catalog, overall: str) -> None:
    body = written(good(0) + bad(310007, "no", ordinal=1), overall)
    results = write_results(Answer(200, body), "Update", masked(catalog, ANN, BOB))
    assert [result.ok for result in results] == [True, False]


@pytest.mark.parametrize("code", [71000, 71001, 71006])
def test_a_row_that_says_ok_but_was_not_worked_on_to_its_end_is_written_again(catalog: Catalog, code: int) -> None:
    body = written(good(0) + good(1).replace("<Object ", f"<ErrorCode>{code}</ErrorCode><Object ", 1))
    results = write_results(Answer(200, body), "Update", masked(catalog, ANN, BOB))
    assert [(result.ok, result.code) for result in results] == [(True, None), (False, "CMT-ROW-ABORTED")]
    assert str(code) in (results[1].message or "")


def test_a_row_without_a_result_has_failed(catalog: Catalog) -> None:
    results = write_results(Answer(200, written(good(0))), "Update", masked(catalog, ANN, BOB))
    assert [(result.ok, result.code) for result in results] == [(True, None), (False, "CMT-MALFORMED")]


@pytest.mark.parametrize("rows", [good(0), good(0) + good(0), good(0) + good(2)])
def test_a_row_without_a_result_has_failed_however_good_all_others_are(catalog: Catalog, rows: str) -> None:
    body = written(rows).replace(b"<soap:Header/>", b"")
    assert read_good_answer(body, "Update"), "the short way is not taken"
    results = write_results(Answer(200, body), "Update", masked(catalog, ANN, BOB))
    assert [(result.ok, result.code) for result in results] == [(True, None), (False, "CMT-MALFORMED")]


def test_good_results_are_in_the_order_of_the_rows(catalog: Catalog) -> None:
    body = written(good(1) + good(0)).replace(b"<soap:Header/>", b"")
    assert read_good_answer(body, "Update") == [1, 0]
    results = write_results(Answer(200, body), "Update", masked(catalog, ANN, BOB))
    assert [(result.ok, result.ordinal) for result in results] == [(True, 0), (True, 1)]


def test_an_error_status_makes_a_good_body_no_success(catalog: Catalog) -> None:
    body = written(good(0)).replace(b"<soap:Header/>", b"")
    with pytest.raises(NoResult):
        write_results(Answer(500, body), "Update", masked(catalog, ANN))


def test_an_answer_without_results_is_malformed_and_leaves_the_outcome_open(catalog: Catalog) -> None:
    with pytest.raises(NoResult) as caught:
        write_results(Answer(200, written("")), "Update", masked(catalog, ANN))
    assert caught.value.verdict.entry.code == "CMT-MALFORMED"
    assert caught.value.verdict.outcome_unknown


def test_deleting_a_row_that_is_gone_is_fine_but_not_for_an_update(catalog: Catalog) -> None:
    gone = bad(310002, "There is no such row.")
    (deleted,) = write_results(Answer(200, written(gone, "Error", operation="Delete")), "Delete", masked(catalog, ANN))
    (updated,) = write_results(Answer(200, written(gone, "Error")), "Update", masked(catalog, ANN))
    assert deleted.ok
    assert updated.code == "CMT-ROW-NOT-FOUND"


def test_the_message_of_a_row_names_the_column_and_hides_the_values(catalog: Catalog) -> None:
    body = written(
        bad(
            310007,
            "Errors occurred. The value 'ann.lee@example.com' of ANN-4711 is not valid for the column [Value].",
            column=("Value", 70002, "ann.lee@example.com exceeds the maximum length."),
        )
    )
    (result,) = write_results(Answer(200, body), "Update", masked(catalog, ANN))
    assert result.message == (
        "Errors occurred. The value '***' of *** is not valid for the column [Value].; "
        "Value: *** exceeds the maximum length. (ErrorCode 310007)"
    )
    assert [error.message for error in result.column_errors] == ["*** exceeds the maximum length."]


def test_a_message_may_quote_any_row_of_the_call(catalog: Catalog) -> None:
    body = written(good(0) + bad(71002, "duplicate of ann-4711 and bob-0815", ordinal=1))
    _, result = write_results(Answer(200, body), "Update", masked(catalog, ANN, BOB))
    assert "ann-4711" not in (result.message or "")
    assert "bob-0815" not in (result.message or "")


def test_messages_have_an_end(catalog: Catalog) -> None:
    (result,) = write_results(Answer(200, written(bad(1, "x " * 5000))), "Update", masked(catalog, ANN))
    assert len(result.message or "") < LONGEST_MESSAGE + 50


def test_a_fault_that_quotes_a_value_is_masked(catalog: Catalog) -> None:
    answer = Answer(500, fault("Server", "Cannot store 'ann.lee@example.com' for ann-4711", 2))
    with pytest.raises(NoResult) as caught:
        write_results(answer, "Update", masked(catalog, ANN))
    error = call_error(caught.value, "Update of CMT_Contact", masked(catalog, ANN))
    assert error.code == "CMT-SERVER-FAULT"
    assert error.message.startswith("Update of CMT_Contact: ")
    assert "(code 2)" in error.message
    assert "ann" not in error.message.casefold().replace("cannot", "")


@pytest.mark.parametrize(
    ("answer", "code", "retry_after"),
    [
        (Answer(503, b"<html>down</html>", 7.0), "CMT-UNAVAILABLE", 7.0),
        (Answer(429, b'{"errorcode": 50200}', 9.0), "CMT-BLOCKED", 9.0),
        (Answer(200, written("", "Error: Timeout expired.")), "CMT-BUSY", None),
        (Answer(500, b"<html>down</html>"), "CMT-UNAVAILABLE", None),
        (Answer(400, b"Bad Request"), "CMT-HTTP-REFUSED", None),
        (Answer(429, fault("Server", "slow down"), 3.0), "CMT-RATE-LIMITED", 3.0),
        (Answer(500, fault("Server", "Rate Limited", 17)), "CMT-RATE-LIMITED", None),
        (Answer(200, fault("Security", "Token Expired")), "CMT-AUTH", None),
        (Answer(200, b"<html>log in</html>"), "CMT-MALFORMED", None),
        (Answer(200, b""), "CMT-MALFORMED", None),
        (Answer(500, written(good())), "CMT-UNAVAILABLE", None),
        (Answer(404, b""), "CMT-ENDPOINT", None),
    ],
)
def test_answers_without_results(catalog: Catalog, answer: Answer, code: str, retry_after: float | None) -> None:
    with pytest.raises(NoResult) as caught:
        write_results(answer, "Update", masked(catalog, ANN))
    assert (caught.value.verdict.entry.code, caught.value.retry_after) == (code, retry_after)


TABLE = DataExtension("CMT_Pet", ("ConsumerId", "PetId"), ("ConsumerId", "PetId", "Value"))


def test_a_page_says_how_to_get_the_next_one() -> None:
    rows: list[dict[str, str | None]] = [{"ConsumerId": "ann-4711", "PetId": "1", "Value": "x"}]
    assert retrieve_page(Answer(200, retrieved(rows)), "ann-4711", TABLE).next_id is None
    more = retrieve_page(Answer(200, retrieved(rows, "MoreDataAvailable", "id-7")), "ann-4711", TABLE)
    assert (more.next_id, more.rows) == ("id-7", rows)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (retrieved([], "Error: Invalid column name 'x'."), "CMT-RETRIEVE-ERROR"),
        (retrieved([], ""), "CMT-MALFORMED"),
        (retrieved([], "MoreDataAvailable", ""), "CMT-MALFORMED"),
        (retrieved([{"Value": "x"}]), "CMT-MALFORMED"),
        (retrieved([{"ConsumerId": "ann-4711", "Pet": "1"}]), "CMT-MALFORMED"),
        (retrieved([{"ConsumerId": "ann-4711", "PetId": "1"}, {"ConsumerId": "bob-0815"}]), "CMT-FOREIGN-ROWS"),
        (retrieved([{"ConsumerId": "ANN-4711", "PetId": "1"}]), "CMT-CONSUMER-SPELLING"),
        (retrieved([{"ConsumerId": "ann-4711 ", "PetId": "1"}]), "CMT-CONSUMER-SPELLING"),
        (
            retrieved([{"ConsumerId": "ANN-4711", "PetId": "1"}, {"ConsumerId": "bob-0815", "PetId": "1"}]),
            "CMT-FOREIGN-ROWS",
        ),
    ],
)
def test_pages_that_must_not_be_used(body: bytes, code: str) -> None:
    with pytest.raises(NoResult) as caught:
        retrieve_page(Answer(200, body), "ann-4711", TABLE)
    assert caught.value.verdict.entry.code == code


def test_columns_come_in_our_spelling_however_marketing_cloud_spells_them() -> None:
    rows: list[dict[str, str | None]] = [{"CONSUMERID": "ann-4711", "petId": "1", "VALUE": "x", "Extra": "y"}]
    page = retrieve_page(Answer(200, retrieved(rows)), "ann-4711", TABLE)
    first_of_more = retrieve_page(Answer(200, retrieved(rows, "MoreDataAvailable", "id-7")), "ann-4711", TABLE)
    assert first_of_more.rows == page.rows
    assert page.rows == [{"ConsumerId": "ann-4711", "PetId": "1", "Value": "x", "Extra": "y"}]


def test_a_row_whose_key_xml_cannot_carry_cannot_be_addressed() -> None:
    """Nor skipped: an erasure would leave it. A value that no key has does not matter."""
    rows: list[dict[str, str | None]] = [{"ConsumerId": "ann-4711", "PetId": "a-b", "Value": "c-d"}]
    body = retrieved(rows)
    assert len(retrieve_page(Answer(200, body.replace(b"c-d", b"c&#x1F;d")), "ann-4711", TABLE).rows) == 1
    with pytest.raises(NoResult) as caught:
        retrieve_page(Answer(200, body.replace(b"a-b", b"a&#x1F;b")), "ann-4711", TABLE)
    assert caught.value.verdict.entry.code == "CMT-NOT-XML-TEXT"
    assert "U+001F in its key (column PetId)" in caught.value.detail


def test_columns_of_a_data_extension() -> None:
    described = (
        '<RetrieveResponseMsg xmlns="http://exacttarget.com/wsdl/partnerAPI"><OverallStatus>OK</OverallStatus>'
        '<RequestID>x</RequestID><Results xsi:type="DataExtensionField"><PartnerKey xsi:nil="true" />'
        "<Name>WeightKg</Name><Scale>2</Scale><DefaultValue /><MaxLength>8</MaxLength><IsRequired>false</IsRequired>"
        "<IsPrimaryKey>false</IsPrimaryKey><FieldType>Decimal</FieldType></Results>"
        "<Results><Name>PetId</Name><MaxLength>254</MaxLength><IsRequired>true</IsRequired>"
        "<IsPrimaryKey>true</IsPrimaryKey><FieldType>text</FieldType><DefaultValue>x</DefaultValue></Results>"
        "<Results><Name>Odd</Name><MaxLength>99999999999999999999</MaxLength><FieldType>Image</FieldType></Results>"
        "<Results><MaxLength>1</MaxLength></Results></RetrieveResponseMsg>"
    )
    assert field_page(Answer(200, envelope(described))) == (
        [
            Field("WeightKg", ColumnType(FieldType.DECIMAL, 8, 2)),
            Field("PetId", ColumnType(FieldType.TEXT, 254), required=True, primary_key=True, has_default=True),
            Field("Odd", None),
        ],
        None,
    )


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("no answer of https://mc.example.com within 30 s.", "no answer of https://mc.example.com within 30 s."),
        ("HTTP 408.", "No answer in time. HTTP 408."),
        ("", "No answer in time."),
    ],
)
def test_that_nothing_came_in_time_is_said_once(detail: str, said: str) -> None:
    error = call_error(
        NoResult(AnswerVerdict(registry.CMT_TIMEOUT), detail), "Upsert of CMT_Pet", Mask((), frozenset())
    )
    assert error.message == f"Upsert of CMT_Pet: {said}"
