"""Parses a SOAP request. It accepts what the real endpoint accepts: SOAP 1.1 or 1.2, any prefixes,
Body before or after Header, the token in any namespace, with or without Options.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from app.simulator.filters import ComplexFilter, Filter, SimpleFilter, UnusableFilter

SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
OPERATIONS = {
    "CreateRequest": "Create",
    "UpdateRequest": "Update",
    "DeleteRequest": "Delete",
    "RetrieveRequestMsg": "Retrieve",
    "DefinitionRequestMsg": "Describe",
}
_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_XSI_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
# No entities and no network, so that a document type in a request cannot make the simulator read anything.
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)


class NotXmlError(ValueError):
    """The body is not well-formed XML."""


class NotSoapError(ValueError):
    """Well-formed, but not a SOAP envelope with a payload."""


@dataclass(frozen=True, slots=True)
class WriteObject:
    """One Objects element, with names and values as sent. None is a null (NullAPIProperty, xsi:nil)."""

    object_type: str | None
    customer_key: str
    keys: dict[str, str | None]
    properties: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class RetrieveRequest:
    """A RetrieveRequest. `filter_error`: why its filter could not be read."""

    object_type: str
    properties: tuple[str, ...]
    condition: Filter | None
    filter_error: str | None
    continue_request: str
    batch_size: int | None


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """One request. `payload` is the local name of the first element of the Body, `action` that of wsa:Action.

    `login`: user and password of a wsse:UsernameToken. `described`: the object types that a Describe asks for.
    """

    soap12: bool
    payload: str
    token: str
    action: str | None
    message_id: str | None
    objects: tuple[WriteObject, ...] = ()
    save_action: str | None = None
    retrieve: RetrieveRequest | None = None
    described: tuple[str, ...] = ()
    login: tuple[str, str] | None = None


def read_request(body: bytes) -> SoapRequest:
    """Raises NotXmlError and NotSoapError."""
    try:
        root = etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError as error:
        raise NotXmlError(f"not well-formed XML: {error.msg}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise NotSoapError("a document type is not allowed")
    if _local(root) != "Envelope":
        raise NotSoapError(f"expected a SOAP Envelope, got {_local(root)}")
    payload: etree._Element | None = None
    token, action, message_id = "", None, None
    login: tuple[str, str] | None = None
    for part in root:
        match _local(part):
            case "Body":
                payload = next(iter(part), None)
            case "Header":
                for element in part:
                    match _local(element):
                        # The text at any depth: oAuth contains oAuthToken, and some clients nest fueloauth.
                        case "fueloauth" | "oAuth":
                            token = token or "".join(map(str, element.itertext())).strip()
                        case "Action":
                            action = (element.text or "").strip()
                        case "MessageID":
                            message_id = (element.text or "").strip()
                        case "Security":
                            login = _login(element)
    if payload is None:
        raise NotSoapError("the SOAP Body is empty")
    soap12 = root.tag.startswith(f"{{{SOAP_12}}}")
    name = _local(payload)
    if name == "RetrieveRequestMsg":
        retrieve = _child(payload, "RetrieveRequest")
        if retrieve is None:
            raise NotSoapError("RetrieveRequestMsg holds no RetrieveRequest")
        return SoapRequest(soap12, name, token, action, message_id, retrieve=_retrieve(retrieve), login=login)
    if name == "DefinitionRequestMsg":
        asked = tuple(_text(element) for element in payload.iter("{*}ObjectType"))
        return SoapRequest(soap12, name, token, action, message_id, described=asked, login=login)
    objects = tuple(_object(element) for element in payload if _local(element) == "Objects")
    return SoapRequest(soap12, name, token, action, message_id, objects, _save_action(payload), login=login)


def _local(element: etree._Element) -> str:
    tag: str = element.tag
    return tag[tag.rfind("}") + 1 :]


def _child(element: etree._Element | None, *path: str) -> etree._Element | None:
    for name in path:
        if element is None:
            return None
        for child in element:
            if child.tag.endswith(name) and _local(child) == name:
                element = child
                break
        else:
            return None
    return element


def _text(element: etree._Element | None) -> str:
    return "" if element is None else (element.text or "").strip()


def _login(security: etree._Element) -> tuple[str, str] | None:
    token = _child(security, "UsernameToken")
    return None if token is None else (_text(_child(token, "Username")), _text(_child(token, "Password")))


def _xsi_type(element: etree._Element) -> str | None:
    value = element.get(_XSI_TYPE)
    return None if value is None else value.rpartition(":")[2].strip()


def _object(element: etree._Element) -> WriteObject:
    customer_key = name = ""
    keys: dict[str, str | None] = {}
    properties: dict[str, str | None] = {}
    for part in element:
        match _local(part):
            case "CustomerKey":
                customer_key = _text(part)
            case "Name":
                name = _text(part)
            case "Keys":
                keys |= (_pair(pair) for pair in part)
            case "Properties":
                properties |= (_pair(pair) for pair in part)
    return WriteObject(_xsi_type(element), customer_key or name, keys, properties)


def _pair(element: etree._Element) -> tuple[str, str | None]:
    # The most frequent element by far, so this is written for speed.
    name, value = "", None
    for part in element:
        if part.tag.endswith("Name"):
            name = (part.text or "").strip()
        elif part.get(_XSI_NIL) not in ("true", "1"):
            value = part.text or ""
    return name, value


def _save_action(payload: etree._Element) -> str | None:
    save_options = _child(payload, "Options", "SaveOptions")
    if save_options is None:
        return None
    return next((_text(_child(option, "SaveAction")) for option in save_options), None)


def _retrieve(element: etree._Element) -> RetrieveRequest:
    object_type = continue_request = batch_size = ""
    properties: list[str] = []
    condition, filter_error = None, None
    for part in element:
        match _local(part):
            case "ObjectType":
                object_type = _text(part)
            case "Properties":
                properties.append(_text(part))
            case "Filter":
                try:
                    condition = _filter(part)
                except UnusableFilter as error:
                    filter_error = str(error)
            case "ContinueRequest":
                continue_request = _text(part)
            case "Options":
                batch_size = _text(_child(part, "BatchSize"))
    size = int(batch_size) if batch_size.isdecimal() else None
    return RetrieveRequest(object_type, tuple(properties), condition, filter_error, continue_request, size)


def _filter(element: etree._Element) -> Filter:
    kind = _xsi_type(element)
    if kind == "SimpleFilterPart":
        column = operator = ""
        values: list[str] = []
        for part in element:
            match _local(part):
                case "Property":
                    column = _text(part)
                case "SimpleOperator":
                    operator = _text(part)
                case "Value" | "DateValue":
                    values.append(part.text or "")
        return SimpleFilter(column, operator, tuple(values))
    if kind != "ComplexFilterPart":
        # Reported from live tenants for operands whose xsi:type was forgotten.
        raise UnusableFilter(f"Unknown filter of type {kind or 'FilterPart'} encountered")
    operator = ""
    operands: list[Filter] = []
    for part in element:
        match _local(part):
            case "LogicalOperator":
                operator = _text(part)
            case "LeftOperand" | "RightOperand":
                operands.append(_filter(part))
            case "AdditionalOperands":
                operands.extend(map(_filter, part))
    return ComplexFilter(operator, tuple(operands))
