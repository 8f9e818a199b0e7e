"""Answers of Retrieve and Describe about `DataExtension` and `DataExtensionField`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from app.simulator.definitions import HeldDataExtension
from app.simulator.filters import Row
from app.simulator.soap_writer import element


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A retrievable object type: its properties, its objects, and how an object is written."""

    properties: Collection[str]
    rows: Callable[[HeldDataExtension], Iterator[Row]]
    result: Callable[[Row, Sequence[str]], str]


# In the order of the elements in the WSDL; a dotted property belongs to a nested object.
_EXTENSION_PROPERTIES = (
    "PartnerKey",
    "CreatedDate",
    "ModifiedDate",
    "ObjectID",
    "CustomerKey",
    "Name",
    "Description",
    "IsSendable",
    "IsTestable",
    "CategoryID",
    "Status",
)
_FIELD_PROPERTIES = (
    "PartnerKey",
    "CreatedDate",
    "ModifiedDate",
    "ObjectID",
    "CustomerKey",
    "Name",
    "Scale",
    "DefaultValue",
    "MaxLength",
    "IsRequired",
    "Ordinal",
    "IsPrimaryKey",
    "FieldType",
    "DataExtension.CustomerKey",
)
# The types that Describe names for properties that are not text.
_DATA_TYPES = {
    **dict.fromkeys(("CreatedDate", "ModifiedDate"), "DateTime"),
    **dict.fromkeys(("IsSendable", "IsTestable", "IsRequired", "IsPrimaryKey"), "Boolean"),
    **dict.fromkeys(("Scale", "MaxLength", "Ordinal"), "Int32"),
    "CategoryID": "Int64",
}
# The definitions have no dates; a fixed date keeps answers the same on every run.
_CREATED = "2026-01-01T00:00:00"


def _extensions(definition: HeldDataExtension) -> Iterator[Row]:
    yield {
        "CreatedDate": _CREATED,
        "ModifiedDate": _CREATED,
        "ObjectID": definition.object_id,
        "CustomerKey": definition.customer_key,
        "Name": definition.name,
        "Description": definition.entity,
        "IsSendable": "false",
        "IsTestable": "false",
        "CategoryID": "1",
        "Status": "Normal",
    }


def _fields(definition: HeldDataExtension) -> Iterator[Row]:
    for ordinal, column in enumerate(definition.columns):
        kind = definition.types[column]
        is_key = column in definition.primary_key
        yield {
            "CreatedDate": _CREATED,
            "ModifiedDate": _CREATED,
            "ObjectID": f"{definition.object_id}-{ordinal}",
            "CustomerKey": f"[{definition.customer_key}].[{column}]",
            "Name": column,
            "Scale": str(kind.scale),
            "DefaultValue": kind.default,
            "MaxLength": None if kind.max_length is None else str(kind.max_length),
            "IsRequired": _boolean(is_key or kind.required),
            "Ordinal": str(ordinal),
            "IsPrimaryKey": _boolean(is_key),
            "FieldType": kind.field_type,
            "DataExtension.CustomerKey": definition.customer_key,
        }


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _extension_result(row: Row, asked: Sequence[str]) -> str:
    return f'<Results xsi:type="DataExtension">{_plain(row, asked, _EXTENSION_PROPERTIES)}</Results>'


def _field_result(row: Row, asked: Sequence[str]) -> str:
    parent = ""
    if "DataExtension.CustomerKey" in asked:
        parent = (
            '<DataExtension><PartnerKey xsi:nil="true" /><ObjectID xsi:nil="true" />'
            f"{element('CustomerKey', row['DataExtension.CustomerKey'])}</DataExtension>"
        )
    return f'<Results xsi:type="DataExtensionField">{_plain(row, asked, _FIELD_PROPERTIES)}{parent}</Results>'


def _plain(row: Row, asked: Sequence[str], order: Sequence[str]) -> str:
    parts: list[str] = []
    for name in order:
        if name == "PartnerKey":
            parts.append('<PartnerKey xsi:nil="true" />')
        elif name == "MaxLength" and row.get(name) is None:
            continue  # as in recorded answers: a Number has none
        elif name in asked and "." not in name:
            parts.append(element(name, row.get(name)))
        elif name == "ObjectID":
            parts.append('<ObjectID xsi:nil="true" />')
    return "".join(parts)


def described(object_type: str) -> str:
    """ObjectDefinition of an object type; without Properties if the type cannot be retrieved here."""
    kind = OBJECT_TYPES.get(object_type)
    properties = "".join(
        '<Properties><PartnerKey xsi:nil="true" /><ObjectID xsi:nil="true" />'
        f"{element('Name', name)}{element('DataType', _DATA_TYPES.get(name, 'String'))}"
        "<IsUpdatable>false</IsUpdatable><IsRetrievable>true</IsRetrievable></Properties>"
        for name in (kind.properties if kind else ())
        if name != "PartnerKey"
    )
    return f"<ObjectDefinition>{element('ObjectType', object_type)}{properties}</ObjectDefinition>"


OBJECT_TYPES = {
    "DataExtension": ObjectType(_EXTENSION_PROPERTIES, _extensions, _extension_result),
    "DataExtensionField": ObjectType(_FIELD_PROPERTIES, _fields, _field_result),
}
