"""`profile-sync kpi` and `consumer` as processes: their settings, output and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.broker import sources
from app.delivery.consumer_record import consumer_key
from app.delivery.counts import FailureCount
from app.delivery.dead_letter_record import LetterStatus
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.outcome import Outcome
from app.profile.consumer_history import after_settling
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import KafkaProbe
from tests.support.records import settlement
from tests.support.web_site import own_state_topics, tell_a_story
from tests.unit.readmodels.test_letter_index import letter

NONE = {"synced": 0, "partial": 0, "failed": 0, "invalid": 0, "superseded": 0, "discarded": 0}
# The expected counts of records and failures.
ENTITIES = {"consumer": (2, 0), "pet": (1, 1)}
LONG_ID = "consumer-of-a-crm-" + "0123456789" * 7
REASONS = {"CMT-ROW-INVALID": 1, "EVENT-NOT-JSON": 1}

Run = Callable[..., subprocess.CompletedProcess[str]]


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command with nothing in its environment but what is given."""
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=own | {"COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _fail_in_part(kafka: KafkaProbe, settings: KafkaSettings) -> None:
    """Three consumers whose last event was partial; one has a long ID. Two dead letters, and one event to be read."""
    failed: dict[str, Any] = {"outcome": Outcome.PARTIAL, "reason": "CMT-ROW-INVALID", "operation": "UPDATE"}
    records = [
        (
            consumer_key(1, 1, consumer),
            after_settling(
                None,
                offset,
                settlement(f"e-{consumer}", **failed, failures=(FailureCount("pet", "CMT-ROW-INVALID"),)),
                1_795_000_000_000 + offset,
            ).encode(),
        )
        for offset, consumer in enumerate(("P-1", "P-2", LONG_ID))
    ]
    pipeline = pipeline_of(settings)
    kafka.produce(pipeline.consumers_topic, records, partition=1)
    letters = [
        (letter_key(LetterId(1, 7), 1), letter(consumer="P-1", event="e-dead")),
        (letter_key(LetterId(1, 8), 1), letter(LetterStatus.DISCARDED, consumer="only-dead", event="e-gone")),
    ]
    kafka.produce(pipeline.letters_topic, [(key, one.encode()) for key, one in letters], partition=1)
    kafka.produce(pipeline.topic, [(b"C-1", b"an event")], partition=3)


@pytest.fixture(scope="module")
def told(broker: sources.Broker, kafka: KafkaProbe) -> Iterator[KafkaSettings]:
    with own_state_topics(broker.bootstrap_servers) as settings:
        tell_a_story(kafka, settings)
        _fail_in_part(kafka, settings)
        yield settings


@pytest.fixture(scope="module")
def run(told: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command with ``KAFKA_*`` and a folder, and nothing else."""
    pipeline = pipeline_of(told)
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": told.bootstrap_servers,
        "KAFKA_TOPIC": pipeline.topic,
        "KAFKA_GROUP": pipeline.group,
        "DATA_DIR": str(tmp_path_factory.mktemp("data")),
    }
    return lambda *arguments: _run(*arguments, **environment)


def test_kpi_prints_the_rows_of_the_api_as_one_document(run: Run) -> None:
    done = run("kpi", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "complete": True,
        "rows": [
            {"day": "2026-11-20", "market": "FR", **NONE, "superseded": 1},
            {"day": "2026-11-21", "market": "-", **NONE, "invalid": 1},
            {"day": "2026-11-21", "market": "DE", **NONE, "synced": 1, "partial": 1},
        ],
        "totals": {**NONE, "synced": 1, "partial": 1, "invalid": 1, "superseded": 1, "events": 4, "parked": 1},
    }


def test_kpi_sums_up_by_what_is_asked_for(run: Run) -> None:
    done = run("kpi", "--by", "outcome", "--from", "2026-11-21", "--json")
    assert json.loads(done.stdout)["rows"] == [
        {"outcome": "synced", "events": 1},
        {"outcome": "partial", "events": 1},
        {"outcome": "invalid", "events": 1},
    ]


def test_kpi_counts_records_by_entity_and_failures_by_reason(run: Run) -> None:
    entities = json.loads(run("kpi", "--by", "entity", "--json").stdout)["rows"]
    assert {row["entity"]: (row["synced"], row["failed"]) for row in entities} == ENTITIES
    reasons = json.loads(run("kpi", "--by", "reason", "--json").stdout)["rows"]
    assert {row["reason"]: row["count"] for row in reasons} == REASONS
    shown = run("kpi", "--by", "day,reason").stdout
    assert all(reason in shown for reason in REASONS)


def test_kpi_shows_a_table_and_the_totals_to_people(run: Run) -> None:
    done = run("kpi", "--to", "2026-11-20")
    assert done.returncode == 0, done.stderr
    assert "FR" in done.stdout
    assert "DE" not in done.stdout
    assert "events 4" in done.stdout
    assert "parked 1" in done.stdout


def test_consumer_prints_the_document_of_the_api(run: Run) -> None:
    done = run("consumer", "C-2", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["consumerId"], document["lastOutcome"]) == ("C-2", None)
    assert [event["id"] for event in document["parked"]] == ["0-5"]


def test_consumer_shows_history_and_parking_to_people(run: Run) -> None:
    settled, parked = run("consumer", "C-1"), run("consumer", "C-2")
    assert "e-3" in settled.stdout
    assert "2026-11-18T11:06:40.000Z" in settled.stdout
    assert "0-5" in parked.stdout
    assert "CMT-TIMEOUT" in parked.stdout


def test_a_consumer_never_seen_ends_with_1_and_says_so(run: Run) -> None:
    done = run("consumer", "nobody")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr


def test_consumers_whose_last_event_was_partial_are_listed_with_what_failed(run: Run) -> None:
    done = run("consumer", "--outcome", "partial", "--since", "2026-11-18", "--limit", "2")
    assert done.returncode == 0, done.stderr
    # An ID that is longer than a line is broken; everything else stays on one.
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert done.stdout.startswith("2 or more consumers ended as partial since 2026-11-18 00:00:00Z:\n")
    assert "  profile-sync verify --repair --outcome partial\n" in done.stdout
    assert "P-2  2026-11-18 11:06:40Z  DE  UPDATE  pet  CMT-ROW-INVALID" in done.stdout
    assert LONG_ID in "".join(done.stdout.split())
    cursor = done.stderr.rpartition("--cursor ")[2].strip()
    rest = json.loads(
        run("consumer", "--outcome", "partial", "--since", "2026-11-18", "--cursor", cursor, "--json").stdout
    )
    assert rest["next"] is None
    assert rest["items"] == [
        {
            "consumerId": "P-1",
            "market": "DE",
            "lastEventId": "e-P-1",
            "lastOperation": "UPDATE",
            "lastOutcome": "partial",
            "lastReason": "CMT-ROW-INVALID",
            "lastEntity": "pet",
            "lastSettledAt": "2026-11-18T11:06:40.000Z",
        }
    ]
    shown = run("consumer", "P-1").stdout
    assert "last event e-P-1  partial pet CMT-ROW-INVALID" in shown


def test_consumer_shows_the_dead_letters(run: Run) -> None:
    shown = run("consumer", "P-1").stdout
    assert "1-7  open  NEW  pet  CMT-TIMEOUT  failed 1970-01-01 00:00:00Z  event e-dead" in shown
    assert "Dead letters" not in run("consumer", "P-2").stdout
    [one] = json.loads(run("consumer", "only-dead", "--json").stdout)["deadLetters"]
    assert (one["id"], one["status"], one["eventId"]) == ("1-8", "discarded", "e-gone")


@pytest.mark.parametrize(
    ("event", "consumer"),
    [
        pytest.param("0-5", "C-2", id="position of a parked event"),
        pytest.param("e-5", "C-2", id="parked event"),
        pytest.param("3-0", "C-1", id="position in the main topic"),
        pytest.param("e-3", "C-1", id="recent event"),
        pytest.param("1-8", "only-dead", id="dead letter"),
        pytest.param("e-dead", "P-1", id="event of a dead letter"),
    ],
)
def test_consumer_and_dlq_show_take_what_logs_and_tickets_show(run: Run, event: str, consumer: str) -> None:
    done = run("consumer", "--event", event, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["consumerId"] == consumer
    letter_of = {"1-8": "1-8", "e-dead": "1-7"}.get(event)
    shown = run("dlq", "show", event, "--json")
    assert (json.loads(shown.stdout)["id"] if shown.returncode == 0 else None) == letter_of


@pytest.mark.parametrize("event", ["3-99", "99-0", "never", "dlq-3-0"])
def test_an_event_that_is_not_known_ends_with_1_and_says_when_it_would_be(run: Run, event: str) -> None:
    done = run("consumer", "--event", event)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"The consumer of event {event} is not known" in done.stderr


def test_no_consumer_with_an_outcome_is_said_in_words(run: Run) -> None:
    done = run("consumer", "--outcome", "partial", "--since", "2026-11-19")
    assert (done.returncode, done.stdout) == (
        0,
        "No consumer's last event ended as partial since 2026-11-19 00:00:00Z.\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "exactly one of a consumer ID, --event and --outcome"),
        (("C-1", "--outcome", "partial"), "exactly one of a consumer ID, --event and --outcome"),
        (("C-1", "--event", "5-26"), "exactly one of a consumer ID, --event and --outcome"),
        (("C-1", "--since", "24h"), "go with --outcome"),
        (("--outcome", "partial", "--since", "soon"), "--since takes"),
        (("--outcome", "broken"), "broken"),
    ],
)
def test_wrong_use_of_consumer_is_said_before_anything_is_read(arguments: Sequence[str], said: str) -> None:
    done = _run("consumer", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_broker_that_is_away_is_named_in_good_time(tmp_path: Path) -> None:
    began = time.monotonic()
    done = _run("kpi", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 60


def test_a_command_keeps_what_it_has_read_for_this_user_only(told: KafkaSettings, tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {"KAFKA_BOOTSTRAP_SERVERS": told.bootstrap_servers, "KAFKA_GROUP": pipeline_of(told).group}
    for _ in range(2):
        done = _run("kpi", DATA_DIR=str(data), **environment)
        assert (done.returncode, done.stderr) == (0, "")
    kept = data / "commands" / pipeline_of(told).group
    assert sorted(path.name for path in kept.iterdir()) == ["readmodel-0.lock", "readmodel-0.sqlite"]
    assert {oct(path.stat().st_mode & 0o777) for path in kept.iterdir()} == {"0o600"}
    assert {oct(path.stat().st_mode & 0o777) for path in (data, kept.parent, kept)} == {"0o700"}


def test_a_folder_that_cannot_be_written_costs_a_warning_only(told: KafkaSettings, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    environment = {"KAFKA_BOOTSTRAP_SERVERS": told.bootstrap_servers, "KAFKA_GROUP": pipeline_of(told).group}
    done = _run("kpi", "--json", DATA_DIR=str(tmp_path / "data"), **environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["totals"]["events"] == 4
    assert done.stderr.startswith("Nothing is kept for the next command: DATA_DIR ")
