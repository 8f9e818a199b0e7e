"""Data extensions read from the configuration format, and what is said of a wrong one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.bundled import schema_path
from app.simulator.definitions import DefinitionError, read_catalogue, read_zone


def entry(**changes: Any) -> dict[str, Any]:
    return {"customerKey": "KEY", "primaryKey": ["A"], "columns": ["A", "B"]} | changes


def test_the_bundled_definitions_are_read() -> None:
    catalogue = read_catalogue(schema_path("data-extensions.json"))
    assert len(list(catalogue)) == 7
    assert catalogue.consumer_column == "ConsumerId"
    kinds = {column: kind.field_type for extension in catalogue for column, kind in extension.types.items()}
    assert (kinds["BirthDate"], kinds["WeightKg"], kinds["IsPrimary"]) == ("Date", "Decimal", "Boolean")


def test_a_column_without_a_type_takes_any_text() -> None:
    catalogue = read_catalogue({"dataExtensions": {"pet": entry(types={"B": "Number"})}})
    found = catalogue.find("KEY")
    assert found is not None
    assert (found.types["A"].parse("x" * 9000), found.types["B"].parse("5")) == ("x" * 9000, 5)


@pytest.mark.parametrize(
    ("text", "hours"), [("UTC-6", -6), ("UTC+5:30", 5.5), ("UTC", 0), (" UTC-0:30 ", -0.5), ("UTC+14", 14)]
)
def test_a_zone_is_a_fixed_distance_from_utc(text: str, hours: float) -> None:
    assert read_zone(text).utcoffset(None) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "CST", "UTC-15", "UTC-6:75", "-06:00"])
def test_another_zone_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="no time zone"):
        read_zone(text)


def test_an_extension_is_found_by_key_or_name_without_regard_to_case() -> None:
    catalogue = read_catalogue({"dataExtensions": {"pet": entry(name="Pets of consumers")}})
    found = catalogue.find("KEY")
    assert found is not None
    assert found is catalogue.find("key") is catalogue.find("Pets of consumers") is catalogue.find("pets OF consumers")
    assert catalogue.find("other") is None


def test_a_key_wins_over_an_equal_name_of_another_extension() -> None:
    catalogue = read_catalogue({"dataExtensions": {"a": entry(customerKey="X"), "b": entry(customerKey="Y", name="X")}})
    found = catalogue.find("X")
    assert found is not None
    assert found.entity == "a"


def test_the_consumer_column_is_the_first_key_of_the_consumer_entity() -> None:
    catalogue = read_catalogue({"dataExtensions": {"consumer": entry(primaryKey=["B"])}})
    assert catalogue.consumer_column == "B"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "expected"),
        ({"dataExtensions": {}}, "expected"),
        ({"dataExtensions": {"pet": []}}, "'pet'"),
        ({"dataExtensions": {"pet": entry(customerKey="")}}, "customerKey"),
        ({"dataExtensions": {"pet": entry(columns="A")}}, "columns"),
        ({"dataExtensions": {"pet": entry(primaryKey=[])}}, "primaryKey"),
        ({"dataExtensions": {"pet": entry(primaryKey=["C"])}}, "'C'"),
        ({"dataExtensions": {"pet": entry(types=["Text"])}}, "types must be an object"),
        ({"dataExtensions": {"pet": entry(types={"C": "Text"})}}, "'C'"),
        ({"dataExtensions": {"pet": entry(types={"B": "Float"})}}, "types: B: 'Float' is no type"),
    ],
)
def test_what_is_wrong_is_named(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        read_catalogue(document)


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"none\.json"):
        read_catalogue(tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(DefinitionError, match=r"broken\.json is not JSON"):
        read_catalogue(broken)
