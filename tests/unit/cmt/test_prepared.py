"""A prepared message means what zeep's means, whatever is in the row."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bundled import schema_path
from app.cmt import prepared
from app.cmt.prepared import PreparedWire, canonical
from app.cmt.wire import Wire
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, DataExtension, EntityType, Row
from app.profile.xml_text import is_xml_text
from app.settings import ConfigurationError

BUNDLED = parse_catalog(schema_path("data-extensions.json").read_bytes())

# The words that mark places in the samples are the ones most likely to go wrong in a value.
MARKS = [value for name, value in vars(prepared).items() if isinstance(value, str) and value.startswith("place-of-")]

texts = st.text(st.characters(codec="utf-8")).filter(is_xml_text) | st.sampled_from(
    [*MARKS, "token-goes-here", "]]>", "\r\n", "&#13;", "<Value>", "</Key>", " "]
)
keys = texts.filter(bool)
values = texts | st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def zeeps(catalog: Catalog) -> Wire:
    return Wire(catalog)


@pytest.fixture(scope="module")
def ours(catalog: Catalog) -> PreparedWire:
    return PreparedWire(catalog)


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[EntityType, Row]]:
    made: list[tuple[EntityType, Row]] = []
    for entity in draw(st.lists(st.sampled_from(EntityType), min_size=1, max_size=3)):
        table = BUNDLED[entity]
        others = [column for column in table.columns if column not in table.primary_key]
        chosen = draw(st.lists(st.sampled_from(others), unique=True))
        row: dict[str, str | int | Decimal | bool | None] = {column: draw(keys) for column in table.primary_key}
        row.update({column: draw(values) for column in chosen})
        made.append((entity, row))
    return made


@settings(deadline=None)
@given(rows())
def test_upserts_and_deletes_mean_the_same(
    ours: PreparedWire, zeeps: Wire, given_rows: list[tuple[EntityType, Row]]
) -> None:
    assert canonical(ours.upsert(given_rows)) == canonical(zeeps.upsert(given_rows))
    assert canonical(ours.delete(given_rows)) == canonical(zeeps.delete(given_rows))


@settings(deadline=None)
@given(st.sampled_from(EntityType), keys, st.none() | keys)
def test_retrieves_mean_the_same(
    ours: PreparedWire, zeeps: Wire, entity: EntityType, consumer_id: str, after: str | None
) -> None:
    mine, its = ours.retrieve(entity, consumer_id, after=after), zeeps.retrieve(entity, consumer_id, after=after)
    assert canonical(mine) == canonical(its)


def test_the_configuration_may_use_any_names() -> None:
    table = DataExtension(
        "Kunden & <Co>", ("ConsumerId", "Schlüssel & <1>"), ("ConsumerId", "Schlüssel & <1>", "ä'\"&")
    )
    catalog = Catalog(dict.fromkeys(EntityType, table))
    row: Row = {"ConsumerId": "c", "Schlüssel & <1>": "k", "ä'\"&": "v"}
    mine, its = PreparedWire(catalog), Wire(catalog)
    assert canonical(mine.upsert([(EntityType.PET, row)])) == canonical(its.upsert([(EntityType.PET, row)]))


def test_a_wsdl_whose_messages_come_out_differently_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    text = schema_path("cmt.wsdl").read_text()
    odd = tmp_path / "odd.wsdl"
    # A default that zeep fills in between name and value: the known form of a property is gone.
    odd.write_text(
        text.replace(
            '<xsd:element name="Value" type="xsd:string" minOccurs="0"/>',
            '<xsd:element name="Unit" type="xsd:string" default="none"/>'
            '<xsd:element name="Value" type="xsd:string" minOccurs="0"/>',
            1,
        )
    )
    Wire(catalog, odd)
    with pytest.raises(ConfigurationError, match="cannot be prepared"):
        PreparedWire(catalog, odd)
