"""SOAP requests, built by zeep from the WSDL, which is the authority on their form.

An upsert is an Update with SaveOption UpdateAdd: primary-key columns in Keys, the others in Properties. A null is a
NullAPIProperty (vendor page "NullAPIProperty": an empty Value would be stored as an empty text). Source of the shapes:
vendor pages "Manage Data in Data Extensions", "SaveOption" and "Retrieve Data from a Data Extension".
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import zeep
import zeep.exceptions
import zeep.xsd
from lxml import etree
from zeep.transports import Transport

from app.bundled import schema_path
from app.delivery.value_class import value_class
from app.profile.entities import CONSUMER_ID_COLUMN, Catalog, DataExtension, EntityType, Row, Scalar, as_text
from app.settings import ConfigurationError

PARTNER_API = "http://exacttarget.com/wsdl/partnerAPI"
_TOKEN_ELEMENT = "{http://exacttarget.com}fueloauth"  # noqa: S105 - the name of an element
_TOKEN_NAMESPACES: Any = {None: "http://exacttarget.com"}  # the type stubs know no default namespace
_TOKEN_SLOT = "token-goes-here"  # noqa: S105 - a place, not a token
# What zeep raises on a file that is no WSDL, or another service's.
_UNUSABLE = (OSError, etree.XMLSyntaxError, zeep.exceptions.Error, LookupError, AttributeError, TypeError, ValueError)
_FAULT_SCHEMA_NAME = "etframeworkfault.xsd"
_FAULT_SCHEMA = b"""<schema xmlns="http://www.w3.org/2001/XMLSchema" xmlns:own="urn:fault.partner.exacttarget.com"
    targetNamespace="urn:fault.partner.exacttarget.com" elementFormDefault="qualified">
  <element name="apifault" type="own:ApiFault"/>
  <complexType name="ApiFault">
    <sequence>
      <element name="Code" type="int"/>
      <element name="Message" type="string" minOccurs="0"/>
    </sequence>
  </complexType>
</schema>"""
# The properties of a column that are requested.
FIELD_PROPERTIES = ("Name", "FieldType", "MaxLength", "Scale", "IsRequired", "IsPrimaryKey", "DefaultValue")
_UPSERT = ("DataExtensionObject", "UpdateAdd")


@value_class(frozen=True, slots=True)
class Message:
    """One SOAP request without its token; ``action`` is the SOAPAction and the name of the operation."""

    action: str
    before: bytes
    after: bytes

    def with_token(self, token: str) -> bytes:
        """The bytes to send. A repeat with another token reuses the message."""
        return b"".join((self.before, escape(token).encode(), self.after))


class _Offline(Transport):  # type: ignore[misc]  # zeep has no types
    """Loads the WSDL from files only: what it imports must be a file too.

    The one import of the vendor's own WSDL is replaced: the schema of a fault's detail, which no request needs.
    """

    def load(self, url: str) -> bytes:
        if urlsplit(url).scheme in ("http", "https"):
            if urlsplit(url).path.rpartition("/")[2].lower() == _FAULT_SCHEMA_NAME:
                return _FAULT_SCHEMA
            _fail(f"it imports {url}; inline the schema, nothing is fetched at run time")
        content: bytes = super().load(url)
        return content


def _fail(reason: str) -> NoReturn:
    raise ConfigurationError([f"CMT_WSDL: {reason}"])


def _owner(table: DataExtension, element: str) -> dict[str, Any]:
    """Names the account that shares a data extension (ClientID, ID); empty for the account's own ones."""
    if table.shared_from is None:
        return {}
    owner = {"ID": int(table.shared_from)}
    return {element: [owner] if element == "ClientIDs" else owner}


class Wire:
    """Builds requests for the data extensions of a catalog.

    Raises:
        ConfigurationError: the WSDL cannot be used.
    """

    def __init__(self, catalog: Catalog, wsdl: Path | None = None) -> None:
        self._catalog = catalog
        path = wsdl or schema_path("cmt.wsdl")
        try:
            self._zeep = zeep.Client(str(path), transport=_Offline(), settings=zeep.Settings(strict=True))
            self._types = self._zeep.type_factory(PARTNER_API)
            # Names that every message needs: a WSDL without them is another service's.
            self._upsert_options = self._types.UpdateOptions(
                SaveOptions={"SaveOption": [self._types.SaveOption(*_UPSERT)]}
            )
            self._delete_options = self._types.DeleteOptions()
            self._try_out()
        except _UNUSABLE as error:
            _fail(f"{path} is not a usable WSDL of Marketing Cloud: {str(error)[:200]}")

    def for_catalog(self, catalog: Catalog) -> Wire:
        """The same WSDL for other data extensions."""
        other = copy.copy(self)
        other._catalog = catalog
        return other

    def upsert(self, rows: Sequence[tuple[EntityType, Row]]) -> Message:
        """Writes rows, inserting those that do not exist; they may be of several data extensions."""
        objects = [self._object(self._catalog[entity], row) for entity, row in rows]
        return self._message("Update", Options=self._upsert_options, Objects=objects)

    def delete(self, keys: Sequence[tuple[EntityType, Row]]) -> Message:
        """Deletes rows by their primary keys; other columns are left out."""
        objects = [
            self._types.DataExtensionObject(
                CustomerKey=table.customer_key, Keys={"Key": self._keys(table, row)}, **_owner(table, "Client")
            )
            for table, row in ((self._catalog[entity], row) for entity, row in keys)
        ]
        return self._message("Delete", Options=self._delete_options, Objects=objects)

    def retrieve(self, entity: EntityType, consumer_id: str, *, after: str | None = None) -> Message:
        """Asks for a consumer's rows. It names all columns, because "*" is answered with OK and no rows.

        Args:
            entity: whose data extension.
            consumer_id: whose rows.
            after: RequestID of the previous page; the other arguments are the same for every page.
        """
        table = self._catalog[entity]
        request = self._types.RetrieveRequest(
            ObjectType=f"DataExtensionObject[{table.customer_key}]",
            Properties=list(table.columns),
            Filter=self._types.SimpleFilterPart(
                Property=CONSUMER_ID_COLUMN, SimpleOperator="equals", Value=[consumer_id]
            ),
            ContinueRequest=after,
            **_owner(table, "ClientIDs"),
        )
        return self._message("Retrieve", RetrieveRequest=request)

    def fields(self, entity: EntityType) -> Message:
        """Asks for the columns of a data extension and their types."""
        table = self._catalog[entity]
        request = self._types.RetrieveRequest(
            ObjectType="DataExtensionField",
            Properties=list(FIELD_PROPERTIES),
            Filter=self._types.SimpleFilterPart(
                Property="DataExtension.CustomerKey",
                SimpleOperator="equals",
                Value=[table.customer_key],
            ),
            **_owner(table, "ClientIDs"),
        )
        return self._message("Retrieve", RetrieveRequest=request)

    def _try_out(self) -> None:
        """Builds one message of each kind, so that an unusable WSDL is found at the start."""
        row = (EntityType.CONSUMER, dict.fromkeys(self._catalog[EntityType.CONSUMER].columns, ""))
        self.upsert([row])
        self.delete([row])
        self.retrieve(EntityType.CONSUMER, "")

    def _object(self, table: DataExtension, row: Row) -> Any:
        # A row with only its key writes the key as properties: the vendor does not say what an Update without any does.
        columns = [column for column in row if column not in table.primary_key] or table.primary_key
        return self._types.DataExtensionObject(
            CustomerKey=table.customer_key,
            Properties={"Property": [self._property(column, row[column]) for column in columns]},
            Keys={"Key": self._keys(table, row)},
            **_owner(table, "Client"),
        )

    def _keys(self, table: DataExtension, row: Row) -> list[Any]:
        return [self._property(column, row[column]) for column in table.primary_key]

    def _property(self, name: str, value: Scalar) -> Any:
        text = as_text(value)
        if text is None:
            # The vendor's WSDL requires a Value in a property, but the vendor's page shows a null without one.
            return self._types.NullAPIProperty(Name=name, Value=zeep.xsd.SkipValue)
        return self._types.APIProperty(Name=name, Value=text)

    def _message(self, operation: str, **parts: Any) -> Message:
        token = etree.Element(_TOKEN_ELEMENT, nsmap=_TOKEN_NAMESPACES)
        token.text = _TOKEN_SLOT
        envelope = self._zeep.create_message(self._zeep.service, operation, **parts, _soapheaders=[token])
        # The header precedes the body, so the first occurrence is the token's place, whatever a row holds.
        before, _, after = etree.tostring(envelope, xml_declaration=True, encoding="utf-8").partition(
            _TOKEN_SLOT.encode()
        )
        return Message(operation, before, after)
