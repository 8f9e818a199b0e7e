"""Hand-written requests to the simulator, byte by byte as public clients send them, without a client library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import aiohttp
from lxml import etree

from app.simulator.server import Simulator

PARTNER_API = "http://exacttarget.com/wsdl/partnerAPI"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
CREDENTIALS = {"grant_type": "client_credentials", "client_id": "simulator", "client_secret": "simulator-secret"}
UPSERT = (
    "<Options><SaveOptions><SaveOption><PropertyName>*</PropertyName><SaveAction>UpdateAdd</SaveAction>"
    "</SaveOption></SaveOptions></Options>"
)

# Body before Header, un-prefixed: what sfmc-sdk and fuel-soap send. Prefixed, Header first: suds, zeep, CXF.
NODE_ENVELOPE = (
    f'<Envelope xmlns="{SOAP_11}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Body>{{payload}}</Body>'
    '<Header><fueloauth xmlns="http://exacttarget.com">{token}</fueloauth></Header></Envelope>'
)


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of an answer."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def root(self) -> Any:
        return etree.fromstring(self.text.encode())

    def texts(self, name: str) -> list[str]:
        """Text of all elements with this local name, in document order."""
        return [element.text or "" for element in self.root.iter(f"{{*}}{name}")]

    def one(self, name: str) -> str:
        (text,) = self.texts(name)
        return text

    def elements(self, name: str) -> list[Any]:
        return list(self.root.iter(f"{{*}}{name}"))

    def rows(self) -> list[dict[str, str]]:
        """Rows of a Retrieve: name -> value."""
        return [
            {str(prop.findtext("{*}Name")): prop.findtext("{*}Value") for prop in result.iter("{*}Property")}
            for result in self.elements("Results")
        ]


class Wire:
    """A session with a simulator, logged in."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session
        self.token = ""

    async def login(self) -> str:
        document = await self.post_json("/v2/token", CREDENTIALS)
        self.token = document["access_token"]
        return self.token

    async def soap(
        self,
        payload: str,
        action: str | None = None,
        *,
        path: str = "/Service.asmx",
        envelope: str = NODE_ENVELOPE,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = {"Content-Type": "text/xml"} | ({} if action is None else {"SOAPAction": action}) | dict(headers or {})
        body = envelope.format(payload=payload, token=self.token).encode()
        async with self.session.post(self.simulator.url + path, data=body, headers=sent) as response:
            return Answer(response.status, response.headers, await response.text())

    async def create(self, *objects: str) -> Answer:
        return await self.soap(f'<CreateRequest xmlns="{PARTNER_API}">{"".join(objects)}</CreateRequest>', "Create")

    async def update(self, *objects: str, options: str = "") -> Answer:
        payload = f'<UpdateRequest xmlns="{PARTNER_API}">{options}{"".join(objects)}</UpdateRequest>'
        return await self.soap(payload, "Update")

    async def upsert(self, *objects: str) -> Answer:
        return await self.update(*objects, options=UPSERT)

    async def delete(self, *objects: str) -> Answer:
        return await self.soap(f'<DeleteRequest xmlns="{PARTNER_API}">{"".join(objects)}</DeleteRequest>', "Delete")

    async def retrieve(self, object_type: str, *properties: str, more: str = "") -> Answer:
        """`more`: elements after Properties, e.g. a Filter."""
        named = "".join(f"<Properties>{name}</Properties>" for name in properties)
        payload = (
            f'<RetrieveRequestMsg xmlns="{PARTNER_API}"><RetrieveRequest><ObjectType>{object_type}</ObjectType>'
            f"{named}{more}</RetrieveRequest></RetrieveRequestMsg>"
        )
        return await self.soap(payload, "Retrieve")

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        async with self.session.get(self.simulator.url + path, params=query) as response:
            return response.status, await response.json()

    async def post_json(self, path: str, document: object) -> Any:
        async with self.session.post(self.simulator.url + path, json=document) as response:
            return await response.json()

    async def fault(self, kind: str, **fields: Any) -> str:
        """Adds a fault; returns its ID."""
        return (await self.post_json("/_sim/faults", {"kind": kind, **fields}))["id"]

    async def rows(self, data_extension: str, **columns: str) -> list[dict[str, Any]]:
        _, document = await self.get(f"/_sim/rows/{data_extension}", **columns)
        return document["rows"]

    async def calls(self, **query: str) -> list[dict[str, Any]]:
        _, document = await self.get("/_sim/calls", **query)
        return document["calls"]


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Wire]:
    """A simulator with these options on a free port, and a client that logs in unless the options change the login."""
    async with Simulator(**options) as simulator, aiohttp.ClientSession() as session:
        wire = Wire(simulator, session)
        if not {"client_id", "client_secret"} & options.keys():
            await wire.login()
        yield wire


def row(data_extension: str, keys: Mapping[str, str] | None = None, **properties: str | None) -> str:
    """An Objects element; a value of None is a null."""
    parts = [f"<CustomerKey>{data_extension}</CustomerKey>"]
    if properties:
        parts.append(f"<Properties>{''.join(_pair('Property', *pair) for pair in properties.items())}</Properties>")
    if keys:
        parts.append(f"<Keys>{''.join(_pair('Key', *pair) for pair in keys.items())}</Keys>")
    return f'<Objects xsi:type="DataExtensionObject">{"".join(parts)}</Objects>'


def where(column: str, operator: str, *values: str, element: str = "Filter") -> str:
    """A simple filter."""
    written = "".join(f"<Value>{escape(value)}</Value>" for value in values)
    return (
        f'<{element} xsi:type="SimpleFilterPart"><Property>{column}</Property>'
        f"<SimpleOperator>{operator}</SimpleOperator>{written}</{element}>"
    )


def _pair(element: str, name: str, value: str | None) -> str:
    if value is None:
        return f'<{element} xsi:type="NullAPIProperty"><Name>{name}</Name></{element}>'
    return f"<{element}><Name>{name}</Name><Value>{escape(value)}</Value></{element}>"
