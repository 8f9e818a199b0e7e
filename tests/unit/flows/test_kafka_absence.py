"""That Kafka is away is a line a minute, and that it is back is one more; the library is quiet meanwhile."""

from __future__ import annotations

import io
import logging

from structlog.testing import capture_logs

from app.flows.kafka_absence import KafkaAbsence
from app.observe.logging import configure_logging
from app.settings import GeneralSettings

SERVERS = "kafka-1.example.com:9093"


class Clock:
    now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_running_worker_says_every_minute_that_kafka_is_away_and_once_that_it_is_back() -> None:
    clock = Clock()
    absence = KafkaAbsence(SERVERS, clock)
    with capture_logs() as logged:
        for second in range(90):
            absence.look("cannot be reached", second)
            clock.now += 1
        for _ in range(10):
            absence.look(None, 90)  # heartbeats come later: the group is joined first
    away, again, back = logged
    assert away["event"].startswith("Kafka is away")
    assert (away["log_level"], away["reason"]) == ("warning", "cannot be reached")
    assert away["since"] == "2026-11-18T11:06:40Z", "when the last heartbeat was answered"
    assert SERVERS in away["do"]
    assert (again["event"], again["away_seconds"]) == (away["event"], 65)
    assert (back["event"], back["away_seconds"]) == ("Kafka is back", 90)


def test_a_rebalance_or_a_topic_that_cannot_be_read_is_no_absence() -> None:
    absence = KafkaAbsence(SERVERS)
    with capture_logs() as logged:
        absence.look(None, 60)
        absence.look("topic x does not exist", 1)
    assert logged == []


def test_at_the_start_it_is_said_once_and_again_when_the_cause_is_another() -> None:
    clock = Clock()
    absence = KafkaAbsence(SERVERS, clock)
    with capture_logs() as logged:
        for _ in range(5):
            absence.away("cannot be reached")
            clock.now += 2
        for _ in range(5):
            absence.away("wrong password", refused=True)
            clock.now += 2
        absence.back()
        absence.back()
    assert [line["event"].split(",")[0] for line in logged] == ["Kafka is away", "Kafka refuses us", "Kafka is back"]
    assert logged[-1]["away_seconds"] == 20


def test_the_librarys_lines_about_connections_are_held_down_while_kafka_is_known_to_be_away() -> None:
    written = io.StringIO()
    configure_logging(GeneralSettings(log_format="json"), written)
    library, absence = logging.getLogger("aiokafka.conn"), KafkaAbsence(SERVERS)
    library.warning("before")
    absence.away("cannot be reached")
    library.warning("Connect attempt to node 1 failed")
    library.error("Unable connect to node with id %s: %s", 1, "refused")
    library.error("something else is wrong")
    logging.getLogger("faust").warning("not about a connection")
    absence.back()
    library.warning("after")
    text = written.getvalue()
    assert "Connect attempt" not in text
    assert "Unable connect" not in text
    for kept in ("before", "something else is wrong", "not about a connection", "after"):
        assert kept in text
