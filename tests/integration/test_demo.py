"""``profile-sync demo`` as users start it: it adds up, survives a killed worker, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.demo_process import START_SECONDS, demos
from tests.support.kafka_probe import Eventually

# Variables of a shell that is set up for a real system; the demo must ignore them.
REAL_SYSTEM = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "CMT_SOAP_URL": "http://127.0.0.1:1/Service.asmx",
    "SYNC_DRY_RUN": "true",
    "WEB_AUTH": "jwt",
}


@pytest.fixture
def start(tmp_path: Path, eventually: Eventually) -> Iterator[Any]:
    """``start("--events", "20")``: a demo, killed after the test if it still runs."""
    with demos(tmp_path, eventually) as run:
        yield run


def test_with_faults_and_two_workers_every_event_is_settled_and_everything_adds_up(start: Any) -> None:
    demo = start("--events", "300", "--exit", "--workers", "2", "--fault-rate", "0.05", environment=REAL_SYSTEM)

    assert demo.ended(within=170) == 0, demo.said()
    totals = json.loads(demo.out.read_text().splitlines()[-1])

    outcomes = ("synced", "partial", "failed", "invalid", "superseded", "discarded")
    assert totals["published"] == totals["events"] == sum(totals[name] for name in outcomes) == 300
    assert totals["parked"] == 0
    closed_by_a_deleted_profile = totals["superseded"]
    assert totals["deadLetters"] == totals["failed"] + totals["invalid"] + closed_by_a_deleted_profile
    assert totals["failed"] + totals["partial"] > 0, "a tenth of the faults are permanent"
    assert totals["calls"] > 300
    assert totals["rowsChecked"] > 100
    assert totals["rowsDiffering"] == 0
    assert demo.left_behind() == []


def test_without_exit_it_stays_and_what_it_shows_can_be_used_until_ctrl_c(start: Any, tmp_path: Path) -> None:
    here = tmp_path / "somebody-elses-project"
    (here / "app").mkdir(parents=True)
    (here / "app" / "__init__.py").write_text("raise ImportError('not the program that was meant')\n")
    demo = start("--events", "40", here=here)

    demo.until_said("Press Ctrl-C to end the demo.")
    assert "Everything adds up." in demo.said()
    page = re.search(r"page +(http://127\.0\.0\.1:\d+/)\n", demo.said())
    assert page
    with urllib.request.urlopen(page[1], timeout=10) as answer:
        assert answer.status == 200
    shown = demo.said().partition("In another terminal:\n")[2].partition("\n\n")[0]
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shown], capture_output=True, text=True, timeout=90, check=False
    )
    assert shell.returncode == 0, shown + shell.stderr
    assert "All days: synced 40" in shell.stdout
    assert "published 500, rejected 0" in shell.stdout
    demo.process.send_signal(signal.SIGINT)

    assert demo.ended() == 0
    assert demo.left_behind() == []


def test_a_killed_worker_is_reported_the_others_settle_everything_and_without_any_it_fails(start: Any) -> None:
    demo = start("--events", "200", "--workers", "2")
    demo.until_said("done:")
    workers = demo.running(" worker ")
    assert len(workers) == 2

    os.kill(workers[1], signal.SIGKILL)

    demo.until_said("Everything adds up.")
    assert re.search(r"The worker \d was ended by SIGKILL; the others go on\.", demo.said())
    assert re.search(r"The log of the worker \d ends with:\n  \S", demo.said())

    os.kill(workers[0], signal.SIGKILL)

    assert demo.ended() == 1
    assert re.search(r"No worker is left\. The worker \d was ended by SIGKILL\. Its log ends with:\n\S", demo.said())
    assert demo.left_behind() == []


def test_when_nothing_moves_it_says_so_and_fails(start: Any) -> None:
    script = """
import sys
from rich.console import Console
from app.demo import DemoFailed, DemoOptions, run_demo
try:
    run_demo(DemoOptions(events=5000, exit_when_settled=True, patience_seconds=3), Console())
except DemoFailed as failed:
    sys.exit(str(failed))
"""
    demo = start(command=[sys.executable, "-c", script])
    demo.until_said("done:")
    (worker,) = demo.running(" worker ")

    os.kill(worker, signal.SIGSTOP)

    assert demo.ended(within=60) == 1
    assert re.search(r"Nothing was settled for 3 s: [\d,]+ of 5,000 events are settled, [\d,]+ parked\.", demo.said())
    assert re.search(r"The logs of the workers end with:\nworker 1:\n\S", demo.said())
    assert demo.left_behind() == []


@pytest.mark.parametrize("what", ["kafka.Kafka", "worker"])
def test_a_signal_while_it_starts_ends_it_and_leaves_nothing(start: Any, eventually: Eventually, what: str) -> None:
    demo = start("--exit")
    eventually(lambda: demo.running(f" {what} "), f"{what} runs", within=START_SECONDS)

    demo.process.send_signal(signal.SIGTERM)

    assert demo.ended() == 128 + signal.SIGTERM
    assert "Interrupted before all events were settled." in demo.said()
    assert demo.left_behind() == []


def test_ctrl_c_while_events_flow_and_once_more_ends_it_at_once(start: Any) -> None:
    demo = start("--events", "5000")
    demo.until_said("done:")

    demo.process.send_signal(signal.SIGINT)
    demo.until_said("Stopping")
    demo.process.send_signal(signal.SIGINT)

    assert demo.ended(within=10) == 0
    assert demo.left_behind() == []


def test_a_killed_demo_leaves_no_program(start: Any, eventually: Eventually) -> None:
    demo = start("--events", "5000", "--workers", "2")
    demo.until_said("done:")
    assert len(demo.programs()) >= 4

    demo.process.kill()

    eventually(lambda: not demo.programs(), "broker, simulator and workers are gone", within=10)


def test_a_port_that_is_taken_is_reported_before_anything_is_started(start: Any) -> None:
    with _listening() as port:
        demo = start("--port", str(port))
        assert demo.ended() == 1
    assert f"Port {port} of 127.0.0.1 is taken" in demo.said()
    assert "Starting" not in demo.said()


@contextmanager
def _listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
