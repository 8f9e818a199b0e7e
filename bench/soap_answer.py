"""Marketing Cloud's answer to an upsert of one row, for a stub to repeat."""

from __future__ import annotations

import asyncio

import aiohttp

from app.bundled import schema_path
from app.cmt.client import CmtClient
from app.cmt.wire import Wire
from app.profile.catalog_file import parse_catalog
from app.profile.entities import EntityType, Row
from app.settings import CmtSettings

HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '"Update"'}
SAMPLE: Row = {"ConsumerId": "c-1", "EmailAddress": "ann@example.org", "FirstName": "Ann", "LastName": "Example"}


def recorded_answer(simulator_url: str) -> bytes:
    """The simulator's answer.

    Raises:
        RuntimeError: the answer is an error.
    """
    return asyncio.run(_recorded(simulator_url))


async def _recorded(url: str) -> bytes:
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    settings = CmtSettings(auth_url=url, client_id="simulator", client_secret="simulator-secret")
    async with CmtClient(settings, catalog) as client, aiohttp.ClientSession() as session:
        token = await client.token()
        body = Wire(catalog).upsert([(EntityType.CONSUMER, SAMPLE)]).with_token(token.value)
        async with session.post(token.soap_url, data=body, headers=HEADERS) as answer:
            content = await answer.read()
    if b"OverallStatus>OK<" not in content:
        raise RuntimeError("the simulator refused the row")
    return content
