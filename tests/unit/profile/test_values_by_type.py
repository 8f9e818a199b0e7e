"""Values that are compared by the type of their column, as Marketing Cloud returns them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.profile.catalog_check import differences, learned_types
from app.profile.catalog_file import CatalogError, parse_catalog
from app.profile.column_types import ColumnType, Field, FieldType, column_type, time_zone
from app.profile.consumer_history import after_settling
from app.profile.diff import diff
from app.profile.entities import Catalog, DataExtension, EntityType, Row
from app.profile.event import Operation, ProfileEvent
from app.profile.holdings.drift import RowComparison, compare
from app.profile.holdings.expected_state import expected_after, expected_without_event
from app.profile.holdings.row_digests import Digests
from app.profile.values import same_value
from tests.unit.profile.holdings.test_row_list import settlement

PET, CONSUMER = EntityType.PET, EntityType.CONSUMER
TYPES = {
    "ConsumerId": "Text(254)",
    "PetId": "Text(254)",
    "Name": "Text(200)",
    "BirthDate": "Date",
    "WeightKg": "Decimal(8,2)",
    "Breed": "Boolean",
    "Species": "Number",
}


def typed(table: DataExtension, types: Mapping[str, str] = TYPES, zone: str = "UTC-6") -> DataExtension:
    return replace(table, types={name: column_type(text) for name, text in types.items()}, zone=time_zone(zone))


def with_types(catalog: Catalog, types: Mapping[str, str] = TYPES, zone: str = "UTC-6") -> Catalog:
    tables = {entity: replace(table, zone=time_zone(zone)) for entity, table in catalog.data_extensions.items()}
    return Catalog(tables | {PET: typed(catalog[PET], types, zone)})


@pytest.mark.parametrize(
    ("column", "wanted", "returned", "expected"),
    [
        ("BirthDate", "2026-09-21T14:05:00Z", "9/21/2026 8:05:00 AM", True),
        ("BirthDate", "2026-09-21T14:05:00.987Z", "9/21/2026 8:05:00 AM", True),
        ("BirthDate", "2026-09-21 16:05+02:00", "9/21/2026 8:05:00 AM", True),
        ("BirthDate", "2026-09-21T03:00:00Z", "9/20/2026 9:00:00 PM", True),
        ("BirthDate", "2026-09-21T14:05:00Z", "9/21/2026 2:05:00 PM", False),
        ("BirthDate", "2026-09-21T14:05:00Z", "9/21/2026 8:05:01 AM", False),
        ("BirthDate", "2026-09-21", "9/21/2026 12:00:00 AM", True),
        ("BirthDate", "2026-09-21T14:05:00.5", "9/21/2026 2:05:00 PM", True),
        ("BirthDate", "3/4/2026", "3/4/2026 12:00:00 AM", True),
        ("BirthDate", "3/4/2026", "4/3/2026 12:00:00 AM", False),
        ("BirthDate", "soon", "9/21/2026 12:00:00 AM", False),
        ("BirthDate", "soon", "soon", True),
        ("BirthDate", None, "", True),
        ("BirthDate", "", None, True),
        ("BirthDate", "0001-01-01T00:00:00+14:00", "1/1/0001 12:00:00 AM", False),
        ("WeightKg", Decimal("12.345"), "12.35", True),
        ("WeightKg", "12.5", "12.50", True),
        ("WeightKg", "12.5", "12.51", False),
        ("WeightKg", -0.0, "0.00", True),
        ("Species", "007", "7", True),
        ("Species", 7, "7", True),
        ("Species", "7.0", "7", False),
        ("Breed", "yes", "True", True),
        ("Breed", "true", "True", True),
        ("Breed", False, "False", True),
        ("Breed", 0, "True", False),
        ("Name", "Anna", "anna", False),
        ("Name", "1.5", "1.50", False),
        ("Name", True, "True", False),
        ("Name", Decimal("12.50"), "12.50", True),
    ],
)
def test_values_are_compared_by_type(catalog: Catalog, column: str, wanted: Any, returned: Any, expected: bool) -> None:
    assert same_value(returned, wanted, column, typed(catalog[PET])) is expected


def test_the_zone_is_the_accounts(catalog: Catalog) -> None:
    table = typed(catalog[PET], zone="UTC+5:30")
    assert same_value("9/21/2026 7:35:00 PM", "2026-09-21T14:05:00Z", "BirthDate", table)


def pet(pet_id: Any, **columns: Any) -> Row:
    return {"ConsumerId": "c", "PetId": pet_id, **columns}


def test_a_time_with_an_offset_is_no_difference(catalog: Catalog) -> None:
    held = {PET: [pet("1", BirthDate="9/21/2026 8:05:00 AM", WeightKg="4.50")]}
    wanted = [(PET, pet("1", BirthDate="2026-09-21T14:05:00Z", WeightKg=Decimal("4.5")))]
    assert not diff(held, wanted, catalog).empty, "without types it may be any instant"
    assert diff(held, wanted, with_types(catalog)).empty


@pytest.mark.parametrize(
    ("kind", "there", "asked", "same"),
    [
        ("Number", "7", "007", True),
        ("Text(10)", "7", "007", False),
        ("Text(10)", "p1", "P1 ", True),
        ("Date", "9/21/2026 8:05:00 AM", "2026-09-21T14:05:00Z", True),
    ],
)
def test_keys_are_compared_by_type(catalog: Catalog, kind: str, there: str, asked: str, same: bool) -> None:
    tables = with_types(catalog, TYPES | {"PetId": kind})
    difference = diff({PET: [pet(there)]}, [(PET, pet(asked))], tables)
    assert difference.empty is same
    assert difference.respelled == (), "nothing is in doubt"


# The list of rows


def event(operation: Operation = Operation.UPDATE, **columns: Any) -> ProfileEvent:
    return ProfileEvent(
        event_id="e",
        operation=operation,
        consumer_id="c",
        market="DE",
        occurred_at="2026-01-01T00:00:00Z",
        consumer={"ConsumerId": "c"},
        entities={PET: ({"PetId": "1", **columns},)},
    )


WANTED = {"BirthDate": "2026-09-21T14:05:00.5Z", "WeightKg": Decimal("4.5"), "Breed": True, "Name": "Rex"}
HELD = {"BirthDate": "9/21/2026 8:05:00 AM", "WeightKg": "4.50", "Breed": "True", "Name": "Rex"}


def judged(there: Row, written_with: Catalog, read_with: Catalog) -> tuple[RowComparison, str | None]:
    state = after_settling(None, 0, settlement(event(**WANTED), catalog=written_with), 0)
    expected = expected_without_event(state, read_with)
    held = {**{entity: [] for entity in EntityType}, CONSUMER: [{"ConsumerId": "c"}], PET: [there]}
    return compare(held, expected, "c", read_with), expected.in_part


def test_a_list_written_with_types_finds_no_drift_in_what_is_returned(catalog: Catalog) -> None:
    tables = with_types(catalog)
    assert judged(pet("1", **HELD), tables, tables) == (RowComparison(), None)
    for column, value in (("BirthDate", "9/21/2026 8:05:01 AM"), ("WeightKg", "4.51"), ("Breed", "False")):
        found, _ = judged(pet("1", **{**HELD, column: value}), tables, tables)
        assert [drift.kind for drift in found.drift] == ["different"], column


def test_a_list_of_before_types_were_known_is_read_as_before(catalog: Catalog) -> None:
    tables = with_types(catalog)
    plain = {"BirthDate": "2026-09-21T14:05:00.5Z", "WeightKg": "4.50", "Breed": "True", "Name": "Rex"}
    found, in_part = judged(pet("1", **plain), catalog, tables)
    assert (found, in_part) == judged(pet("1", **plain), catalog, catalog)


@pytest.mark.parametrize("changes", [{"types": TYPES | {"WeightKg": "Decimal(8,3)"}}, {"zone": "UTC-7"}])
def test_other_types_or_another_zone_are_other_columns(catalog: Catalog, changes: dict[str, Any]) -> None:
    now = with_types(catalog, **changes)
    found, in_part = judged(pet("1", Name="else"), with_types(catalog), now)
    assert (found.drift, in_part is not None) == ((), True)


def test_without_types_the_fingerprint_of_columns_is_that_of_older_programs(catalog: Catalog) -> None:
    assert Digests(catalog).head == "8DU13Tq6"
    assert Digests(catalog.typed({})).head == Digests(catalog).head != Digests(with_types(catalog)).head


def test_an_event_that_is_still_there_is_compared_by_type(catalog: Catalog) -> None:
    tables = with_types(catalog)
    state = after_settling(None, 0, settlement(event(**WANTED), catalog=tables), 0)
    held = {**{entity: [] for entity in EntityType}, CONSUMER: [{"ConsumerId": "c"}], PET: [pet("1", **HELD)]}
    assert compare(held, expected_after(event(**WANTED), state, tables), "c", tables) == RowComparison()


# The catalog against what there is


def fields(**types: str) -> list[Field]:
    return [Field(name, column_type(kind), primary_key=name in ("ConsumerId", "PetId")) for name, kind in types.items()]


def lines(catalog: Catalog, found: list[Field], length: int | None = None) -> list[str]:
    return [str(one) for one in differences(replace(catalog[PET], declared={}), found, length)]


def test_a_data_extension_as_configured_has_no_mismatch(catalog: Catalog) -> None:
    assert lines(catalog, fields(**TYPES)) == []
    assert lines(catalog, [replace(field, name=field.name.upper()) for field in fields(**TYPES)]) == []
    assert learned_types(catalog[PET], fields(CONSUMERID="Text(254)", Other="Date")) == {
        "ConsumerId": ColumnType(FieldType.TEXT, 254)
    }


def test_every_mismatch_is_a_line(catalog: Catalog) -> None:
    (missing,) = lines(catalog, [])
    assert "no such data extension" in missing
    (line,) = lines(catalog, [field for field in fields(**TYPES) if field.name != "Breed"])
    assert line == (
        "CMT_Pet has no column Breed: rows that name it are refused. Add it in Marketing Cloud, or remove it from "
        "CMT_DATA_EXTENSIONS."
    )
    (line,) = lines(catalog, [*fields(**TYPES), Field("Extra", None)])
    assert "also has column Extra" in line
    (line,) = lines(catalog, [*fields(**TYPES), Field("Extra", None, required=True)])
    assert "column Extra needs a value" in line
    (line,) = lines(catalog, [replace(field, primary_key=False) for field in fields(**TYPES)])
    assert "no primary key" in line
    (line,) = lines(catalog, [replace(field, primary_key=field.name == "PetId") for field in fields(**TYPES)])
    assert "the primary key is PetId, not ConsumerId, PetId" in line
    (line,) = lines(catalog, fields(**TYPES), length=300)
    assert line.startswith("CMT_Pet: column ConsumerId is too short: Text(254), 300 characters are needed. ")
    (line,) = lines(catalog, fields(**TYPES | {"PetId": "Date"}))
    assert "key column PetId is a Date" in line


def test_declared_types_are_compared_with_the_real_ones(catalog: Catalog) -> None:
    declared = replace(catalog[PET], declared={"Name": column_type("Text(200)"), "Breed": column_type("Boolean")})
    found = differences(declared, fields(**TYPES | {"Name": "Text(50)", "Breed": "Text(10)"}))
    assert [one.text for one in found] == [
        "CMT_Pet: column Name is too short: Text(50), 200 characters are needed.",
        "CMT_Pet: column Breed is Text(10), not Boolean as configured.",
    ]


def test_a_difference_that_the_program_can_work_with_is_harmless(catalog: Catalog) -> None:
    def harmless(*found: Field) -> list[bool]:
        return [one.harmless for one in differences(replace(catalog[PET], declared={}), found)]

    assert harmless(*fields(**TYPES), Field("Extra", None)) == [True]
    assert harmless(*fields(**TYPES | {"PetId": "Date"})) == [True]
    assert harmless(*fields(**TYPES), Field("Extra", None, required=True)) == [False]
    assert harmless(*[replace(field, primary_key=False) for field in fields(**TYPES)]) == [False]
    assert harmless() == [False]


# Configuration


@pytest.mark.parametrize("text", ["UTC-6", "UTC+5:30", "UTC", "UTC-06", "UTC+14"])
def test_time_zones(text: str) -> None:
    assert time_zone(text) is not None


@pytest.mark.parametrize("text", ["", "-6", "UTC-15", "UTC-6:99", "America/Chicago", "UTC-6\n"])
def test_what_is_no_time_zone(text: str) -> None:
    with pytest.raises(ValueError, match="offset from UTC"):
        time_zone(text)


def test_a_market_has_its_own_zone_and_its_own_types(catalog: Catalog) -> None:
    entries = {
        entity.value: {
            "customerKey": table.customer_key,
            "primaryKey": list(table.primary_key),
            "columns": list(table.columns),
        }
        for entity, table in catalog.data_extensions.items()
    }
    entries["pet"]["types"] = {"birthdate": "Date"}
    text = json.dumps({"dataExtensions": entries, "markets": {"DE": {"timeZone": "UTC-7"}, "AT": {}}})
    read = parse_catalog(text, "UTC-5")
    german, austrian = read.of_market("DE"), read.of_market("AT")
    assert german is not None
    assert austrian is not None
    assert (str(german[PET].zone), str(austrian[PET].zone)) == ("UTC-07:00", "UTC-05:00")
    assert austrian[PET].declared == german[PET].declared == {"BirthDate": ColumnType(FieldType.DATE)}
    with pytest.raises(CatalogError, match='market DE: "timeZone" must be'):
        parse_catalog(text.replace("UTC-7", "CET"))
    with pytest.raises(CatalogError, match='pet: "types": birthdate'):
        parse_catalog(text.replace('"Date"', '"Dates"'))
