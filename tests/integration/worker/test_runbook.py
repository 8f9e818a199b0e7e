"""Every command of the runbook, typed in its order on an installation that has the symptoms."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.integration.worker.test_redrive import refusing
from tests.support.deployment import Deploy, Deployment, Published
from tests.support.kafka_probe import DEADLINE_SECONDS
from tests.support.profiles import fresh_consumer, fresh_market, new, update
from tests.support.runbook import NOT_RUN, sections
from tests.support.worker_process import plain_environment, wait_for

SECONDS = 120
# These exit with 1 if something needs a person, which is so here.
MAY_FIND_TROUBLE = ("profile-sync status", "profile-sync dlq stats")


class Night:
    """An installation with one worker, and an operator who types."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self.deployment = deployment
        self.folder = folder
        self.market = fresh_market()
        self.worker = deployment.worker().ready()
        self.names: dict[str, str] = {}  # what the page writes -> what it stands for here
        self.typed: set[str] = set()

    def type(self, line: str) -> str:
        """Run a line of the page, with its placeholders filled in; returns standard output."""
        self.typed.add(line)
        filled = line
        for placeholder, value in self.names.items():
            filled = re.sub(rf"(?<![\w-]){re.escape(placeholder)}(?![\w-])", value, filled)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"PATH": path, "DATA_DIR": str(self.folder / "commands"), "COLUMNS": "80"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", filled],
            env=plain_environment() | dict(self.deployment.settings) | own,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        codes = (0, 1) if line.startswith(MAY_FIND_TROUBLE) else (0,)
        said = f"{line}\n{filled}\n{done.stdout}\n{done.stderr}\n{self.worker.log_tail(5)}"
        assert done.returncode in codes, f"exit code {done.returncode}: {said}"
        assert "Traceback" not in done.stderr, said
        return done.stdout

    def type_all(self, section: str) -> None:
        """Run the commands of a section; those of an earlier section are not repeated."""
        for line in sections()[section]:
            if line not in self.typed and not line.startswith(NOT_RUN):
                self.type(line)

    def until_open(self, *letters: Published) -> None:
        """Wait until these events are open dead letters."""
        for letter in letters:
            wait_for(
                lambda letter=letter: self.status(letter) == "open",
                lambda letter=letter: f"{letter.id} is {self.status(letter)}\n{self.worker.log_tail(15)}",
                SECONDS,
            )

    def status(self, letter: Published) -> str | None:
        """What the worker knows of a dead letter."""
        code, found = self.worker.status(f"/api/dead-letters/{letter.id}")
        return str(found["status"]) if code == 200 else None

    # The symptoms, by section

    def nothing(self) -> None:
        """The installation as it is."""

    def letters(self) -> None:
        consumer = fresh_consumer()
        with refusing(self.deployment, [consumer]):
            [failed] = self.deployment.publish(update(consumer, self.market))
            self.until_open(failed)
        self.names["5-26"] = failed.id

    def poison(self) -> None:
        consumer = fresh_consumer()
        [broken, unwanted] = self.deployment.publish_raw(
            [(consumer.encode(), b"{", None), (consumer.encode(), b"[", None)]
        )
        self.until_open(broken, unwanted)
        self.names |= {"5-31": broken.id, "5-40": unwanted.id}
        (self.folder / "event.json").write_text(json.dumps(new(consumer, self.market)))

    def stuck(self) -> None:
        self.names["C-1000001"] = consumer = fresh_consumer()
        event = new(consumer, self.market)
        self.deployment.publish(event)
        self.deployment.outcome(self.worker, event, consumer)

    def after_outage(self) -> None:
        consumer = fresh_consumer()
        busy = {"operation": "Retrieve", "overallStatus": "Error: Timeout expired.", "consumerId": consumer}
        with self.deployment.simulator.fault("answer", **busy):
            [failed] = self.deployment.publish(update(consumer, self.market))
            self.until_open(failed)
        assert self.worker.terminate() == 0  # so that the task is still waiting when it is paused

    def restart(self) -> None:
        self.worker.start()
        self.worker.ready()
        self.names |= {"6066": self.worker.settings["WEB_PORT"], "WORKER_PID": str(self.worker.pid)}

    def value_gone(self) -> None:
        consumer = fresh_consumer()
        with refusing(self.deployment, [consumer]):
            [failed] = self.deployment.publish(update(consumer, self.market))
            self.until_open(failed)
        pipeline = self.deployment.pipeline
        admin = AdminClient({"bootstrap.servers": self.deployment.kafka.bootstrap_servers})
        for topic in (pipeline.dlq_topic, pipeline.topic):
            for answer in admin.delete_records([TopicPartition(topic, failed.partition, -1)]).values():
                answer.result(DEADLINE_SECONDS)
        self.type(f"profile-sync dlq redrive {failed.id} --yes --wait || true")
        wait_for(lambda: self._last(failed) == "SYNC-VALUE-GONE", lambda: f"{self._last(failed)}", SECONDS)
        self.names["5-52"] = failed.id
        (self.folder / "events.jsonl").write_text(f"{json.dumps(new(consumer, self.market))}\n")

    def _last(self, letter: Published) -> str:
        """Why the last line was added to the history of a dead letter."""
        return str(self.worker.get(f"/api/dead-letters/{letter.id}")["history"][-1]["reason"])


ARRANGED: dict[str, Callable[[Night], None]] = {
    "start": Night.nothing,
    "Marketing Cloud is down": Night.nothing,
    "A token is refused": Night.nothing,
    "Dead letters grow": Night.letters,
    "A poison event": Night.poison,
    "One consumer is stuck": Night.stuck,
    "Redrive after an outage": Night.after_outage,
    "A rolling restart": Night.restart,
    "An upgrade and a rollback": Night.nothing,
    "More partitions": Night.nothing,
    "The state topics are lost": Night.nothing,
    "Kafka's retention was too short": Night.value_gone,
}


@pytest.mark.timeout(600)  # some thirty commands, each a process of its own
def test_every_command_of_the_runbook(deploy: Deploy, tmp_path: Path) -> None:
    assert list(ARRANGED) == list(sections()), "a section with commands needs its symptom here"
    night = Night(deploy(), tmp_path)
    for section, arrange in ARRANGED.items():
        arrange(night)
        if section == "Redrive after an outage":
            type_about_a_task(night, section)
        elif section == "A rolling restart":
            type_a_restart(night, section)
        else:
            night.type_all(section)
    every = {line for lines in sections().values() for line in lines if not line.startswith(NOT_RUN)}
    assert every <= night.typed
    # Not redriven: its bytes may have been deleted together with those above.
    night.type("profile-sync dlq discard --all --note tidy --yes --wait")
    assert night.type("profile-sync dlq list") == "No dead letter is open.\n"


def type_about_a_task(night: Night, section: str) -> None:
    """The commands after the redrive name the task that it made."""
    for line in sections()[section]:
        said = night.type(line)
        if task := re.search(r"^task (redrive-\S+)$", said, re.MULTILINE):
            night.names["TASK"] = task[1]
    assert "TASK" in night.names


def type_a_restart(night: Night, section: str) -> None:
    """The one command ends the worker; it is started again before the next."""
    for line in sections()[section]:
        night.type(line)
        if line.startswith("kill "):
            assert night.worker.ended() == 0
            night.worker.start().ready()
