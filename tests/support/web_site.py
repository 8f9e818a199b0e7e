"""A web server on a real broker for tests, with sample data and a client."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import orjson
from confluent_kafka.admin import AdminClient, NewTopic

from app.delivery.consumer_record import consumer_key
from app.delivery.counts import FailureCount
from app.delivery.outcome import Outcome, RecordCount
from app.delivery.parked_events import ParkedEvent
from app.delivery.record_format import partition_key
from app.flows.catalog import load_catalog
from app.flows.web_operations import WebOperations
from app.observe.health import Readiness, Reason
from app.observe.metrics import Metrics
from app.profile.entities import EntityType
from app.readmodels import ReadModels
from app.readmodels.followed import Followed, topic_of
from app.settings import KafkaSettings, WebSettings
from app.settings.pipelines import pipeline_of
from app.web import WebServer, WebState
from tests.support.kafka_probe import KafkaProbe
from tests.support.records import consumer_state, partition_state, settlement

JSON = {"Content-Type": "application/json"}
SECRET = "a secret of thirty-two bytes or more"


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A valid token, except for the given claims (None: left out)."""
    payload = {"aud": "profile-sync", "scope": "kpi:read", "exp": int(time.time()) + 600} | claims
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, secret, algorithm=algorithm)


@contextmanager
def own_state_topics(bootstrap_servers: str) -> Iterator[KafkaSettings]:
    """The topics of a new group that the read models follow, and those of its events, for a ``with`` block."""
    name = uuid.uuid4().hex[:10]
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers, topic=f"p-{name}", group=f"g-{name}", partitions=4)
    pipeline = pipeline_of(settings)
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    followed = [topic_of(pipeline, one) for one in Followed]
    names = [*followed, pipeline.topic, pipeline.dlq_topic]
    sizes, compact = {pipeline.tasks_topic: 1}, {"cleanup.policy": "compact"}
    new = [
        NewTopic(one, sizes.get(one, settings.partitions), 1, config=compact if one in followed else {})
        for one in names
    ]
    for answer in admin.create_topics(new).values():
        answer.result(30)
    try:
        yield settings
    finally:
        for answer in admin.delete_topics(names).values():
            answer.result(30)


@dataclass
class Site:
    """A running server, its parts, and a client that neither keeps cookies nor follows redirects."""

    url: str
    client: aiohttp.ClientSession
    models: ReadModels
    metrics: Metrics
    missing: list[Reason] = field(default_factory=list)

    async def post(self, path: str, document: Any = None, bearer: str | None = None, **options: Any) -> Answer:
        body = {} if document is None else {"data": orjson.dumps(document), "headers": JSON}
        return await self.get(path, bearer, "POST", **(body | options))

    async def get(self, path: str, bearer: str | None = None, method: str = "GET", **options: Any) -> Answer:
        headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        async with self.client.request(
            method, self.url + path, headers=headers, allow_redirects=False, **options
        ) as response:
            return Answer(response.status, response.headers, response.content_type, await response.read())


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@asynccontextmanager
async def running_site(
    kafka: KafkaSettings, folder: Path, *, caught_up: bool = True, **settings: Any
) -> AsyncIterator[Site]:
    """A site on its own port for the length of a ``with`` block, with the given WEB_ settings."""
    models, metrics, missing = ReadModels(kafka, pipeline_of(kafka), folder), Metrics(), list[Reason]()
    models.start()
    given = {"port": 0, "jwt_secret": SECRET} | settings
    operations = WebOperations(kafka, pipeline_of(kafka), models, load_catalog(None))
    state = WebState(models, metrics, lambda: Readiness.of(*missing), operations=operations)
    server = WebServer(state, WebSettings.model_validate(given))
    try:
        await server.start()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
            if caught_up:
                deadline = time.monotonic() + 30
                while not models.caught_up():
                    assert time.monotonic() < deadline, models.trouble()
                    await asyncio.sleep(0.02)
            yield Site(server.url, client, models, metrics, missing)
    finally:
        await server.stop()
        models.stop()


def tell_a_story(kafka: KafkaProbe, settings: KafkaSettings) -> None:
    """Write the state of two partitions with four events, one of them parked, and two consumers."""
    pipeline = pipeline_of(settings)
    pet = (RecordCount(EntityType.CONSUMER, 1, 0), RecordCount(EntityType.PET, 1, 1))
    states = {
        0: partition_state(
            settlement("e-1"),
            settlement("e-2", day="2026-11-20", market="FR", outcome=Outcome.SUPERSEDED, records=()),
            parked={
                5: ParkedEvent("C-2", "e-5", 2, 1_795_000_001_000, 1_795_000_000_000, 1_795_000_000_500, "CMT-TIMEOUT")
            },
        ),
        3: partition_state(
            settlement(
                "e-3",
                outcome=Outcome.PARTIAL,
                operation="UPDATE",
                records=pet,
                failures=(FailureCount("pet", "CMT-ROW-INVALID"),),
            ),
            settlement(
                "e-4",
                outcome=Outcome.INVALID,
                market="-",
                records=(),
                failures=(FailureCount("event", "EVENT-NOT-JSON"),),
            ),
        ),
    }
    for partition, state in states.items():
        kafka.produce(pipeline.state_topic, [(partition_key(partition, 1), state.encode())], partition=partition)
    known = consumer_state(3, 1_795_000_000_000, event_id="e-3", market="DE").encode()
    kafka.produce(pipeline.consumers_topic, [(consumer_key(3, 1, "C-1"), known)], partition=3)
