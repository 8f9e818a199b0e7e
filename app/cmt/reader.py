"""Reads Marketing Cloud's answers into plain values. It uses lxml, because zeep takes five times as long.

Elements are found by local name, so that a gateway that rewrites prefixes or namespaces does no harm. What an error
means is decided in ``app.cmt.errors``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from lxml import etree

from app.cmt.errors import TOKEN_FAULTS, Fault
from app.cmt.lenient_xml import made_readable

# How much is read of an answer's errors. Texts are masked and cut to a few hundred characters later.
LONGEST_TEXT = 4000
COLUMN_ERRORS_MOST = 20
_BLANK = b" \t\r\n"
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"

# No entities, no network: an answer must not make the parser read anything else.
_PARSER = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, huge_tree=False
)


# Codes and ordinals have six digits at most.
_DIGITS_MOST = 9


class UnreadableAnswer(Exception):
    """The body is not the expected SOAP message; the text says why without quoting it."""


@dataclass(frozen=True, slots=True)
class ColumnError:
    """One KeyError or ValueError: the column, its code, the text (which quotes values)."""

    column: str
    code: int | None
    message: str


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """One Results element of a write."""

    status: str
    message: str
    ordinal: int | None = None
    error_code: int | None = None
    error_message: str = ""
    column_errors: tuple[ColumnError, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """CreateResponse, UpdateResponse or DeleteResponse."""

    overall_status: str
    rows: tuple[RowAnswer, ...]


@dataclass(frozen=True, slots=True)
class RetrieveAnswer:
    """RetrieveResponseMsg: one page of rows. A null is None; ``request_id`` asks for the next page."""

    overall_status: str
    request_id: str
    rows: tuple[dict[str, str | None], ...]


def read_write_answer(body: bytes, operation: str) -> WriteAnswer | Fault:
    """Read the answer to ``operation`` ("Create", "Update", "Delete").

    Raises:
        UnreadableAnswer: not XML, not SOAP, or another message.
    """
    payload = _payload(body, f"{operation}Response")
    if isinstance(payload, Fault):
        return payload
    status, rows = "", []
    for element in payload:
        match _local(element):
            case "Results":
                rows.append(_row_answer(element))
            case "OverallStatus":
                status = _text(element)
    return WriteAnswer(status, tuple(rows))


def read_retrieve_answer(body: bytes) -> RetrieveAnswer | Fault:
    """Read the answer to a Retrieve of rows.

    Raises:
        UnreadableAnswer: not XML, not SOAP, or another message.
    """
    return _retrieve_answer(body, _row)


def _retrieve_answer(body: bytes, read: Callable[[etree._Element], dict[str, str | None]]) -> RetrieveAnswer | Fault:
    payload = _payload(body, "RetrieveResponseMsg")
    if isinstance(payload, Fault):
        return payload
    status, request_id, rows = "", "", []
    for element in payload:
        match _local(element):
            case "Results":
                rows.append(read(element))
            case "OverallStatus":
                status = _text(element)
            case "RequestID":
                request_id = _text(element)
    return RetrieveAnswer(status, request_id, tuple(rows))


def read_objects_answer(body: bytes) -> RetrieveAnswer | Fault:
    """Read the answer to a Retrieve of other objects: the texts of each object's own elements.

    Raises:
        UnreadableAnswer: not XML, not SOAP, or another message.
    """
    return _retrieve_answer(body, _object)


def _payload(body: bytes, expected: str) -> etree._Element | Fault:
    root = _root(body)
    if _local(root) != "Envelope":
        raise UnreadableAnswer("the answer is XML, but no SOAP envelope")
    soap_body = _child(root, "Body")
    payload = next(_elements(soap_body), None) if soap_body is not None else None
    if payload is None:
        raise UnreadableAnswer("the answer's SOAP body is empty")
    name = _local(payload)
    if name == "Fault":
        return _fault(payload)
    if name != expected:
        raise UnreadableAnswer(f"the answer is not a {expected}")
    return payload


def _root(body: bytes) -> etree._Element:
    try:
        return etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError:
        # Some gateways put a line break before the XML declaration.
        readable = made_readable(body.lstrip(_BLANK))
    if readable is not body:
        try:
            return etree.fromstring(readable, _PARSER)
        except etree.XMLSyntaxError:
            pass
    # The parser's message is dropped, because it quotes the document.
    raise UnreadableAnswer("the answer is not well-formed XML")


def _fault(element: etree._Element) -> Fault:
    """SOAP 1.1 (faultcode, faultstring, detail) or 1.2 (Code/Value, Reason/Text, Detail)."""
    code = text = ""
    api_code: int | None = None
    for part in element.iter(etree.Element):
        match _local(part):
            case "faultcode" | "Value" if not code:
                code = _fault_code(_text(part))
            case "Subcode" if (subcode := _fault_code(_text(_child(part, "Value")))) in TOKEN_FAULTS:
                code = subcode
            case "faultstring" | "Text" if not text:
                text = _text(part)
            case "apifault" if (found := _child(part, "Code")) is not None:
                api_code = _integer(_text(found))
                if (said := _child(part, "Message")) is not None and len(text) <= LONGEST_TEXT:
                    message = _text(said)
                    if message not in text:
                        text = f"{text}: {message}" if text else message
    # SOAP 1.2 calls them Receiver and Sender.
    return Fault({"Receiver": "Server", "Sender": "Client"}.get(code, code), text, api_code)


def _fault_code(text: str) -> str:
    """The local part of a code, or one of its subcodes, which SOAP 1.1 allows after dots."""
    codes = text.rpartition(":")[2].split(".")
    return next((code for code in codes if code in TOKEN_FAULTS), codes[0])


def _row_answer(element: etree._Element) -> RowAnswer:
    status = message = error_message = ""
    ordinal = error_code = None
    column_errors: list[ColumnError] = []
    for part in element:
        match _local(part):
            case "StatusCode":
                status = _text(part)
            case "StatusMessage":
                message = _text(part)
            case "OrdinalID":
                ordinal = _integer(_text(part))
            case "ErrorCode":
                error_code = _integer(_text(part))
            case "ErrorMessage":
                error_message = _text(part)
            case "KeyErrors" | "ValueErrors":
                room = COLUMN_ERRORS_MOST - len(column_errors)
                column_errors.extend(_column_error(entry) for entry in islice(_elements(part), room))
    return RowAnswer(status, message, ordinal, error_code, error_message, tuple(column_errors))


def _column_error(element: etree._Element) -> ColumnError:
    parts = {_local(part): _text(part) for part in _elements(element)}
    return ColumnError(parts.get("Name", ""), _integer(parts.get("ErrorCode", "")), parts.get("ErrorMessage", ""))


def _row(element: etree._Element) -> dict[str, str | None]:
    row: dict[str, str | None] = {}
    properties = _child(element, "Properties")
    for pair in () if properties is None else _elements(properties):
        name, value = "", None
        for part in pair:
            match _local(part):
                case "Name":
                    name = part.text or ""
                case "Value" if part.get(_NIL) not in ("true", "1"):
                    value = part.text or ""
        row[name] = value
    return row


def _object(element: etree._Element) -> dict[str, str | None]:
    return {_local(part): None if part.get(_NIL) in ("true", "1") else _text(part) for part in _elements(element)}


def _elements(element: etree._Element) -> Iterator[etree._Element]:
    return (child for child in element if isinstance(child.tag, str))


def _local(element: etree._Element) -> str:
    tag = element.tag
    return tag[tag.rfind("}") + 1 :] if isinstance(tag, str) else ""


def _child(element: etree._Element, name: str) -> etree._Element | None:
    return next((child for child in element if _local(child) == name), None)


def _text(element: etree._Element | None) -> str:
    return ("" if element is None else element.text or "")[:LONGEST_TEXT].strip()


def _integer(text: str) -> int | None:
    try:
        return int(text) if len(text) <= _DIGITS_MOST else None
    except ValueError:
        return None
