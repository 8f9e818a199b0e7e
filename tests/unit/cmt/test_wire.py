"""The messages that go out have the form of the vendor's reference."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from app.bundled import schema_path
from app.cmt.prepared import PreparedWire, canonical
from app.cmt.values import unsendable
from app.cmt.wire import Wire
from app.profile.entities import Catalog, EntityType, Row, as_text
from app.profile.xml_text import is_xml_text
from app.settings import ConfigurationError

NAMES = {
    "s": "http://schemas.xmlsoap.org/soap/envelope/",
    "p": "http://exacttarget.com/wsdl/partnerAPI",
    "t": "http://exacttarget.com",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
XSI_TYPE = f"{{{NAMES['xsi']}}}type"


@pytest.fixture(scope="module", params=[Wire, PreparedWire])
def wire(catalog: Catalog, request: pytest.FixtureRequest) -> Wire | PreparedWire:
    """As zeep builds the messages, and as they are prepared: the same is asked of both."""
    made: Wire | PreparedWire = request.param(catalog)
    return made


def read(message: bytes) -> Any:
    return etree.fromstring(message)


def texts(node: Any, path: str) -> list[str]:
    return [found.text or "" for found in node.xpath(path, namespaces=NAMES)]


def pairs(node: Any, kind: str) -> dict[str, str | None]:
    return {
        texts(pair, "p:Name")[0]: (texts(pair, "p:Value") or [None])[0]
        for pair in node.xpath(f".//p:{kind}", namespaces=NAMES)
    }


def test_an_upsert_is_an_update_that_may_add(wire: Wire | PreparedWire) -> None:
    message = wire.upsert([(EntityType.CONTACT, {"ConsumerId": "c1", "ContactId": "x", "Value": "a", "Type": None})])
    root = read(message.with_token("TOKEN"))
    assert message.action == "Update"
    assert texts(root, "s:Header/t:fueloauth") == ["TOKEN"]
    save = "s:Body/p:UpdateRequest/p:Options/p:SaveOptions/p:SaveOption"
    assert texts(root, f"{save}/p:SaveAction") == ["UpdateAdd"]
    (row,) = root.xpath("s:Body/p:UpdateRequest/p:Objects", namespaces=NAMES)
    assert row.get(XSI_TYPE).endswith("DataExtensionObject")
    assert texts(row, "p:CustomerKey") == ["CMT_Contact"]
    assert pairs(row, "Key") == {"ConsumerId": "c1", "ContactId": "x"}
    assert pairs(row, "Property") == {"Value": "a", "Type": None}


def test_a_null_is_a_property_of_its_own_type_and_an_empty_text_is_a_value(wire: Wire | PreparedWire) -> None:
    root = read(
        wire.upsert([(EntityType.CONSUMER, {"ConsumerId": "c1", "Gender": None, "Country": ""})]).with_token("t")
    )
    null, empty = root.xpath("//p:Property", namespaces=NAMES)
    assert null.get(XSI_TYPE).endswith(":NullAPIProperty")
    assert texts(null, "p:Value") == []
    assert empty.get(XSI_TYPE) is None
    assert texts(empty, "p:Value") == [""]


def test_a_row_of_nothing_but_its_key_writes_the_key(wire: Wire | PreparedWire) -> None:
    root = read(wire.upsert([(EntityType.CONSUMER, {"ConsumerId": "c1"})]).with_token("t"))
    assert pairs(root, "Key") == pairs(root, "Property") == {"ConsumerId": "c1"}


def test_a_delete_sends_keys_only(wire: Wire | PreparedWire) -> None:
    message = wire.delete([(EntityType.PET, {"ConsumerId": "c1", "PetId": 7, "Name": "Rex"})])
    root = read(message.with_token("t"))
    assert message.action == "Delete"
    assert pairs(root, "Key") == {"ConsumerId": "c1", "PetId": "7"}
    assert pairs(root, "Property") == {}
    assert b"Rex" not in message.after


def test_a_retrieve_names_every_column_and_filters_by_consumer(wire: Wire | PreparedWire, catalog: Catalog) -> None:
    root = read(wire.retrieve(EntityType.PET, "c & 1").with_token("t"))
    request = "s:Body/p:RetrieveRequestMsg/p:RetrieveRequest"
    assert texts(root, f"{request}/p:ObjectType") == ["DataExtensionObject[CMT_Pet]"]
    assert tuple(texts(root, f"{request}/p:Properties")) == catalog[EntityType.PET].columns
    (condition,) = root.xpath(f"{request}/p:Filter", namespaces=NAMES)
    assert condition.get(XSI_TYPE).endswith(":SimpleFilterPart")
    assert [texts(condition, f"p:{name}")[0] for name in ("Property", "SimpleOperator", "Value")] == [
        "ConsumerId",
        "equals",
        "c & 1",
    ]
    assert texts(root, "//p:ContinueRequest") == []


def test_the_next_page_is_asked_for_by_the_request_id_of_the_one_before(wire: Wire | PreparedWire) -> None:
    root = read(wire.retrieve(EntityType.PET, "c1", after="f06c").with_token("t"))
    assert texts(root, "//p:ContinueRequest") == ["f06c"]


def test_rows_of_several_data_extensions_share_a_call(wire: Wire | PreparedWire) -> None:
    rows: list[tuple[EntityType, Row]] = [
        (EntityType.PET, {"ConsumerId": "c1", "PetId": "p"}),
        (EntityType.CHILD, {"ConsumerId": "c1", "ChildId": "k"}),
    ]
    root = read(wire.upsert(rows).with_token("t"))
    assert texts(root, "//p:Objects/p:CustomerKey") == ["CMT_Pet", "CMT_Child"]


def test_the_same_message_takes_another_token(wire: Wire | PreparedWire) -> None:
    message = wire.upsert([(EntityType.CONSUMER, {"ConsumerId": "token-goes-here"})])
    for token in ("one", "t<&>wo"):
        root = read(message.with_token(token))
        assert texts(root, "s:Header/t:fueloauth") == [token]
        assert pairs(root, "Key") == {"ConsumerId": "token-goes-here"}


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", categories=None)))
def test_any_text_that_xml_holds_arrives_unchanged(wire: Wire | PreparedWire, catalog: Catalog, text: str) -> None:
    row = {"ConsumerId": "c1", "FirstName": text}
    problem = unsendable(catalog[EntityType.CONSUMER], row, keys_only=False)
    assert (problem is None) == is_xml_text(text)
    if problem is None:
        root = read(wire.upsert([(EntityType.CONSUMER, row)]).with_token("t"))
        assert pairs(root, "Property") == {"FirstName": text or ""}


@pytest.mark.parametrize("text", ["\x00", "a\x0bb", "\x1f", "\ud800", "\udfff", "\ufffe", "\uffff"])
def test_characters_that_xml_cannot_hold_are_found_before_anything_is_sent(catalog: Catalog, text: str) -> None:
    table = catalog[EntityType.CONSUMER]
    problem = unsendable(table, {"ConsumerId": "c1", "FirstName": text}, keys_only=False)
    assert problem is not None
    assert (problem[0].code, problem[1]) == (
        "CMT-NOT-XML-TEXT",
        f"CMT_Consumer, column FirstName: U+{ord(text.strip('ab')):04X}.",
    )


@pytest.mark.parametrize("value", [None, "", ...])
def test_a_row_without_its_whole_key_is_never_sent(catalog: Catalog, value: Any) -> None:
    row = {"ConsumerId": "c1"} if value is ... else {"ConsumerId": "c1", "PetId": value}
    for keys_only in (True, False):
        problem = unsendable(catalog[EntityType.PET], row, keys_only=keys_only)
        assert problem is not None
        assert (problem[0].code, problem[1]) == ("CMT-ROW-MISSING-KEY", "CMT_Pet, column PetId.")


def test_a_delete_is_not_stopped_by_columns_it_does_not_send(catalog: Catalog) -> None:
    row = {"ConsumerId": "c1", "FirstName": "\x00"}
    assert unsendable(catalog[EntityType.CONSUMER], row, keys_only=True) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (12345678901234567890, "12345678901234567890"),
        (Decimal("4.50"), "4.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("1E+999999"), "1E+999999"),
        (None, None),
    ],
)
def test_values_go_out_as_text(value: Any, text: str | None) -> None:
    assert as_text(value) == text


def test_the_wsdl_needs_no_other_file_and_has_one_address() -> None:
    document = etree.parse(str(schema_path("cmt.wsdl")))
    assert document.xpath("//*[local-name()='import' or local-name()='include']") == []
    assert len(document.xpath("//*[local-name()='address']/@location")) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<not-a-wsdl/>", "not a usable WSDL"),
        ("not xml", "not a usable WSDL"),
        (None, "not a usable WSDL"),
    ],
)
def test_another_file_is_refused_with_its_name(
    catalog: Catalog, tmp_path: Path, content: str | None, reason: str
) -> None:
    path = tmp_path / "other.wsdl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=f"CMT_WSDL: .*other.wsdl.* {reason}"):
        Wire(catalog, path)


def test_a_wsdl_that_imports_from_the_network_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "vendor.wsdl"
    text = schema_path("cmt.wsdl").read_text()
    imported = '<wsdl:import namespace="urn:x" location="http://127.0.0.1:9/fault.xsd"/><wsdl:types>'
    path.write_text(text.replace("<wsdl:types>", imported, 1))
    with pytest.raises(ConfigurationError, match=r"imports http://127\.0\.0\.1:9/fault\.xsd"):
        Wire(catalog, path)


def test_a_wsdl_that_lacks_an_operation_is_refused_at_the_start(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "small.wsdl"
    path.write_text(schema_path("cmt.wsdl").read_text().replace('name="Delete"', 'name="Erase"'))
    with pytest.raises(ConfigurationError, match="not a usable WSDL"):
        Wire(catalog, path)


# The vendor's own form


def vendor_like(text: str) -> str:
    """Our WSDL in the form of the vendor's: another default namespace, the schema of faults imported from a host,
    and every property with a Value."""
    start = text.index("    <!-- Detail of a server fault. -->")
    end = text.index('    <xsd:schema targetNamespace="http://exacttarget.com/wsdl/partnerAPI"')
    text = text[:start] + text[end:]
    opening = '<xsd:schema targetNamespace="http://exacttarget.com/wsdl/partnerAPI" elementFormDefault="qualified">'
    fault = (
        '<xsd:import id="APIFault" namespace="urn:fault.partner.exacttarget.com" '
        'schemaLocation="https://webservice.exacttarget.com/ETFrameworkFault.xsd"/>'
    )
    assert opening in text
    text = text.replace(opening, opening + fault)
    for name in ("Name", "Value"):
        optional = f'<xsd:element name="{name}" type="xsd:string" minOccurs="0"/>'
        assert optional in text
        text = text.replace(optional, f'<xsd:element name="{name}" type="xsd:string"/>', 1)
    return text.replace(
        '<xsd:element name="Options" type="UpdateOptions" minOccurs="0"/>',
        '<xsd:element name="Options" type="UpdateOptions"/>',
    )


@pytest.fixture
def vendors(tmp_path: Path) -> Path:
    path = tmp_path / "etframework.wsdl"
    path.write_text(vendor_like(schema_path("cmt.wsdl").read_text()))
    return path


@pytest.mark.parametrize("shared_from", [None, "510001234"])
def test_the_vendors_wsdl_serves_as_it_is_and_gives_the_same_messages(
    catalog: Catalog, vendors: Path, shared_from: str | None
) -> None:
    """Nothing is fetched, and a null can be built although a property has a Value there."""
    pet = replace(catalog[EntityType.PET], shared_from=shared_from)
    tables = Catalog({**catalog.data_extensions, EntityType.PET: pet})
    ours, theirs = PreparedWire(tables), PreparedWire(tables, vendors)
    row: Row = {"ConsumerId": "c1", "PetId": "p1", "Name": None, "Breed": ""}
    for one, other in (
        (ours.upsert([(EntityType.PET, row)]), theirs.upsert([(EntityType.PET, row)])),
        (ours.delete([(EntityType.PET, row)]), theirs.delete([(EntityType.PET, row)])),
        (ours.retrieve(EntityType.PET, "c1"), theirs.retrieve(EntityType.PET, "c1")),
        (ours.fields(EntityType.PET), theirs.fields(EntityType.PET)),
    ):
        assert canonical(one) == canonical(other)
        owners = texts(read(one.with_token("t")), ".//p:Client/p:ID | .//p:ClientIDs/p:ID")
        assert owners == ([] if shared_from is None else [shared_from])


def test_ours_and_the_vendors_make_the_same_client_code() -> None:
    """What is nillable and optional becomes another type in generated code (JAXBElement in Java)."""
    document = etree.parse(str(schema_path("cmt.wsdl")))
    schema = {"x": "http://www.w3.org/2001/XMLSchema"}
    nillable = document.xpath("//x:element[@nillable='true']/@name", namespaces=schema)
    # In the vendor's file: of every object.
    assert sorted(set(nillable)) == ["ModifiedDate", "ObjectID", "PartnerKey"]
    assert len(nillable) == 3


def test_a_data_extension_that_a_parent_account_shares_is_addressed_in_its_account(catalog: Catalog) -> None:
    pet = replace(catalog[EntityType.PET], shared_from="510001234")
    wire = PreparedWire(Catalog({**catalog.data_extensions, EntityType.PET: pet}))
    rows: list[tuple[EntityType, Row]] = [
        (EntityType.CONTACT, {"ConsumerId": "c1", "ContactId": "k"}),
        (EntityType.PET, {"ConsumerId": "c1", "PetId": "p"}),
    ]
    for message in (wire.upsert(rows), wire.delete(rows)):
        contact, shared = read(message.with_token("t")).xpath("//p:Objects", namespaces=NAMES)
        assert texts(contact, "p:Client/p:ID") == []
        assert texts(shared, "p:Client/p:ID") == ["510001234"]
