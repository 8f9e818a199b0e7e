from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.masking import MASK, mask

COLUMNS = ("ConsumerId", "EmailAddress", "FirstName", "Name", "BirthDate")


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("The value 'Ann' is not valid for the column [FirstName].", ["Ann"], "The value '***' is not valid for the"),
        ("Row ann-1 rejected", ["Ann-1"], "Row *** rejected"),
        ("value ann.lee@example.org (private) refused", ["ann.lee@example.org"], "value *** (private) refused"),
        ("O&#x27;Brien is too long", ["O'Brien"], "*** is too long"),
        ("weight 4.50 exceeds", [Decimal("4.50")], "weight *** exceeds"),
        ("weight 1E+999999999 exceeds", [Decimal("1E+999999999")], "weight *** exceeds"),  # never written out
        ("weight 100 exceeds", [Decimal("1E+2")], "weight *** exceeds"),
        ("no row for 'Anna Name Lee'", ["Anna Name Lee"], "no row for '***'"),
        ("no row for Name Lee", ["Name Lee"], "no row for ***"),
        ("no row for Anna Lee", ["Ann", "Anna", "Anna Lee"], "no row for ***"),
        ("key=c1, market: DE.", ["c1", "DE"], "key=***, market: ***."),
        ("Straße 5, 12345 Ort", ["Straße 5", "12345"], "***, *** Ort"),
    ],
)
def test_values_that_were_sent_are_masked(text: str, values: list[object], expected: str) -> None:
    assert mask(text, values, COLUMNS).startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        "Parse error for ann@example.org",
        "call +49 (0)151 2345-678 now",
        "phone 01512345678.",
        "born 1990-12-31",
        "born 12/31/1990 12:00:00 AM",
        "born 31.12.1990",
    ],
)
def test_what_looks_personal_is_masked_although_it_was_not_sent(text: str) -> None:
    masked = mask(text, [])
    assert MASK in masked
    assert not any(part in masked for part in ("ann", "2345", "1990", "0151"))


def test_quoted_text_is_masked_although_it_is_cut_short() -> None:
    assert mask("The value 'Anna Maria Lou' exceeds the maximum.", ["Anna Maria Louise"]) == (
        "The value '***' exceeds the maximum."
    )


def test_apostrophes_are_not_quotes() -> None:
    text = "The value exceeds the column's length and the row's limit."
    assert mask(text, []) == text


def test_names_of_columns_stay_readable() -> None:
    text = "The column [EmailAddress] and 'FirstName' of Name."
    assert mask(text, ["Email", "Name", "First"], COLUMNS) == text


def test_codes_and_request_ids_stay_readable() -> None:
    text = "error 310007 of request f06cc504-68bf-4db8-9141-e420ed248e72"
    assert mask(text, ["310", 31]) == text


def test_short_values_do_not_spoil_ordinary_words() -> None:
    assert mask("DELETE failed in 'DE' [DE]", ["DE", "F"]) == "DELETE failed in '***' [***]"


def test_flags_and_nulls_are_no_values() -> None:
    assert mask("True is None", [True, None, ""]) == "True is None"


@given(st.text(min_size=3), st.text(max_size=20), st.text(max_size=20))
def test_no_value_of_three_characters_or_more_survives(value: str, before: str, after: str) -> None:
    if not value.strip() or set(value) <= {"*"} or value in f"{before}{MASK}{after}":
        return
    numeric = value[0].isdigit() and value[-1].isdigit()
    glue = " " if numeric else ""
    assert value not in mask(f"{before}{glue}{value}{glue}{after}", [value])
