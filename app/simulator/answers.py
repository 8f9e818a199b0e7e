"""Abnormal answers: SOAP faults, broken HTTP, dropped connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from aiohttp import web
from multidict import CIMultiDict

from app.simulator.answer_fields import AnswerFields, Shape
from app.simulator.faults import MAX_TIMEOUT_MS, FaultKind, FaultRule
from app.simulator.row_errors import DEADLOCK_TEXT, DUPLICATE_KEY_TEXT
from app.simulator.soap_reader import SoapRequest
from app.simulator.soap_writer import FAULT_ACTION, SoapFault, envelope, fault_payload, overall_payload

# Codes: vendor pages "1-99 General" and "SOAP Faults". Throttling is a fault with HTTP 500, not 429.
SOAP_FAULTS = {
    FaultKind.RATE_LIMITED: SoapFault("Server", "Rate Limited", 17),
    FaultKind.SERVER_FAULT: SoapFault("Server", "Exception occurred during [Request] ErrorID: 1000000001", 2),
    FaultKind.SECURITY_FAULT: SoapFault("Security", "Token Expired"),
    FaultKind.MAINTENANCE: SoapFault("Server", "The system is in maintenance. Try again later.", 9),
    FaultKind.DEADLOCK_FAULT: SoapFault("Server", DEADLOCK_TEXT, 2),
    FaultKind.DUPLICATE_KEY_FAULT: SoapFault("Server", DUPLICATE_KEY_TEXT, 2),
}
TOKEN_EXPIRED = SOAP_FAULTS[FaultKind.SECURITY_FAULT]
LOGIN_FAILED = SoapFault("Security", "Login failed")
# Kinds after which the client got no answer at all.
DROPPING = frozenset({FaultKind.RESET, FaultKind.TIMEOUT})

_HTML_500 = (
    "<html><head><title>Runtime Error</title></head><body><h1>Server Error in '/' Application.</h1>"
    "<p>An unexpected error occurred on the server.</p></body></html>"
)
_HTML_503 = (
    "<html><head><title>Service Unavailable</title></head><body><h2>Service Unavailable</h2>"
    "<p>HTTP Error 503. The service is unavailable.</p></body></html>"
)
# How often a held connection is checked for a client that has given up.
_HOLD_LOOK_SECONDS = 0.05


def soap_response(payload: str, action: str, request: SoapRequest | None, status: int = 200) -> web.Response:
    """An answer in the SOAP version of the request; 1.1 if the request could not be read."""
    soap12 = request is not None and request.soap12
    content_type = "application/soap+xml" if soap12 else "text/xml"
    return web.Response(
        body=envelope(payload, action, request.message_id if request else None, soap12),
        status=status,
        headers={"Content-Type": f"{content_type}; charset=utf-8"},
    )


def fault_response(http: web.Request, fault: SoapFault, request: SoapRequest | None = None) -> web.Response:
    """Every SOAP fault is HTTP 500; the actor is the address of the endpoint."""
    actor = f"{http.scheme}://{http.host}{http.path}"
    payload = fault_payload(fault, actor, request is not None and request.soap12)
    return soap_response(payload, FAULT_ACTION, request, status=500)


async def transport_fault(request: web.Request, rule: FaultRule, stopping: asyncio.Event) -> web.Response | None:
    """The answer of a fault below SOAP; None if the kind is not such a fault."""
    match rule.kind:
        case FaultKind.HTTP_503:
            return web.Response(status=503, text=_HTML_503, content_type="text/html")
        case FaultKind.HTML_500:
            return web.Response(status=500, text=_HTML_500, content_type="text/html")
        case FaultKind.MALFORMED_XML:
            body = '<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/'
            return web.Response(status=200, text=body, content_type="text/xml")
        case FaultKind.RESET:
            return _drop(request)
        case FaultKind.TIMEOUT:
            await _hold(request, (rule.delay_ms or MAX_TIMEOUT_MS) / 1000, stopping)
            return _drop(request)
        case FaultKind.ANSWER if rule.shape is Shape.RAW:
            return _raw_answer(request, rule)
    return None


def odd_answer(
    http: web.Request, fields: AnswerFields, request: SoapRequest, operation: str, request_id: str
) -> web.Response:
    """The SOAP answer that a rule of the kind `answer` describes: a fault, or an OverallStatus without results."""
    if fields.shape is Shape.FAULT:
        code = fields.fault_code
        side, api_code = (code, None) if isinstance(code, str) else ("Server", code)
        fault = SoapFault(side, fields.fault_message or "", api_code)
        response = fault_response(http, fault, request)
    else:
        payload = overall_payload(operation, fields.overall_status or "", request_id)
        response = soap_response(payload, f"{operation}Response", request)
    if fields.status is not None:
        response.set_status(fields.status)
    response.headers.update(fields.headers or {})
    return response


def _raw_answer(request: web.Request, fields: AnswerFields) -> web.Response:
    content_type = "text/xml" if request.path.lower() == "/service.asmx" else "application/json"
    headers = CIMultiDict({"Content-Type": f"{content_type}; charset=utf-8"})
    headers.update(fields.headers or {})
    return web.Response(status=fields.status or 200, body=fields.body_bytes(), headers=headers)


def _drop(request: web.Request) -> web.Response:
    """Closes the connection without an answer, so that the client sees a reset."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # Linger of zero seconds makes the kernel send RST instead of FIN.
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _hold(request: web.Request, seconds: float, stopping: asyncio.Event) -> None:
    """Waits until the client has given up, the simulator stops, or the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline and not stopping.is_set():
        if request.transport is None or request.transport.is_closing():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), min(_HOLD_LOOK_SECONDS, max(0.0, deadline - loop.time())))
