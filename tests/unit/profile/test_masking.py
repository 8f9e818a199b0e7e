from __future__ import annotations

import html
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.profile.masking import LONGEST_TEXT, MASK, mask

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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Truncated value: 'Anna Mar", "Anna Maria Louise"),
        ("Truncated value: Anna Mar", "Anna Maria Louise"),
        ("Truncated value: Ann", "Anna Maria Louise"),
        ("The value Anna Ma is too long", "Anna Maria Louise"),
        ("The value ANNA MARIA LOU... is too long", "Anna Maria Louise"),
        ("The value Ann... is too long", "Anna Maria Louise"),
        ("The value Anna… is too long", "Anna Maria Louise"),
        ("refused: anna.maria@exam", "anna.maria@example.com"),
        ("refused: anna.mar", "anna.maria@example.com"),
        ("born 1990-12-", "1990-12-31"),
        ("M&#252;nchen is too long", "München"),
        ("M&#xFC;nchen is too long", "München"),
        ("M&uuml;nchen is too long", "München"),
        ("M&amp;#252;nchen is too long", "München"),
        ("M&#252;nchen-Schwa... is too long", "München-Schwabing"),
        ("Stra&#223;e 5", "straße 5"),
        ("AT&amp;T is no name", "AT&T"),
        ("AT&amp;T is no name", "AT&amp;T"),
        ("AT&T is no name", "AT&amp;T"),
        ("&lt;b&gt;Anna&lt;/b&gt; is no name", "<b>Anna</b>"),
        ("O&#39;Brien is no name", "O'Brien"),
        ("&#39;Anna", "Anna Maria"),
    ],
)
def test_values_are_masked_although_they_are_cut_off_or_escaped(text: str, value: str) -> None:
    masked = mask(text, [value])
    assert MASK in masked
    assert not [
        part for part in ("ann", "mar", "1990", "nchen", "stra", "at&", "brien", "<b>") if part in masked.lower()
    ]


def test_what_follows_a_quote_that_is_not_closed_is_masked_to_the_end_of_its_line() -> None:
    assert mask("The value 'Anna Mar\nis refused", []) == "The value '***\nis refused"


def test_the_beginning_of_a_value_within_other_words_stays() -> None:
    assert mask("The contact of the column is invalid", ["act of kindness", "val", "lid on the pot"]) == (
        "The contact of the column is in***id"
    )
    assert mask("error 310007 of 1234567 rows", ["3100071", "310007 12"]) == "error 310007 of *** rows"


def test_a_value_that_overlaps_a_kept_word_or_another_value_leaves_no_rest() -> None:
    assert mask("Anna Maria Louise", ["anna maria", "maria louise"]) == MASK
    assert mask("FirstName Anna", ["name anna"], ["FirstName"]) == "FirstName***"
    assert mask("11-1-1 refused", ["1-1"]) == "11-*** refused"


@given(st.text(alphabet="abcdeé &;#<'", min_size=7, max_size=30), st.integers(3, 30), st.integers(0, 2))
def test_no_beginning_of_a_value_survives_at_the_end_of_a_text(value: str, length: int, times: int) -> None:
    quoted = value[:length].strip()
    if len(quoted) < 7 or not quoted[0].isalnum():
        return
    for _ in range(times):
        quoted = html.escape(quoted).replace("é", "&#233;")
    assert mask(f"The value is {quoted}", [value]).replace(" ", "") == f"Thevalueis{MASK}"


def test_of_a_very_long_text_the_beginning_is_read() -> None:
    masked = mask("Anna " * 10_000, ["Anna"])
    assert len(masked) < LONGEST_TEXT
    assert "Anna" not in masked


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
