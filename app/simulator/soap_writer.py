"""Writes SOAP answers as text, in the form of the real endpoint: prefix `soap:`, payload without prefix in the default
namespace, wsa headers and a security timestamp, xsi:type where generated clients need it.

Public Node clients look the payload up under the literal key `soap:Envelope`; Python and Java clients need the
xsi:type on Results of a Retrieve and on Object of a write. Elements are in the order of the WSDL.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from app.simulator.filters import Row
from app.simulator.row_errors import RowColumnError, RowError
from app.simulator.soap_reader import SOAP_12, WriteObject

_SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
_WSA = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_PARTNER_API = "http://exacttarget.com/wsdl/partnerAPI"
_FAULT_DETAIL = "urn:fault.partner.exacttarget.com"
FAULT_ACTION = f"{_WSA}/fault"
_TIMESTAMP_LIFE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class SoapFault:
    """A SOAP fault. `side` is Client, Server or Security; `code` is the apifault code, given for Server faults."""

    side: str
    text: str
    code: int | None = None


# Identifiers differ in their first part only; the rest is drawn once. Drawing each one would cost more than reading a
# request.
_ID_NUMBERS = itertools.count(uuid.uuid4().fields[0])
_ID_REST = str(uuid.uuid4())[8:]


def new_id() -> str:
    """An identifier in the form of a UUID; it repeats after four billion."""
    return f"{next(_ID_NUMBERS) & 0xFFFFFFFF:08x}{_ID_REST}"


def escape(text: str) -> str:
    r"""XML text. A carriage return becomes a reference; otherwise the reader would get a line feed.

    >>> escape("Ann & <Bob>\r")
    'Ann &amp; &lt;Bob&gt;&#13;'
    """
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    if "\r" in text:
        text = text.replace("\r", "&#13;")
    return text


def element(name: str, text: str | None) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text else f"<{name} />"


def envelope(payload: str, action: str, relates_to: str | None, soap12: bool) -> bytes:
    """The whole answer, in the SOAP version of the request."""
    created, expires = _timestamps(int(time.time()))
    return (
        f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{SOAP_12 if soap12 else _SOAP_11}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
        f'xmlns:wsa="{_WSA}" xmlns:wsse="{_WSSE}" xmlns:wsu="{_WSU}">'
        f"<soap:Header><wsa:Action>{action}</wsa:Action><wsa:MessageID>urn:uuid:{new_id()}</wsa:MessageID>"
        f"<wsa:RelatesTo>{escape(relates_to) if relates_to else f'urn:uuid:{new_id()}'}</wsa:RelatesTo>"
        f"<wsa:To>{_WSA}/role/anonymous</wsa:To>"
        f'<wsse:Security><wsu:Timestamp wsu:Id="Timestamp-{new_id()}">'
        f"<wsu:Created>{created}</wsu:Created><wsu:Expires>{expires}</wsu:Expires></wsu:Timestamp></wsse:Security>"
        f"</soap:Header><soap:Body>{payload}</soap:Body></soap:Envelope>"
    ).encode()


def write_payload(operation: str, results: Sequence[tuple[WriteObject, RowError | None]]) -> str:
    """CreateResponse, UpdateResponse or DeleteResponse: one Results per object, in the order of the request."""
    errors = [error for _, error in results if error is not None]
    failed = sum(error.status != "OK" for error in errors)
    overall = "OK" if not failed else "Error" if failed == len(results) else "Has Errors"
    overall = next((error.overall for error in errors if error.overall is not None), overall)
    rows = "".join(_write_result(operation, ordinal, *result) for ordinal, result in enumerate(results))
    return (
        f'<{operation}Response xmlns="{_PARTNER_API}">{rows}<RequestID>{new_id()}</RequestID>'
        f"<OverallStatus>{overall}</OverallStatus></{operation}Response>"
    )


def overall_payload(operation: str, overall_status: str, request_id: str) -> str:
    """An answer with nothing but an OverallStatus."""
    if operation == "Retrieve":
        return retrieve_payload(overall_status, request_id)
    name = "DefinitionResponseMsg" if operation == "Describe" else f"{operation}Response"
    return (
        f'<{name} xmlns="{_PARTNER_API}"><RequestID>{request_id}</RequestID>'
        f"{element('OverallStatus', overall_status)}</{name}>"
    )


def retrieve_payload(overall_status: str, request_id: str, results: Iterable[str] = ()) -> str:
    """RetrieveResponseMsg: here OverallStatus comes first. `results` are Results elements."""
    return (
        f'<RetrieveResponseMsg xmlns="{_PARTNER_API}">{element("OverallStatus", overall_status)}'
        f"<RequestID>{request_id}</RequestID>{''.join(results)}</RetrieveResponseMsg>"
    )


def row_result(row: Row, columns: Sequence[str]) -> str:
    """The Results element of a data-extension row. A column without a value becomes an empty Value."""
    return (
        '<Results xsi:type="DataExtensionObject"><PartnerKey xsi:nil="true" /><ObjectID xsi:nil="true" />'
        f"<Type>DataExtensionObject</Type>{_properties({column: row.get(column) for column in columns})}</Results>"
    )


def describe_payload(definitions: Iterable[str]) -> str:
    """DefinitionResponseMsg. `definitions` are ObjectDefinition elements."""
    return (
        f'<DefinitionResponseMsg xmlns="{_PARTNER_API}">{"".join(definitions)}<RequestID>{new_id()}</RequestID>'
        "</DefinitionResponseMsg>"
    )


def fault_payload(fault: SoapFault, actor: str, soap12: bool) -> str:
    detail = ""
    if fault.code is not None:
        detail = (
            f'<apifault xmlns="{_FAULT_DETAIL}"><Code>{fault.code}</Code>{element("Message", fault.text)}</apifault>'
        )
    if soap12:
        code = f"<soap:Value>soap:{'Receiver' if fault.side == 'Server' else 'Sender'}</soap:Value>"
        if fault.side == "Security":
            code += f'<soap:Subcode><soap:Value xmlns:q0="{_WSSE}">q0:Security</soap:Value></soap:Subcode>'
        return (
            f"<soap:Fault><soap:Code>{code}</soap:Code>"
            f'<soap:Reason><soap:Text xml:lang="en">{escape(fault.text)}</soap:Text></soap:Reason>'
            f"{f'<soap:Detail>{detail}</soap:Detail>' if detail else ''}</soap:Fault>"
        )
    if fault.side == "Security":
        code = f'<faultcode xmlns:q0="{_WSSE}">q0:Security</faultcode>'
    else:
        code = f"<faultcode>soap:{fault.side}</faultcode>"
    return (
        f"<soap:Fault>{code}{element('faultstring', fault.text)}{element('faultactor', actor)}"
        f"{f'<detail>{detail}</detail>' if detail else ''}</soap:Fault>"
    )


def _write_result(operation: str, ordinal: int, sent: WriteObject, error: RowError | None) -> str:
    # A Delete that went well is a plain Result without Object; the others name their type, so that clients
    # generated from the WSDL can read KeyErrors and ValueErrors.
    is_row = sent.object_type == "DataExtensionObject"
    typed = is_row and (operation != "Delete" or error is not None)
    start = f'<Results xsi:type="DataExtension{operation}Result">' if typed else "<Results>"
    if error is None:
        past = {"Create": "Created", "Update": "Updated", "Delete": "Deleted"}[operation]
        status = f"<StatusCode>OK</StatusCode><StatusMessage>{past} DataExtensionObject</StatusMessage>"
        code = ""
    else:
        status = f"<StatusCode>{error.status}</StatusCode>{element('StatusMessage', error.message)}"
        code = "" if error.code is None else f"<ErrorCode>{error.code}</ErrorCode>"
    new_id = "<NewID>0</NewID>" if operation == "Create" else ""
    echo = _echo(sent) if is_row and (operation != "Delete" or error is not None) else ""
    return (
        f"{start}{status}<OrdinalID>{ordinal}</OrdinalID>{code}{new_id}{echo}"
        f"{_details(operation, error) if typed and error is not None else ''}</Results>"
    )


def _echo(sent: WriteObject) -> str:
    keys = ""
    if sent.keys:
        pairs = "".join(f"<Key>{element('Name', name)}{element('Value', sent.keys[name])}</Key>" for name in sent.keys)
        keys = f"<Keys>{pairs}</Keys>"
    return (
        '<Object xsi:type="DataExtensionObject"><PartnerKey xsi:nil="true" /><ObjectID xsi:nil="true" />'
        f"{element('CustomerKey', sent.customer_key)}{_properties(sent.properties)}{keys}</Object>"
    )


def _properties(values: Row) -> str:
    if not values:
        return ""
    pairs = "".join(
        f"<Property>{element('Name', name)}{element('Value', value)}</Property>" for name, value in values.items()
    )
    return f"<Properties>{pairs}</Properties>"


def _details(operation: str, error: RowError) -> str:
    parts = [element("ErrorMessage", error.message)]
    if error.key_errors:
        parts.append(f"<KeyErrors>{_column_errors('KeyError', error.key_errors)}</KeyErrors>")
    if error.value_errors and operation != "Delete":
        parts.append(f"<ValueErrors>{_column_errors('ValueError', error.value_errors)}</ValueErrors>")
    return "".join(parts)


def _column_errors(name: str, errors: Sequence[RowColumnError]) -> str:
    return "".join(
        f"<{name}>{element('Name', error.column)}<ErrorCode>{error.code}</ErrorCode>"
        f"{element('ErrorMessage', error.message)}</{name}>"
        for error in errors
    )


@lru_cache(maxsize=4)
def _timestamps(second: int) -> tuple[str, str]:
    """Created and Expires of the security header, for a UNIX time in seconds."""
    return tuple(  # type: ignore[return-value]
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
        for moment in (second, second + _TIMESTAMP_LIFE_SECONDS)
    )
