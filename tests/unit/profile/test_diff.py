"""What differs between the rows that are held and those that are wanted."""

from __future__ import annotations

import doctest
import json
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.profile import values as module
from app.profile.diff import RowDifference, diff
from app.profile.entities import Catalog, DataExtension, EntityType, Row, as_text
from app.profile.keys import folded
from app.profile.values import ValueKind, form, same, wanted_form

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType


def _documented() -> Iterator[Any]:
    """The second table in the module's docstring, cell by cell."""
    for line in (module.__doc__ or "").partition("**without a type**")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("| ") or cells[0] in ("wanted", "anything"):
            continue
        wanted, returned = (json.loads(f"[{cell}]", parse_float=Decimal) for cell in cells[:2])
        for value in wanted:
            for text in returned:
                yield pytest.param(value, text, cells[2].startswith("yes"), id=f"{value!r} {text!r}")


@pytest.mark.parametrize(("wanted", "returned", "expected"), list(_documented()))
def test_values_are_compared_as_documented(wanted: Any, returned: str | None, expected: bool) -> None:
    assert same(returned, wanted) is expected


def test_the_documented_examples_hold() -> None:
    assert doctest.testmod(module) == (0, 4)


def test_the_table_of_cases_is_found() -> None:
    assert len(list(_documented())) >= 30


@pytest.mark.parametrize(
    ("wanted", "returned", "expected"),
    [
        # Booleans
        (False, "False", True),
        (False, "True", False),
        (False, "", False),
        (False, None, False),
        (True, "Truee", False),
        # Numbers
        (0, "", False),
        (0, "0", True),
        (0, "0.000", True),
        (-1, "-1.0", True),
        (-1, "1", False),
        (10, "1", False),
        (Decimal("1E+2"), "100.00", True),
        (Decimal("0.10"), "0.1", True),
        (1, "True", False),
        (1, "1.", False),
        (1, " 1", False),
        (1, "1_0", False),
        (1, "\u0661", False),  # Arabic-Indic one
        (Decimal("1.2345678901234567890123456789012345678"), "1.2345678901234567890123456789012345679", False),
        (Decimal("1E+999999999"), "1", False),
        # Dates
        ("2026-01-31", "1/31/2026 12:00:00 AM", True),
        ("2026-01-31", "01/31/2026 12:00:00 AM", True),
        ("2026-01-31", "1/31/2026 12:00:01 AM", False),
        ("2026-01-31", "1/31/2026 12:00:00 PM", False),
        ("2026-01-31T12:00:00", "1/31/2026 12:00:00 PM", True),
        ("2026-01-31T00:30:00", "1/31/2026 12:30:00 AM", True),
        ("2026-01-31T23:59:59", "1/31/2026 11:59:59 PM", True),
        ("2026-01-31T23:59:59.000", "1/31/2026 11:59:59 PM", True),
        ("2026-04-03", "3/4/2026 12:00:00 AM", False),
        ("2026-13-01", "1/13/2026 12:00:00 AM", False),
        ("2026-02-30", "2/30/2026 12:00:00 AM", False),
        ("2026-01-31T00:30:00", "1/31/2026 0:30:00 AM", False),
        ("2026-01-31T10:00:00+01:00", "1/31/2026 10:00:00 AM", False),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z", True),
        ("20260131", "1/31/2026 12:00:00 AM", False),
        ("2026-01-31", "", False),
        # Texts
        ("a\r\nb", "a\nb", False),
        ("", "0", False),
        ("e\u0301", "\u00e9", False),
        ("01234", "1234", False),
    ],
)
def test_other_values(wanted: Any, returned: str | None, expected: bool) -> None:
    assert same(returned, wanted) is expected


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.decimals(-1000, 1000, places=3), st.text(max_size=8)
)


@given(SCALARS)
def test_what_is_returned_as_it_was_sent_is_the_same(value: Any) -> None:
    assert same(as_text(value), value)


@given(st.text(max_size=6), st.text(max_size=6))
def test_two_texts_are_the_same_when_they_are_equal_and_else_only_as_dates(one: str, other: str) -> None:
    assert same(one, other) is (one == other)


# Forms, which can be hashed

TIMES = [
    "2026-09-21",
    "2026-09-22",
    "2026-09-21T00:00:00",
    "2026-W39-1T00:00:00",
    "2026-09-21 00:00:00",
    "2026-09-21t00:00:00",
    "2026-09-21T00:00",
    "2026-09-21T00:00:00.0",
    "2026-09-21T00:00:00Z",
    "2026-09-21T14:05:00",
    "2026-09-21T14:05+01",
    "2026-09-21T14:05:00+01:00",
    "2026-02-30",
    "2026-02-30T14:05:00",
    "2026-W39-1",
    "0000-01-01",
    "9/21/2026",
    "09/21/2026 12:00:00 AM",
    "9/21/2026 2:05:00 PM",
    "9/21/2026 2:05:00 pm",
    "3/4/2026",
    "2/30/2026 12:00:00 AM",
]
RETURNED: list[str | None] = [
    None,
    "",
    " ",
    "true",
    "True",
    "TRUE",
    "=true",
    "0",
    "-0",
    "7",
    "7.0",
    "7.",
    "007",
    "1E+2",
]
TYPED: list[Any] = [True, False, 0, 7, -7, 1.5, 1e30, *map(Decimal, ("7.00", "-0", "1E+2", "1E+999"))]


@pytest.mark.parametrize("wanted", [*TYPED, *RETURNED, *TIMES])
def test_forms_of_these_are_equal_exactly_where_the_values_are_the_same(wanted: Any) -> None:
    for returned in (*RETURNED, *TIMES, *map(as_text, TYPED)):
        _forms_agree(wanted, returned)


@given(wanted=SCALARS | st.sampled_from(TYPED), returned=SCALARS.map(as_text) | st.sampled_from(TIMES))
def test_forms_of_any_are_equal_exactly_where_the_values_are_the_same(wanted: Any, returned: str | None) -> None:
    _forms_agree(wanted, returned)
    _forms_agree(wanted, as_text(wanted))


def _forms_agree(wanted: Any, returned: str | None) -> None:
    kind, of_wanted = wanted_form(wanted)
    assert of_wanted == form(wanted, kind), "the short cuts say the same"
    if kind is not ValueKind.UNCHECKED:
        assert (form(returned, kind) == of_wanted) is same(returned, wanted), (wanted, returned)


def us(text: str) -> str:
    year, month, day = text[:4], text[5:7].lstrip("0"), text[8:10].lstrip("0")
    return f"{month}/{day}/{year} 12:00:00 AM"


@given(st.dates(min_value=date(1000, 1, 1)))
def test_a_date_has_the_form_of_what_is_returned_for_it(day: date) -> None:
    kind, of_wanted = wanted_form(day.isoformat())
    assert kind is ValueKind.DATE
    assert form(us(day.isoformat()), kind) == of_wanted != form(us((day - timedelta(1)).isoformat()), kind)


@pytest.mark.parametrize("text", ["2026-09-21t00:00:00", "2026-09-21T00:00", "2026-09-21T00:00:00.0"])
def test_unusual_spellings_of_a_time_are_not_checked(text: str) -> None:
    """Two of them are both the same as one returned value, but not the same as each other: there is no one form."""
    assert wanted_form(text)[0] is ValueKind.UNCHECKED
    assert same("9/21/2026", text)


def test_the_numbers_of_kinds_stand_in_records_and_do_not_change() -> None:
    numbers = {kind.name: kind.value for kind in ValueKind}
    assert numbers == {
        "UNNAMED": 0,
        "TEXT": 1,
        "BOOLEAN": 2,
        "NUMBER": 3,
        "DATE": 4,
        "TIME": 5,
        "SPACED_TIME": 6,
        "UNCHECKED": 7,
    }


# Rows


def held(**tables: Sequence[Row]) -> dict[EntityType, list[Row]]:
    """Every type was read; of most there is nothing."""
    return {entity: list(tables.get(entity.name.lower(), ())) for entity in EntityType}


def pet(pet_id: Any, **columns: Any) -> dict[str, Any]:
    return {"ConsumerId": "c", "PetId": pet_id, **columns}


def wanted(*pets: Row) -> list[tuple[EntityType, Row]]:
    return [(PET, row) for row in pets]


def key(pet_id: str) -> tuple[EntityType, Row]:
    return PET, {"ConsumerId": "c", "PetId": pet_id}


def test_new_changed_right_and_vanished_rows_are_told_apart(catalog: Catalog) -> None:
    there = held(pet=[pet("1", Name="A"), pet("2", Name="B"), pet("3", Name="C")])
    changed, right, new = pet("1", Name="Z"), pet("2", Name="B"), pet("4", Name="D")
    assert diff(there, wanted(changed, right, new), catalog) == RowDifference(
        upserts=((PET, changed), (PET, new)), right=((PET, right),), vanished=(key("3"),)
    )


def test_nothing_to_do(catalog: Catalog) -> None:
    difference = diff(held(pet=[pet("1", Name="A")]), wanted(pet("1", Name="A")), catalog)
    assert difference.empty
    assert difference.right == ((PET, pet("1", Name="A")),)


def test_a_column_that_is_not_named_is_left_alone(catalog: Catalog) -> None:
    assert diff(held(pet=[pet("1", Name="A", Breed="Dackel")]), wanted(pet("1", Name="A")), catalog).empty


def test_a_column_that_is_named_with_null_is_emptied(catalog: Catalog) -> None:
    assert diff(held(pet=[pet("1", Name="A")]), wanted(pet("1", Name=None)), catalog).upserts
    assert diff(held(pet=[pet("1", Name="")]), wanted(pet("1", Name=None)), catalog).empty
    assert diff(held(pet=[pet("1")]), wanted(pet("1", Name=None)), catalog).empty


def test_anew_a_column_that_is_not_named_is_emptied(catalog: Catalog) -> None:
    there = held(pet=[pet("1", Name="A", Breed="Dackel", Species="")])
    upserts = diff(there, wanted(pet("1", Name="A")), catalog, clear_unnamed=True).upserts
    assert upserts == ((PET, pet("1", Name="A", Breed=None)),)
    assert diff(held(pet=[pet("1", Name="A", Breed="")]), wanted(pet("1", Name="A")), catalog, clear_unnamed=True).empty
    assert diff(held(), wanted(pet("1")), catalog, clear_unnamed=True).upserts == ((PET, pet("1")),)


def test_anew_the_parent_keeps_its_columns(catalog: Catalog) -> None:
    there = held(consumer=[{"ConsumerId": "c", "FirstName": "A"}])
    assert diff(there, [(CONSUMER, {"ConsumerId": "c"})], catalog, clear_unnamed=True).empty


def test_rows_go_in_writing_order_parent_first(catalog: Catalog) -> None:
    parent: Row = {"ConsumerId": "c"}
    contact: Row = {"ConsumerId": "c", "ContactId": "k"}
    rows = [(PET, pet("2")), (PET, pet("1")), (CONTACT, contact), (CONSUMER, parent)]
    assert diff(held(), rows, catalog).upserts == (
        (CONSUMER, parent),
        (CONTACT, contact),
        (PET, pet("2")),
        (PET, pet("1")),
    )


def test_a_parent_row_never_vanishes(catalog: Catalog) -> None:
    table = DataExtension("Kunden", ("Number",), ("ConsumerId", "Number"))
    other = Catalog({**catalog.data_extensions, CONSUMER: table})
    there = held(consumer=[{"ConsumerId": "c", "Number": "1"}, {"ConsumerId": "c", "Number": "2"}])
    assert diff(there, [(CONSUMER, {"ConsumerId": "c", "Number": "2"})], other).empty


def test_of_a_type_that_was_not_read_everything_is_upserted(catalog: Catalog) -> None:
    assert diff({}, wanted(pet("1")), catalog) == RowDifference(upserts=((PET, pet("1")),))


@pytest.mark.parametrize(
    ("there", "asked"),
    [(" p1", "p1"), ("straße", "STRASSE"), ("\uff501", "p1"), ("7", "007"), ("007", 7)],
)
def test_a_row_under_another_spelling_of_its_key_is_deleted_first(catalog: Catalog, there: str, asked: Any) -> None:
    """It may be the very row that is posted: deleting it afterwards could delete what was just written."""
    difference = diff(held(pet=[pet(there, Name="A")]), wanted(pet(asked, Name="A")), catalog)
    assert difference == RowDifference(upserts=((PET, pet(asked, Name="A")),), respelled=(key(there),))


@pytest.mark.parametrize(("there", "asked"), [("P1", "p1"), ("p1 ", "p1"), ("p1", "P1  "), ("ä", "Ä")])
def test_a_key_in_another_case_or_with_other_trailing_blanks_is_the_same_key(
    catalog: Catalog, there: str, asked: str
) -> None:
    """As SQL Server compares: its values decide, and it is never deleted, which would delete the wanted row."""
    rows = held(pet=[pet(there, Name="A")])
    assert diff(rows, wanted(pet(asked, Name="A")), catalog) == RowDifference(right=((PET, pet(asked, Name="A")),))
    assert diff(rows, wanted(pet(asked, Name="B")), catalog) == RowDifference(upserts=((PET, pet(asked, Name="B")),))


def test_two_wanted_spellings_of_a_key_are_one_row(catalog: Catalog) -> None:
    difference = diff(held(), wanted(pet("p1", Name="A", Breed="x"), pet("P1 ", Name="B")), catalog)
    assert difference.upserts == ((PET, pet("P1 ", Name="B", Breed="x")),)


@pytest.mark.parametrize(("there", "asked"), [("7.00", 7), ("9/21/2026 12:00:00 AM", "2026-09-21"), ("True", True)])
def test_a_key_of_another_type_is_compared_as_a_value_of_that_type(catalog: Catalog, there: str, asked: Any) -> None:
    assert diff(held(pet=[pet(there)]), wanted(pet(asked)), catalog).empty


def test_a_row_that_is_listed_twice_counts_as_one_the_later_columns_over_the_earlier(catalog: Catalog) -> None:
    rows = wanted(pet("1", Name="A", Breed="x"), pet("1", Name="B"))
    one = ((PET, pet("1", Name="B", Breed="x")),)
    assert diff(held(pet=[pet("1", Name="B", Breed="x")]), rows, catalog).right == one
    assert diff(held(pet=[pet("1", Name="A", Breed="x")]), rows, catalog).upserts == one


def test_rows_of_another_consumer_are_other_rows(catalog: Catalog) -> None:
    other = {"ConsumerId": "d", "PetId": "1"}
    assert diff(held(pet=[other]), wanted(pet("1")), catalog).vanished == ((PET, other),)


# Applied to what is held, a difference gives what is wanted

VALUES = st.sampled_from([None, "", "x", "y", "1.50", 1, Decimal("1.5"), True, "true", "2026-01-31"])
SHOWN = st.sampled_from([None, "", "x", "y", "1.50", "1.5", "1", "True", "true", "1/31/2026 12:00:00 AM"])
IDS = st.sampled_from(["1", "2", "3", "a", "A", "a "])


def rows_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    columns = st.dictionaries(st.sampled_from(["Name", "Breed", "WeightKg"]), values)
    return st.lists(st.builds(lambda i, c: pet(i, **c), IDS, columns), max_size=5)


@given(there=rows_of(SHOWN), asked=rows_of(VALUES), anew=st.booleans())
def test_a_difference_applied_to_what_is_held_gives_what_is_wanted(
    catalog: Catalog, there: list[dict[str, Any]], asked: list[dict[str, Any]], anew: bool
) -> None:
    table = {folded(row["PetId"]): row for row in there}
    difference = diff(held(pet=list(table.values())), wanted(*asked), catalog, clear_unnamed=anew)
    assert difference.respelled == ()
    after = dict(table)
    for _, row in difference.upserts:
        after[folded(str(row["PetId"]))] = {**after.get(folded(str(row["PetId"])), {}), **row}
    for _, gone in difference.vanished:
        del after[folded(str(gone["PetId"]))]

    merged: dict[str, dict[str, Any]] = {}
    for row in asked:
        merged.setdefault(folded(row["PetId"]), {}).update(row)
    assert set(after) == set(merged)
    for pet_id, row in merged.items():
        assert all(same(as_text(after[pet_id].get(c)), value) for c, value in row.items() if c != "PetId")
        for column, value in table.get(pet_id, {}).items():
            if column not in row:
                assert after[pet_id][column] == (value if not anew or not value else None)
    assert diff(held(pet=list(after.values())), wanted(*asked), catalog, clear_unnamed=anew).empty
    assert len(difference.upserts) + len(difference.right) == len(merged)
