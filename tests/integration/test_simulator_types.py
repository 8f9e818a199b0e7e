"""Typed columns over the wire: what is refused, what a Retrieve returns, how keys are compared."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.simulator_wire import PARTNER_API, Wire, row, running, where

PET = "DataExtensionObject[CMT_Pet]"
TYPES = {
    "ConsumerId": "Text(20)",
    "PetId": "Text(20)",
    "Name": {"type": "Text(10)", "required": True},
    "Species": {"type": "Text(10)", "required": True, "default": "cat"},
    "BirthDate": "Date",
    "WeightKg": "Decimal(8,2)",
    "Vaccinated": "Boolean",
    "Legs": {"type": "Number", "default": "4"},
    "Owner": "EmailAddress",
}
KEYS = {"ConsumerId": "c1", "PetId": "p1"}


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    file = tmp_path / "typed.json"
    pet = {"customerKey": "CMT_Pet", "primaryKey": list(KEYS), "columns": [*TYPES, "Note"], "types": TYPES}
    visit = {
        "customerKey": "CMT_Visit",
        "primaryKey": ["ConsumerId", "At"],
        "columns": ["ConsumerId", "At"],
        "types": {"At": "Date"},
    }
    file.write_text(json.dumps({"dataExtensions": {"pet": pet, "visit": visit}}))
    async with running(data_extensions=file) as wire:
        yield wire


async def test_a_retrieve_returns_values_in_the_forms_of_their_types(wire: Wire) -> None:
    sent = {"Name": "Rex", "BirthDate": "2024-01-15T03:00:00Z", "WeightKg": "4.5", "Vaccinated": "true", "Note": "TRUE"}
    await wire.upsert(row("CMT_Pet", KEYS, **sent))
    read = {"BirthDate": "1/14/2024 9:00:00 PM", "WeightKg": "4.50", "Vaccinated": "True", "Legs": "4"}
    asked = ["Name", "BirthDate", "WeightKg", "Vaccinated", "Note", "Legs", "Species", "Owner"]
    (found,) = (await wire.retrieve(PET, *asked)).rows()
    assert found == {**sent, **read, "Species": "cat", "Owner": ""}
    # By default the test side shows the values that were sent, not those that a Retrieve returns.
    assert await wire.rows("CMT_Pet") == [{**sent, **KEYS}]
    (found,) = await wire.rows("CMT_Pet", **{"as": "read", "WeightKg": "4.5"})
    assert found == {**KEYS, **sent, **read, "Species": "cat"}
    status, answer = await wire.get("/_sim/rows/CMT_Pet", **{"as": "shouted"})
    assert (status, answer["error"]) == (400, "as must be sent or read, not 'shouted'")


async def test_every_column_that_refuses_its_value_is_named_with_the_value(wire: Wire) -> None:
    answer = await wire.upsert(
        row("CMT_Pet", KEYS, Name="x" * 11, BirthDate="soon", Legs="3.5", Owner="ann"),
        row("CMT_Pet", {"ConsumerId": "c" * 21, "PetId": "p2"}, Name="Rex"),
    )
    assert (answer.one("OverallStatus"), answer.texts("StatusCode")) == ("Error", ["Error", "Error"])
    errors = [
        (error.findtext("{*}Name"), error.findtext("{*}ErrorCode"), error.findtext("{*}ErrorMessage"))
        for error in (*answer.elements("ValueError"), *answer.elements("KeyError"))
    ]
    assert [error[:2] for error in errors] == [
        ("Name", "70002"),
        ("BirthDate", "70000"),
        ("Legs", "70000"),
        ("Owner", "70000"),
        ("ConsumerId", "70002"),
    ]
    assert errors[3][2] == "The value 'ann' for column [Owner] is not a valid email address."
    assert await wire.rows("CMT_Pet") == []


async def test_required_columns_take_no_null_and_defaults_fill_new_rows_only(wire: Wire) -> None:
    answer = await wire.upsert(row("CMT_Pet", KEYS, Note="x"))
    assert answer.elements("ValueError")[0].findtext("{*}ErrorCode") == "70001"
    await wire.upsert(row("CMT_Pet", KEYS, Name="Rex", Species="dog", Legs="3"))
    assert (await wire.upsert(row("CMT_Pet", KEYS, Note="x"))).one("StatusCode") == "OK"
    (pet,) = await wire.rows("CMT_Pet", **{"as": "read"})
    assert (pet["Species"], pet["Legs"]) == ("dog", "3")
    assert (await wire.upsert(row("CMT_Pet", KEYS, Name=None))).one("StatusCode") == "Error"
    assert (await wire.upsert(row("CMT_Pet", KEYS, Legs=None))).one("StatusCode") == "OK"
    (pet,) = await wire.rows("CMT_Pet", **{"as": "read"})
    assert (pet["Name"], pet["Legs"]) == ("Rex", None)


async def test_keys_are_one_whatever_their_case_and_trailing_blanks(wire: Wire) -> None:
    await wire.upsert(row("CMT_Pet", KEYS, Name="Rex"))
    await wire.upsert(row("CMT_Pet", {"ConsumerId": "C1 ", "PetId": "P1"}, Name="Max"))
    answer = await wire.retrieve(PET, "ConsumerId", "Name", more=where("ConsumerId", "equals", "C1"))
    # The key keeps its first spelling; the test side shows the values that were sent last.
    assert answer.rows() == [{"ConsumerId": "c1", "Name": "Max"}]
    assert [pet["ConsumerId"] for pet in await wire.rows("CMT_Pet")] == ["C1 "]
    assert await wire.rows("CMT_Pet", ConsumerId="c1") == []
    assert len(await wire.rows("CMT_Pet", ConsumerId="C1 ")) == 1
    assert (await wire.delete(row("CMT_Pet", keys={"ConsumerId": "c1", "PetId": "p1  "}))).one("StatusCode") == "OK"
    assert await wire.rows("CMT_Pet") == []


async def test_the_second_row_of_a_key_in_one_request_is_skipped(wire: Wire) -> None:
    answer = await wire.upsert(row("CMT_Pet", KEYS, Name="Rex"), row("CMT_Pet", KEYS | {"PetId": "P1"}, Name="Max"))
    assert (answer.texts("StatusCode"), answer.texts("ErrorCode")) == (["OK", "Error"], ["71002"])
    assert answer.one("OverallStatus") == "Has Errors"
    assert [pet["Name"] for pet in await wire.rows("CMT_Pet")] == ["Rex"]


async def test_a_date_in_a_key_is_found_in_any_form_but_not_without_its_fraction(wire: Wire) -> None:
    async def delete(at: str) -> str:
        return (await wire.delete(row("CMT_Visit", keys={"ConsumerId": "c1", "At": at}))).one("StatusCode")

    await wire.upsert(row("CMT_Visit", ConsumerId="c1", At="2026-01-15T12:00:00Z"))
    assert await delete("1/15/2026 6:00:00 AM") == "OK"
    await wire.upsert(row("CMT_Visit", ConsumerId="c1", At="2026-01-15T12:00:00.250Z"))
    assert await delete("1/15/2026 6:00:00 AM") == "Error"
    assert await delete("2026-01-15T12:00:00.250Z") == "OK"


async def test_a_filter_compares_by_type_and_refuses_what_is_no_value(wire: Wire) -> None:
    for number, weight in enumerate(["4.5", "10"]):
        await wire.upsert(row("CMT_Pet", {"ConsumerId": "c1", "PetId": f"p{number}"}, Name="Rex", WeightKg=weight))
    for condition, pets in (
        (where("WeightKg", "equals", "4.500"), ["p0"]),
        (where("WeightKg", "greaterThan", "9"), ["p1"]),
        (where("Name", "equals", "REX "), ["p0", "p1"]),
    ):
        assert [pet["PetId"] for pet in (await wire.retrieve(PET, "PetId", more=condition)).rows()] == pets
    answer = await wire.retrieve(PET, "PetId", more=where("BirthDate", "equals", "soon"))
    assert answer.one("OverallStatus").startswith("Error: The value of the filter on 'BirthDate'")


async def test_fields_tell_their_types(wire: Wire) -> None:
    names = ("FieldType", "MaxLength", "Scale", "IsRequired", "IsPrimaryKey", "DefaultValue")
    answer = await wire.retrieve(
        "DataExtensionField", "Name", *names, more=where("DataExtension.CustomerKey", "equals", "CMT_Pet")
    )
    assert {
        str(field.findtext("{*}Name")): tuple(field.findtext(f"{{*}}{name}") for name in names)
        for field in answer.elements("Results")
    } == {
        "ConsumerId": ("Text", "20", "0", "true", "true", ""),
        "PetId": ("Text", "20", "0", "true", "true", ""),
        "Name": ("Text", "10", "0", "true", "false", ""),
        "Species": ("Text", "10", "0", "true", "false", "cat"),
        "BirthDate": ("Date", None, "0", "false", "false", ""),
        "WeightKg": ("Decimal", "8", "2", "false", "false", ""),
        "Vaccinated": ("Boolean", None, "0", "false", "false", ""),
        "Legs": ("Number", None, "0", "false", "false", "4"),
        "Owner": ("EmailAddress", "254", "0", "false", "false", ""),
        "Note": ("Text", "4000", "0", "false", "false", ""),
    }
    assert f"{{{PARTNER_API}}}" in answer.elements("Results")[0].tag
