"""A real broker for every test that asks for one, started once per session, and topics of its own for each test."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
import structlog
from confluent_kafka.admin import AdminClient
from hypothesis import settings

from app.broker import sources
from app.kafka import topics
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.brokers import needed
from tests.support.examples import examples
from tests.support.kafka_probe import DEADLINE_SECONDS, Eventually, KafkaProbe, MakeKafkaSettings

# How long an example takes says more about the machine than about the program.
settings.register_profile("any machine", deadline=None, max_examples=examples(100))
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def logging_stays_as_it_is() -> Iterator[None]:
    """A command that is run inside a test sets up logging for the whole process; the next test finds it as before."""
    root, structured = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**structured)


@pytest.fixture(scope="session")
def broker() -> Iterator[sources.Broker]:
    """One real Kafka for the whole session. Tests that stop or kill a broker start their own (``own_broker``)."""
    with needed(sources.broker()) as started:
        yield started


@pytest.fixture(scope="session")
def kafka(broker: sources.Broker) -> Iterator[KafkaProbe]:
    """Reads and writes topics of the session's broker."""
    probe = KafkaProbe(broker.bootstrap_servers)
    yield probe
    probe.close()


@pytest.fixture
def make_kafka_settings(broker: sources.Broker) -> Iterator[MakeKafkaSettings]:
    """Settings with topic and group names of their own, 4 partitions; their topics exist, and go after the test."""
    made: list[KafkaSettings] = []

    def make(*, create: bool = True, **values: object) -> KafkaSettings:
        name = uuid.uuid4().hex[:10]
        given = {
            "bootstrap_servers": broker.bootstrap_servers,
            "security_protocol": "PLAINTEXT",
            "topic": f"profiles-{name}",
            "group": f"sync-{name}",
            "partitions": 4,
            "replication": 1,
            "session_timeout_seconds": 6.0,
        }
        settings = KafkaSettings.model_validate(given | values)
        made.append(settings)
        if create:
            report = topics.create(settings, pipeline_of(settings))
            assert not report.problems, report.problems
        return settings

    yield make
    _delete_topics(made)


@pytest.fixture
def kafka_settings(make_kafka_settings: MakeKafkaSettings) -> KafkaSettings:
    """As ``make_kafka_settings()``."""
    return make_kafka_settings()


@pytest.fixture
def eventually() -> Eventually:
    """``eventually(lambda: condition, "what is awaited")``: waits for a condition, with a deadline (seconds)."""

    def wait(condition: Callable[[], object], what: str, *, within: float = DEADLINE_SECONDS) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
            time.sleep(0.02)

    return wait


def _delete_topics(made: list[KafkaSettings]) -> None:
    if not made:
        return
    admin = AdminClient({"bootstrap.servers": made[0].bootstrap_servers})
    prefixes = tuple(name for settings in made for name in (pipeline_of(settings).topic, pipeline_of(settings).group))
    # Also what Faust made for the group.
    gone = [name for name in admin.list_topics(timeout=DEADLINE_SECONDS).topics if name.startswith(prefixes)]
    if gone:
        for answer in admin.delete_topics(gone, operation_timeout=DEADLINE_SECONDS).values():
            answer.result(DEADLINE_SECONDS)
