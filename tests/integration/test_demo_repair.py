"""``profile-sync demo --scenario repair``: dead letters of one kind, one incident, a redrive that settles them all."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.demo_process import demos
from tests.support.kafka_probe import Eventually

WITHIN_SECONDS = 170.0


@pytest.fixture
def start(tmp_path: Path, eventually: Eventually) -> Iterator[Any]:
    """``start("--events", "20")``: a demo, killed after the test if it still runs."""
    with demos(tmp_path, eventually) as run:
        yield run


def test_with_exit_everything_is_settled_counted_once_and_in_order(start: Any) -> None:
    demo = start("--scenario", "repair", "--events", "200", "--workers", "2", "--exit")

    assert demo.ended(WITHIN_SECONDS) == 0, demo.said()

    texts = "\n".join(re.findall(r"^ *\d+\.\d s  (.+)$", demo.said(), re.MULTILINE))
    for before, after in (
        (r"rows of \d+ consumers are refused", r"ServiceNow: INC\d+ is open"),
        (r"INC\d+ is open", r"\d+ dead letters are open; all other events are settled"),
        ("events are settled", "The column is long enough again. An operator types:"),
        ("types:", "profile-sync dlq redrive --fingerprint CMT-ROW-INVALID:consumer:UPDATE --rate 50 --yes --wait"),
        ("--wait", "The command ends with exit code 0"),
        ("exit code 0", r"0 dead letters are open: \d+ redriven, \d+ superseded"),
        ("dead letters are open:", r"Failed events: [1-9]\d* before, 0 now"),
        ("0 now", r"ServiceNow: INC\d+ is resolved"),
    ):
        assert re.search(f"{before}.*{after}", texts, re.DOTALL), demo.said()
    assert "1 incident, order kept." in demo.said()
    assert "Everything adds up." in demo.said()

    report = json.loads(demo.out.read_text().splitlines()[-1])
    repair = report["repair"]
    assert report["published"] == report["events"] == report["synced"] + report["superseded"] == 200
    assert report["deadLetters"] == repair["deadLetters"] == repair["redriven"] + repair["superseded"] > 10
    assert repair["failedBefore"] == repair["deadLetters"]
    assert repair["failedAfter"] == repair["openDeadLetters"] == repair["overtaken"] == 0
    assert (repair["incidents"], repair["incidentResolved"]) == (1, True)
    assert report["rowsDiffering"] == 0
    assert report["rowsChecked"] > 100
    assert demo.left_behind() == []


def test_without_exit_it_stays_and_what_it_shows_can_be_typed(start: Any) -> None:
    demo = start("--scenario", "repair", "--events", "120")

    demo.until_said("Press Ctrl-C to end the demo.", within=WITHIN_SECONDS)

    assert "Everything adds up." in demo.said(), demo.said()
    shown = demo.said().partition("another terminal:\n")[2].partition("\n\n")[0]
    assert "dlq show " in shown
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shown], capture_output=True, text=True, timeout=120, check=False
    )
    assert shell.returncode == 0, shell.stderr
    assert "No dead letter is open." in shell.stdout
    assert re.search(r"^redrive-\S+  done$", shell.stdout, re.MULTILINE), shell.stdout
    assert re.search(r"redrive: (synced|superseded)", shell.stdout)
    incidents = json.loads(shell.stdout[shell.stdout.index('{\n    "incidents"') :])["incidents"]
    assert [incident["state"] for incident in incidents] == ["6"]
    demo.process.send_signal(signal.SIGINT)
    assert demo.ended() == 0
    assert demo.left_behind() == []


def test_faults_at_random_do_not_go_with_it(start: Any) -> None:
    demo = start("--scenario", "repair", "--fault-rate", "0.1")
    assert demo.ended() == 2
    assert "does not go with --scenario repair" in demo.said()
    assert "Starting" not in demo.said()
