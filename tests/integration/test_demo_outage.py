"""``profile-sync demo --scenario outage``: no flood of dead letters, one incident, and work that resumes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.demo_process import Demo, demos
from tests.support.kafka_probe import Eventually

# Of the outage and of the time before and after it, of a start, and of a backlog on a busy machine.
WITHIN_SECONDS = 170.0


@pytest.fixture
def start(tmp_path: Path, eventually: Eventually) -> Iterator[Any]:
    """``start("--events", "20")``: a demo, killed after the test if it still runs."""
    with demos(tmp_path, eventually) as run:
        yield run


def scenes(demo: Demo) -> list[tuple[float, str]]:
    """The reports with a time."""
    return [(float(at), text) for at, text in re.findall(r"^ *(\d+\.\d) s  (.+)$", demo.said(), re.MULTILINE)]


def commands(demo: Demo) -> str:
    """The lines that it suggests for another terminal: the environment and three commands."""
    shown = demo.said().partition("another terminal:\n")[2].partition("\n\n")[0]
    assert len(shown.splitlines()) == 4
    return shown


def test_two_workers_an_outage_one_incident_no_dead_letters_and_everything_adds_up(start: Any) -> None:
    demo = start("--scenario", "outage", "--outage-seconds", "6", "--events", "150", "--workers", "2", "--exit")

    assert demo.ended(WITHIN_SECONDS) == 0, demo.said()

    told = scenes(demo)
    times, texts = [at for at, _ in told], "\n".join(text for _, text in told)
    assert times == sorted(times)
    for before, after in (
        (
            "Marketing Cloud goes down for 6 s",
            r"worker \d: circuit breaker opens, consumption pauses; [\d,]+ events wait",
        ),
        (r"circuit breaker opens", r"ServiceNow: INC\d+ is open; [\d,]+ events wait, 0 dead letters"),
        (r"INC\d+ is open", r"Marketing Cloud is back; [\d,]+ events wait"),
        ("is back", r"worker \d: its probe got an answer, circuit breaker closes"),
        ("circuit breaker closes", r"Work resumes: [\d,]+ events wait, 0 dead letters"),
        ("Work resumes", r"ServiceNow: INC\d+ has its resolve note"),
        ("has its resolve note", r"The backlog is worked off, [\d.]+ s after the return"),
    ):
        assert re.search(f"{before}.*{after}", texts, re.DOTALL), demo.said()
    assert len(re.findall("circuit breaker opens", texts)) == len(re.findall("circuit breaker closes", texts))

    assert re.search(r"\d+ rows of \d+ consumers compared\.", demo.said())
    assert "0 dead letters because of the outage, 1 incident." in demo.said()
    assert "Everything adds up." in demo.said()
    assert "profile-sync consumer " in commands(demo)

    report = json.loads(demo.out.read_text().splitlines()[-1])
    assert report["published"] == report["events"] == report["synced"] == 150
    assert report["parked"] == report["deadLetters"] == report["rowsDiffering"] == 0
    outage = report["outage"]
    assert outage.keys() == {"breakerOpenSeconds", "deadLettersDuringOutage", "incidents", "recoverySeconds"}
    assert (outage["deadLettersDuringOutage"], outage["incidents"]) == (0, 1)
    # Looking at all programs takes a moment, so beginning and end are observed a little late.
    assert outage["breakerOpenSeconds"] > 4.0
    assert outage["recoverySeconds"] > 0
    assert demo.left_behind() == []


def test_it_stays_and_the_three_commands_show_what_happened_to_the_few_events(start: Any) -> None:
    demo = start("--scenario", "outage", "--outage-seconds", "5", "--events", "12")

    demo.until_said("Press Ctrl-C to end the demo.", within=WITHIN_SECONDS)

    assert "Everything adds up." in demo.said(), demo.said()
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(demo)], capture_output=True, text=True, timeout=90, check=False
    )
    assert shell.returncode == 0, shell.stderr
    assert "All days: synced 12" in shell.stdout
    assert re.search(r"^last event \S+  synced$", shell.stdout, re.MULTILINE)
    incidents = json.loads(shell.stdout[shell.stdout.index('{\n    "incidents"') :])["incidents"]
    assert [incident["correlation_id"] for incident in incidents] == ["profile-sync:CMT-OUTAGE:event:-"]
    assert "Over since" in incidents[0]["work_notes"][-1]
    demo.process.send_signal(signal.SIGINT)
    assert demo.ended() == 0
    assert demo.left_behind() == []


def test_events_that_are_settled_before_it_can_begin_are_no_success(start: Any) -> None:
    demo = start("--scenario", "outage", "--outage-seconds", "5", "--events", "1", "--exit")

    assert demo.ended(WITHIN_SECONDS) == 1
    assert "All events were settled before the outage could begin" in demo.said()
    assert "publish more events (--events)" in demo.said()
    report = json.loads(demo.out.read_text().splitlines()[-1])
    assert report["events"] == 1
    assert report["outage"] == {
        "breakerOpenSeconds": None,
        "deadLettersDuringOutage": 0,
        "incidents": 0,
        "recoverySeconds": None,
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scenario", "flood"), r"there is no scenario 'flood'"),
        (("--outage-seconds", "7"), r"needs --scenario outage"),
    ],
)
def test_wrong_usage_is_reported_before_anything_is_started(start: Any, arguments: tuple[str, ...], said: str) -> None:
    demo = start(*arguments)
    assert demo.ended() == 2
    assert re.search(said, demo.said())
    assert "Starting" not in demo.said()
