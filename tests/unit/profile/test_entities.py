"""The data extensions: configuration that users write, so every mistake has its message."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from app.bundled import schema_path
from app.profile.catalog_file import CatalogError, parse_catalog
from app.profile.entities import CHILD_TYPES, Catalog, EntityType

BUNDLED = json.loads(schema_path("data-extensions.json").read_bytes())
SCHEMA = Draft202012Validator(json.loads(schema_path("data-extensions.schema.json").read_bytes()))


def changed(entity: str, **fields: Any) -> str:
    tables = BUNDLED["dataExtensions"]
    return json.dumps({"dataExtensions": {**tables, entity: {**tables[entity], **fields}}})


def without(entity: str) -> str:
    tables = BUNDLED["dataExtensions"]
    return json.dumps({"dataExtensions": {name: table for name, table in tables.items() if name != entity}})


def with_markets(markets: Any, **more: Any) -> str:
    return json.dumps({**BUNDLED, "markets": markets, **more})


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
        ("[" * 100_000, "not JSON that can be read"),
        ('{"a":' * 100_000, "not JSON that can be read"),
        ("9" * 5000, "not JSON"),
        (changed("pet", customerKey="a\0"), 'pet: "customerKey" holds U.0000, which XML cannot carry'),
        (changed("pet", columns=["PetId", "ConsumerId", "x\ud800"]), 'pet: "columns" holds U.D800, which XML'),
        (changed("pet", primaryKey=["PetId\x1f"]), 'pet: "primaryKey" holds U.001F, which XML cannot carry'),
        (with_markets({"DE": {"accountId": -5}}), 'market DE: "accountId" must be the MID'),
        (with_markets({"DE": {"accountId": "-5"}}), 'market DE: "accountId" must be the MID'),
        (with_markets({"DE": {"dataExtensions": {"pet": {"customerKey": "\x0b"}}}}), "market DE: pet: .* U.000B"),
        ('{"dataExtensions": {}, "dataExtensions": {}}', "'dataExtensions' is described twice"),
        (
            changed("pet").replace('"customerKey"', '"customerKey": "x", "customerKey"', 1),
            "'customerKey' is described twice",
        ),
    ],
)
def test_mistake_is_named(text: str, message: str) -> None:
    with pytest.raises(CatalogError, match="^" + message):
        parse_catalog(text)


# Markets


@pytest.mark.parametrize("market", ["DE", "a-market", "-"])
def test_without_markets_every_market_is_served_alike(catalog: Catalog, market: str) -> None:
    assert catalog.of_market(market) is catalog
    assert list(catalog.by_market()) == [(None, catalog)]


def test_what_a_market_does_not_say_is_as_in_general(catalog: Catalog) -> None:
    found = parse_catalog(
        with_markets(
            {
                "DE": {"accountId": "510001", "dataExtensions": {"pet": {"customerKey": "DE_Tier"}}},
                "AT": {"accountId": 510001},
                "PL": {},
            }
        )
    )
    german, austrian, polish = (found.of_market(market) for market in ("DE", "AT", "PL"))
    assert german is not None
    assert austrian is not None
    assert polish is not None
    assert (german.account_id, austrian.account_id, polish.account_id) == ("510001", "510001", None)
    pet = catalog[EntityType.PET]
    assert german[EntityType.PET] == replace(pet, customer_key="DE_Tier")
    assert german[EntityType.CHILD] == catalog[EntityType.CHILD]
    assert austrian.data_extensions == polish.data_extensions == catalog.data_extensions
    assert list(found.by_market()) == [("DE", german), ("AT", austrian), ("PL", polish)]


def test_a_market_may_have_keys_and_columns_of_its_own() -> None:
    table = {"primaryKey": ["Nr"], "columns": ["Nr", "ConsumerId"]}
    german = parse_catalog(with_markets({"DE": {"dataExtensions": {"pet": table}}})).of_market("DE")
    assert german is not None
    found = german[EntityType.PET]
    assert (found.customer_key, found.primary_key, found.columns) == ("CMT_Pet", ("Nr",), ("Nr", "ConsumerId"))
    assert set(found.declared) == {"ConsumerId"}, "types of columns that it has"


@pytest.mark.parametrize("unknown", ["PL", "de", "-", "default"])
def test_a_market_that_is_not_listed_is_known_only_with_a_default(unknown: str) -> None:
    assert parse_catalog(with_markets({"DE": {}})).of_market(unknown) is None
    found = parse_catalog(with_markets({"DE": {}}, defaultMarket={"accountId": "7"}))
    others = found.of_market(unknown)
    assert others is not None
    assert others.account_id == "7"
    assert (None, others) in list(found.by_market())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_markets([]), '"markets" must be an object'),
        (with_markets({}), '"markets" must be an object'),
        (with_markets({"D E": {}}), "market 'D E': not a market's name"),
        (with_markets({"": {}}), "market '': not a market's name"),
        (with_markets({"D" * 17: {}}), f"market '{'D' * 17}': not a market's name"),
        (with_markets({"DE": "510001"}), "market DE: must be an object"),
        (with_markets({"DE": None}), "market DE: must be an object"),
        (with_markets({"DE": {"account": "1"}}), "market DE: unknown account; there are accountId"),
        (with_markets({"DE": {"accountId": ""}}), 'market DE: "accountId" must be the MID'),
        (with_markets({"DE": {"accountId": None}}), 'market DE: "accountId" must be the MID'),
        (with_markets({"DE": {"accountId": True}}), 'market DE: "accountId" must be the MID'),
        (with_markets({"DE": {"accountId": 1.5}}), 'market DE: "accountId" must be the MID'),
        (with_markets({"DE": {"accountId": "5 1"}}), 'market DE: "accountId" must be the MID'),
        (with_markets({"DE": {"accountId": "default"}}), 'market DE: "accountId" must be the MID'),
        (with_markets({"DE": {"dataExtensions": []}}), 'market DE: "dataExtensions" must be an object'),
        (with_markets({"DE": {"dataExtensions": {"car": {}}}}), "market DE: unknown entity type car"),
        (with_markets({"DE": {"dataExtensions": {"pet": "DE_Pet"}}}), "market DE: pet: must be an object"),
        (with_markets({"DE": {"dataExtensions": {"pet": {"key": "x"}}}}), "market DE: pet: unknown key; there are"),
        (with_markets({"DE": {"dataExtensions": {"pet": {"customerKey": ""}}}}), 'market DE: pet: "customerKey" must'),
        (with_markets({"DE": {"dataExtensions": {"pet": {"primaryKey": ["Nr"]}}}}), "market DE: pet: Nr is not among"),
        (with_markets({"DE": {}}, defaultMarket="DE"), "defaultMarket: must be an object"),
        (with_markets({"DE": {}}, defaultMarket={"mid": 1}), "defaultMarket: unknown mid"),
        (json.dumps({**BUNDLED, "defaultMarket": {}}), '"defaultMarket" is for markets that "markets" does not list'),
    ],
)
def test_mistake_in_a_market_is_named(text: str, message: str) -> None:
    with pytest.raises(CatalogError, match="^" + message):
        parse_catalog(text)


@pytest.mark.parametrize("name", ["market", "Markets", "default_market", "defaultMarkets", "otherMarkets"])
def test_a_name_that_is_nearly_right_is_no_note(name: str) -> None:
    with pytest.raises(CatalogError, match=f'^"{name}" is not known; is ".*" meant'):
        parse_catalog(json.dumps({**BUNDLED, name: {}}))
    parse_catalog(json.dumps({**BUNDLED, "owner": "CRM team"}))


def test_a_market_that_is_described_twice_is_not_guessed_at() -> None:
    text = with_markets({"DE": {}, "XX": {}}).replace('"XX"', '"DE"')
    with pytest.raises(CatalogError, match=r"^'DE' is described twice"):
        parse_catalog(text)


# Schema


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(BUNDLED),
        json.dumps({**BUNDLED, "owner": "CRM team"}),
        with_markets({"DE": {}}),
        with_markets({"DE": {"accountId": 510001}, "AT": {"accountId": "510001"}}, defaultMarket={}),
        with_markets({"DE": {"dataExtensions": {"pet": {"customerKey": "DE_Pet"}}}}),
    ],
)
def test_schema_allows_what_is_understood(text: str) -> None:
    parse_catalog(text)
    assert list(SCHEMA.iter_errors(json.loads(text))) == []


def test_the_documented_example_is_one() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "markets.md").read_text()
    (text,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found = parse_catalog(text)
    assert list(SCHEMA.iter_errors(json.loads(text))) == []
    german, other = found.of_market("DE"), found.of_market("FR")
    assert german is not None
    assert other is not None
    assert (german.account_id, german[EntityType.PET].customer_key) == ("510001234", "DE_Tier")
    assert (other.account_id, other[EntityType.PET].customer_key) == ("510009999", "Pet")


# A JSON Schema cannot say that one list is part of another, and a member that is given twice is gone before it looks.
UNSAID = ("is not among the columns", "is not among", "is described twice")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        param
        for test in (test_mistake_is_named, test_mistake_in_a_market_is_named)
        for param in test.pytestmark[0].args[1]  # type: ignore[attr-defined]
        if "not JSON" not in param[1] and not param[1].endswith(UNSAID)
    ],
)
def test_schema_refuses_what_is_refused(text: str, message: str) -> None:
    assert list(SCHEMA.iter_errors(json.loads(text))) != [], message
