"""The data extensions: configuration that users write, so every mistake has its message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.bundled import schema_path
from app.domain.entities import CHILD_TYPES, Catalog, CatalogError, EntityType, parse_catalog

BUNDLED = json.loads(schema_path("data-extensions.json").read_bytes())


def changed(entity: str, **fields: Any) -> str:
    tables = BUNDLED["dataExtensions"]
    return json.dumps({"dataExtensions": {**tables, entity: {**tables[entity], **fields}}})


def without(entity: str) -> str:
    tables = BUNDLED["dataExtensions"]
    return json.dumps({"dataExtensions": {name: table for name, table in tables.items() if name != entity}})


def test_bundled_data_extensions_have_the_documented_keys(catalog: Catalog) -> None:
    keys = {catalog[entity].customer_key: ", ".join(catalog[entity].primary_key) for entity in EntityType}
    assert keys == {
        "CMT_Consumer": "ConsumerId",
        "CMT_Contact": "ConsumerId, ContactId",
        "CMT_Child": "ConsumerId, ChildId",
        "CMT_Pet": "ConsumerId, PetId",
        "CMT_DigitalAsset": "ConsumerId, AssetId",
        "CMT_Interest": "ConsumerId, InterestId",
        "CMT_OptIn": "ConsumerId, OptInId",
    }


def test_only_the_consumer_is_a_parent() -> None:
    assert [entity for entity in EntityType if entity.is_parent] == [EntityType.CONSUMER]
    assert (EntityType.CONSUMER, *CHILD_TYPES) == tuple(EntityType)


def test_users_may_have_other_names_keys_and_columns() -> None:
    text = changed("pet", customerKey="Tiere", primaryKey=["Nr"], columns=["Nr", "ConsumerId", "Rufname"])
    table = parse_catalog(text)[EntityType.PET]
    assert (table.customer_key, table.primary_key, table.columns) == ("Tiere", ("Nr",), ("Nr", "ConsumerId", "Rufname"))


def test_key_of_a_row_is_in_the_order_of_the_data_extension(catalog: Catalog) -> None:
    key = catalog[EntityType.PET].key_of({"Name": "x", "PetId": "1", "ConsumerId": "c"})
    assert list(key.items()) == [("ConsumerId", "c"), ("PetId", "1")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", 'needs an object "dataExtensions"'),
        ('{"dataExtensions": []}', 'needs an object "dataExtensions"'),
        (without("pet"), "entity type pet is missing"),
        (json.dumps({"dataExtensions": {**BUNDLED["dataExtensions"], "car": {}}}), "unknown entity type car"),
        (json.dumps({"dataExtensions": {**BUNDLED["dataExtensions"], "pet": 1}}), "pet: must be an object"),
        (changed("pet", customerKey=""), 'pet: "customerKey" must be'),
        (changed("pet", customerKey=7), 'pet: "customerKey" must be'),
        (changed("pet", primaryKey=[]), 'pet: "primaryKey" must be'),
        (changed("pet", primaryKey="PetId"), 'pet: "primaryKey" must be'),
        (changed("pet", columns=["PetId", ""]), 'pet: "columns" must be'),
        (changed("pet", columns=["PetId", "PetId", "ConsumerId"]), 'pet: "columns" names a column twice'),
        (changed("pet", primaryKey=["Chip"]), "pet: Chip is not among the columns"),
        (changed("pet", primaryKey=["PetId"], columns=["PetId"]), "pet: ConsumerId is not among the columns"),
    ],
)
def test_mistake_is_named(text: str, message: str) -> None:
    with pytest.raises(CatalogError, match="^" + message):
        parse_catalog(text)
