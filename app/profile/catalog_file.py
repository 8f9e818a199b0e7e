"""Reads the data-extensions file (``CMT_DATA_EXTENSIONS``) into a catalog, and says what is wrong with it.

The format is described by ``schemas/data-extensions.schema.json``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timezone
from typing import Any

from app.delivery.outcome import MARKET_PATTERN
from app.profile.column_types import DEFAULT_TIME_ZONE, ColumnType, ColumnTypes, column_type, time_zone
from app.profile.entities import (
    ACCOUNT_PATTERN,
    CONSUMER_ID_COLUMN,
    OWN_ACCOUNT,
    Catalog,
    DataExtension,
    EntityType,
)
from app.profile.xml_text import character_named, is_xml_text

_MARKET_NAMES = frozenset(("accountId", "dataExtensions", "timeZone"))
_CONSUMER_ID = CONSUMER_ID_COLUMN.casefold()


class CatalogError(ValueError):
    """A data-extensions file cannot be used; the text says where and why."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise CatalogError(f"{name!a:.100} is described twice")
    return found


def parse_catalog(text: str | bytes, zone: str = DEFAULT_TIME_ZONE) -> Catalog:
    """Read a data-extensions file. ``zone``: the time zone of dates for markets that do not name one.

    Raises:
        CatalogError: not JSON, an entity type is missing or unknown, a primary key is not among the columns, or a
            market is described wrongly.
    """
    try:
        document: Any = json.loads(text, object_pairs_hook=_object)
    except CatalogError:
        raise
    except ValueError as error:
        raise CatalogError(f"not JSON: {error}") from None
    except RecursionError:
        raise CatalogError("not JSON that can be read: too many objects or lists inside each other") from None
    tables = document.get("dataExtensions") if isinstance(document, dict) else None
    if not isinstance(tables, dict):
        raise CatalogError('needs an object "dataExtensions" with one entry per entity type')
    _refuse_unknown_entities(tables)
    if missing := [entity.value for entity in EntityType if entity not in tables]:
        raise CatalogError(f"entity type {', '.join(missing)} is missing")
    of_all = time_zone(zone)
    general = {
        entity: replace(_data_extension(entity.value, tables[entity.value]), zone=of_all) for entity in EntityType
    }
    _refuse_misspelt(document)
    if "markets" not in document:
        if "defaultMarket" in document:
            raise CatalogError('"defaultMarket" is for markets that "markets" does not list, but there is no "markets"')
        return Catalog(general)
    entries = document["markets"]
    if not isinstance(entries, dict) or not entries:
        raise CatalogError('"markets" must be an object with one entry per market, such as {"DE": {}}')
    if wrong := [name for name in entries if not re.fullmatch(MARKET_PATTERN[1:-1], name)]:
        raise CatalogError(f"market {wrong[0]!r}: not a market's name ({MARKET_PATTERN[1:-1]})")
    markets = {name: _market(f"market {name}", entry, general) for name, entry in entries.items()}
    others = _market("defaultMarket", document["defaultMarket"], general) if "defaultMarket" in document else None
    return Catalog(general, markets=markets, other_markets=others)


def _refuse_misspelt(document: Mapping[str, Any]) -> None:
    """Other unknown names are accepted as notes, but a misspelt "markets" would send events to the wrong place."""
    for name in document:
        plain = re.sub(r"[^a-z]", "", name.lower())
        meant = {"market": "markets", "markets": "markets"}.get(plain)
        if plain in ("defaultmarket", "defaultmarkets", "othermarket", "othermarkets"):
            meant = "defaultMarket"
        if meant is not None and name != meant:
            raise CatalogError(f'"{name}" is not known; is "{meant}" meant?')


def _refuse_unknown_entities(tables: Mapping[str, Any], where: str = "") -> None:
    if unknown := sorted(set(tables) - set(EntityType)):
        raise CatalogError(f"{where}unknown entity type {', '.join(unknown)}; there are {', '.join(EntityType)}")


def _market(where: str, entry: Any, general: Mapping[EntityType, DataExtension]) -> Catalog:
    """The catalog of a market; what its entry does not say is taken from the general part."""
    if not isinstance(entry, dict):
        raise CatalogError(f'{where}: must be an object, with "accountId" or "dataExtensions" where it differs')
    if unknown := sorted(set(entry) - _MARKET_NAMES):
        raise CatalogError(f"{where}: unknown {', '.join(unknown)}; there are {', '.join(sorted(_MARKET_NAMES))}")
    tables = entry.get("dataExtensions", {})
    if not isinstance(tables, dict):
        raise CatalogError(f'{where}: "dataExtensions" must be an object with the entity types that differ')
    _refuse_unknown_entities(tables, f"{where}: ")
    own = dict(general)
    for entity in EntityType:
        if entity.value not in tables:
            continue
        changes, place = tables[entity.value], f"{where}: {entity.value}"
        if not isinstance(changes, dict):
            raise CatalogError(f"{place}: must be an object")
        known = {"customerKey", "primaryKey", "columns", "types", "sharedFrom"}
        if unknown := sorted(set(changes) - known):
            raise CatalogError(f"{place}: unknown {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        table = general[entity]
        as_in_general: dict[str, Any] = {
            "customerKey": table.customer_key,
            "primaryKey": list(table.primary_key),
            "columns": list(table.columns),
            "sharedFrom": table.shared_from,
            "types": {column: str(kind) for column, kind in table.declared.items()},
        }
        own[entity] = replace(_data_extension(place, as_in_general | dict(changes)), zone=table.zone)
    if "timeZone" in entry:
        zone = _time_zone(where, entry["timeZone"])
        own = {entity: replace(table, zone=zone) for entity, table in own.items()}
    return Catalog(own, _account_id(where, entry))


def _time_zone(where: str, value: Any) -> timezone:
    try:
        return time_zone(value)
    except (TypeError, ValueError):
        raise CatalogError(f'{where}: "timeZone" must be an offset from UTC such as "UTC-6" or "UTC+5:30"') from None


def _account_id(where: str, entry: Mapping[str, Any]) -> str | None:
    if "accountId" not in entry:
        return None
    value = entry["accountId"]
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(ACCOUNT_PATTERN[1:-1], text) or text == OWN_ACCOUNT:
        raise CatalogError(f'{where}: "accountId" must be the MID of a business unit, such as "510001234"')
    return text


def _data_extension(where: str, entry: Any) -> DataExtension:
    def names(field_name: str) -> tuple[str, ...]:
        value = entry.get(field_name)
        if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
            raise CatalogError(f'{where}: "{field_name}" must be a list of column names')
        _refuse_what_xml_cannot_carry(f'{where}: "{field_name}"', value)
        if len({name.casefold() for name in value}) < len(value):
            raise CatalogError(f'{where}: "{field_name}" names a column twice')
        # The program uses its own spelling for the one column that every data extension has.
        return tuple(CONSUMER_ID_COLUMN if name.casefold() == _CONSUMER_ID else name for name in value)

    if not isinstance(entry, dict):
        raise CatalogError(f"{where}: must be an object")
    customer_key = entry.get("customerKey")
    if not isinstance(customer_key, str) or not customer_key:
        raise CatalogError(f'{where}: "customerKey" must be the CustomerKey of the data extension')
    _refuse_what_xml_cannot_carry(f'{where}: "customerKey"', [customer_key])
    columns = names("columns")
    spelled = {name.casefold(): name for name in columns}
    primary_key = tuple(spelled.get(name.casefold(), name) for name in names("primaryKey"))
    if outside := [name for name in (*primary_key, CONSUMER_ID_COLUMN) if name not in columns]:
        raise CatalogError(f"{where}: {', '.join(outside)} is not among the columns")
    return DataExtension(
        customer_key,
        primary_key,
        columns,
        declared=_declared(where, entry.get("types", {}), spelled),
        shared_from=_shared_from(where, entry.get("sharedFrom")),
    )


def _refuse_what_xml_cannot_carry(where: str, names: Iterable[str]) -> None:
    """Every call carries these names, so a name that XML cannot carry would make all calls fail."""
    for name in names:
        if not is_xml_text(name):
            raise CatalogError(f"{where} holds {character_named(name)}, which XML cannot carry")


def _shared_from(where: str, value: Any) -> str | None:
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    # The SOAP API takes this ID as a number (ClientID/ID), while an account ID may be any text.
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,9}", text):
        raise CatalogError(f'{where}: "sharedFrom" must be the MID of the account that shares it, such as "510001234"')
    return text


def _declared(where: str, types: Any, spelled: Mapping[str, str]) -> ColumnTypes:
    if not isinstance(types, Mapping):
        raise CatalogError(f'{where}: "types" must be an object with column names and their types')
    found: dict[str, ColumnType] = {}
    for name, spec in types.items():
        text: Any = spec.get("type") if isinstance(spec, Mapping) else spec
        try:
            kind = column_type(text)
        except (TypeError, ValueError):
            raise CatalogError(
                f'{where}: "types": {name}: must be a type such as "Text(200)", "Date" or "Number"'
            ) from None
        if (column := spelled.get(name.casefold())) is not None:
            found[column] = kind
    return found
