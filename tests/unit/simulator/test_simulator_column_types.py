"""What a column of each type takes, how it is kept and how it is shown."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator.column_types import TypeSpecError, ValueRefused, column_type, fold
from app.simulator.definitions import SERVER_ZONE
from app.simulator.row_errors import VALUE_GENERAL, VALUE_TOO_LONG


@pytest.mark.parametrize(
    ("spec", "text", "shown"),
    [
        ("Text(5)", "Grüße", "Grüße"),
        ("Text(5)", "", ""),
        ("Text", "x" * 4000, "x" * 4000),
        ("Number", " 80 ", "80"),
        ("Number", "-2147483648", "-2147483648"),
        ("Number", "", None),
        ("Decimal(8,2)", "4.5", "4.50"),
        ("Decimal(8,2)", "-0.001", "0.00"),
        ("Decimal(8,2)", "999999.994", "999999.99"),
        ("Decimal(38,18)", "1" * 20 + "." + "1" * 18, "1" * 20 + "." + "1" * 18),
        ("Decimal(5)", "12", "12"),
        ("Decimal(5,1)", ".5", "0.5"),
        ("Boolean", "true", "True"),
        ("Boolean", "0", "False"),
        ("Boolean", "Yes", "True"),
        ("Boolean", "", None),
        ("EmailAddress(254)", "Ann.O'Brien+x@mail.example.org", "Ann.O'Brien+x@mail.example.org"),
        ("Phone", "+49 (30) 23125-000", "+49 (30) 23125-000"),
        ("Locale", "de-DE", "de-DE"),
        ("Date", "2024-01-15", "1/15/2024 12:00:00 AM"),
        ("Date", "2024-01-15T06:00:00Z", "1/15/2024 12:00:00 AM"),
        ("Date", "2024-01-15T00:00:00Z", "1/14/2024 6:00:00 PM"),
        ("Date", "2024-01-15T06:00:00.999+01:00", "1/14/2024 11:00:00 PM"),
        ("Date", "2024-07-15 12:30", "7/15/2024 12:30:00 PM"),
        ("Date", "1/5/2024 1:02:03 pm", "1/5/2024 1:02:03 PM"),
        ("Date", "1/5/2024", "1/5/2024 12:00:00 AM"),
        ("Date", "", None),
    ],
)
def test_a_value_is_shown_in_the_form_of_its_type(spec: str, text: str, shown: str | None) -> None:
    kind = column_type(spec, SERVER_ZONE)
    assert kind.shown(kind.parse(text)) == shown


@pytest.mark.parametrize(
    ("spec", "text", "code"),
    [
        ("Text(5)", "123456", VALUE_TOO_LONG),
        ("EmailAddress(10)", "ann@mail.example.org", VALUE_TOO_LONG),
        ("EmailAddress(50)", "ann@mail", VALUE_GENERAL),
        ("EmailAddress(50)", "ann", VALUE_GENERAL),
        ("Phone", "zero", VALUE_GENERAL),
        ("Phone", "1" * 51, VALUE_TOO_LONG),
        ("Locale", "german", VALUE_TOO_LONG),
        ("Locale", "d1", VALUE_GENERAL),
        ("Number", "3.5", VALUE_GENERAL),
        ("Number", "2147483648", VALUE_GENERAL),
        ("Number", "9" * 5000, VALUE_GENERAL),
        ("Number", "١", VALUE_GENERAL),
        ("Decimal(8,2)", "1000000", VALUE_GENERAL),
        ("Decimal(8,2)", "999999.999", VALUE_GENERAL),
        ("Decimal(8,2)", "1e3", VALUE_GENERAL),
        ("Decimal(8,2)", ".", VALUE_GENERAL),
        ("Boolean", "maybe", VALUE_GENERAL),
        ("Date", "2024-02-30", VALUE_GENERAL),
        ("Date", "1752-12-31", VALUE_GENERAL),
        ("Date", "13/1/2024", VALUE_GENERAL),
        ("Date", "1/1/2024 13:00 PM", VALUE_GENERAL),
        ("Date", "2024-W01-1", VALUE_GENERAL),
        ("Date", "9999-12-31T23:00:00-12:00", VALUE_GENERAL),
        ("Date", "2024-01-01T00:00:00+25:00", VALUE_GENERAL),
        ("Date", "soon", VALUE_GENERAL),
    ],
)
def test_what_is_no_value_of_the_type_is_refused(spec: str, text: str, code: int) -> None:
    with pytest.raises(ValueRefused) as refused:
        column_type(spec, SERVER_ZONE).parse(text)
    assert refused.value.code == code


@pytest.mark.parametrize("spec", ["Number", "Decimal(38,18)", "Boolean", "Date", "EmailAddress", "Phone", "Locale"])
@given(text=st.text(st.characters(codec="utf-8"), max_size=60) | st.from_regex(r"[-+./:0-9ZTAPM ]{1,40}"))
def test_any_text_is_taken_or_refused(spec: str, text: str) -> None:
    kind = column_type(spec, SERVER_ZONE)
    try:
        value = kind.parse(text)
    except ValueRefused:
        return
    # What is shown is taken again, and is the same to the second.
    shown = kind.shown(value)
    assert shown is None or kind.shown(kind.parse(shown)) == shown


def test_a_fraction_of_a_second_is_kept_but_not_shown() -> None:
    """So that a key that was read cannot find its row."""
    date = column_type("Date", SERVER_ZONE)
    kept = date.parse("2024-01-15T06:00:00.250Z")
    echoed = date.parse(date.shown(kept) or "")
    assert (date.shown(kept), kept == echoed) == (date.shown(echoed), False)


def test_the_server_has_a_zone() -> None:
    assert (
        column_type("Date", timezone(timedelta(hours=-7))).shown(
            column_type("Date", timezone(timedelta(hours=-7))).parse("2024-01-15T00:00:00Z")
        )
        == "1/14/2024 5:00:00 PM"
    )


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("Text(0)", "is no type"),
        ("Text(5,2)", "is no type"),
        ("Varchar(5)", "there are Text"),
        ("Decimal(40,2)", "1 to 38 digits"),
        ("Decimal(4,5)", "1 to 38 digits"),
        ("Number(5)", "is no type"),
        (5, "a type is a text"),
        ({"type": "Number", "nullable": True}, "unknown nullable"),
        ({"type": "Number", "required": "yes"}, "required is true or false"),
        ({"type": "Number", "default": "none"}, "the default 'none' does not fit the type"),
    ],
)
def test_a_type_that_is_none_is_refused_with_a_reason(spec: object, reason: str) -> None:
    with pytest.raises(TypeSpecError, match=reason):
        column_type(spec, SERVER_ZONE)  # type: ignore[arg-type]


def test_texts_are_folded_as_sql_server_compares_them() -> None:
    assert fold("Ann  ") == fold("aNN")
    assert fold(" Ann") != fold("Ann")
    assert fold("Ann\t") != fold("Ann")
