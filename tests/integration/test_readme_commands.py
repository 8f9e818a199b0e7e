"""The command blocks of the README, in order: broker, simulator, worker, events, counts; then dead letters."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from app.broker.free_port import free_port
from tests.support.kafka_probe import Eventually

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 30.0

Start = Callable[[str], "subprocess.Popen[str]"]


def blocks_of(section: str, language: str = "bash", page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def ports() -> dict[str, str]:
    """The ports in the README -> free ports of this machine."""
    return {number: str(free_port()) for number in ("9092", "8080", "6066")}


@pytest.fixture
def start(tmp_path: Path, ports: dict[str, str]) -> Iterator[Start]:
    """Starts a block in a shell of its own, in an empty folder, and stops it after the test."""
    running: list[subprocess.Popen[str]] = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "CMT_", "WEB_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def run(block: str) -> subprocess.Popen[str]:
        for documented, free in ports.items():
            block = re.sub(rf"\b{documented}\b", free, block)
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env=environment | {"WEB_PORT": ports["6066"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(shell)
        return shell

    yield run
    for shell in reversed(running):
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGTERM)
        shell.communicate(timeout=STOP_SECONDS)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_blocks_work_in_the_order_of_a_reader(start: Start, ports: dict[str, str], eventually: Eventually) -> None:
    broker, simulator, worker, events = blocks_of("Run it")
    exports = "\n".join(line for line in worker.splitlines() if line.startswith("export"))

    assert first_line(start(broker)).startswith("KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:")
    assert first_line(start(simulator)).startswith("Simulator on http://127.0.0.1:")
    running = start(worker)
    assert first_line(running).startswith("created  consumer-profiles")

    # The worker's terminal has exported what the last block needs.
    publish, kpi, curl = events.strip().splitlines()
    published = start(f"{exports}\n{publish}")
    published.communicate(timeout=60)
    assert published.returncode == 0

    def totals() -> dict[str, int]:
        asked = start(f"{exports}\n{curl}")
        answer, _ = asked.communicate(timeout=30)
        return json.loads(answer) if asked.returncode == 0 else {}

    eventually(lambda: totals().get("events") == 100, "100 events are counted")
    assert totals()["synced"] == 100

    shown = start(f"{exports}\n{kpi}")
    table, _ = shown.communicate(timeout=60)
    assert shown.returncode == 0
    assert "synced" in table

    bad = Producer({"bootstrap.servers": f"127.0.0.1:{ports['9092']}"})
    bad.produce("consumer-profiles", key=b"C-1", value=b"no event")
    bad.flush(30)
    eventually(lambda: totals().get("invalid") == 1, "the dead letter is counted")
    (reading,) = blocks_of("In Kafka", "python", "docs/dead-letters.md")
    dead_letters, _ = start(f"python - <<'END'\n{reading}\nEND").communicate(timeout=60)
    assert "x-sync-reason" in dead_letters
    assert "EVENT-NOT-JSON" in dead_letters

    assert running.poll() is None
    os.killpg(running.pid, signal.SIGTERM)
    assert running.wait(STOP_SECONDS) in (0, -signal.SIGTERM)
