"""How a worker starts, and how it fails to: the exit code, and one clear line per problem."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions

from app.broker.free_port import free_port
from app.delivery.pipeline import Pipeline
from app.flows.consumers import consumers
from app.flows.worker import Worker
from app.kafka import topics
from app.kafka.durable_producer import DurableProducer
from app.settings import WorkerSettings
from tests.support.deployment import Deploy
from tests.support.profiles import fresh_consumer, new
from tests.support.worker_process import plain_environment, wait_for

GOOD = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "CMT_AUTH_URL": "http://127.0.0.1:9",
    "CMT_CLIENT_ID": "id",
    "CMT_CLIENT_SECRET": "a-secret-that-nobody-may-read",
    "WEB_AUTH": "off",
}


@contextmanager
def forwarding(port: int, to: str) -> Iterator[None]:
    """Forward connections from the port to another address, as when a broker's name begins to resolve."""
    host, _, target = to.rpartition(":")

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(target))) as onward:
                ends = {self.request: onward, onward: self.request}
                while True:
                    for ready in select.select(list(ends), [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        ends[ready].sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", port), Forward) as server:
        thread = threading.Thread(target=server.serve_forever, name="forwarding", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(10)


def refused(folder: Path, settings: Mapping[str, str | None]) -> list[str]:
    """The output of a worker that is started with a wrong environment; it must end at once."""
    environment = {name: value for name, value in {**GOOD, **settings}.items() if value is not None}
    ended = subprocess.run(
        [sys.executable, "-m", "app", "worker"],
        env=plain_environment() | {"DATA_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert GOOD["CMT_CLIENT_SECRET"] not in ended.stderr
    return ended.stderr.splitlines()


def test_every_problem_of_the_environment_is_told_in_a_line_of_its_own(tmp_path: Path) -> None:
    lines = refused(
        tmp_path,
        {
            "KAFKA_BOOTSTRAP_SERVERS": None,
            "CMT_CLIENT_ID": None,
            "CMT_CLIENT_SECRET": "",
            "CMT_AUTH_URL": "http://cmt.example.com",
            "SYNC_MAX_ATTEMPTS": "none",
            "SERVICENOW_URL": "https://example.service-now.com",
            "WEB_HOST": "0.0.0.0",
            "LOG_LEVEL": "LOUD",
        },
    )
    expected = {
        "KAFKA_BOOTSTRAP_SERVERS": "is required but not set",
        "CMT_CLIENT_ID": "is required but not set",
        "CMT_CLIENT_SECRET": "is required but not set",
        "CMT_AUTH_URL": "plain http:// is only allowed on loopback; use https://",
        "SYNC_MAX_ATTEMPTS": "must be a whole number",
        "SERVICENOW_URL": "needs SERVICENOW_USERNAME and SERVICENOW_PASSWORD",
        "WEB_AUTH=off": "is refused unless WEB_HOST is loopback",
        "LOG_LEVEL": "must be DEBUG, INFO, WARNING or ERROR",
    }
    assert len(lines) == len(expected), lines
    for name, what in expected.items():
        assert [line for line in lines if line.startswith(name) and what in line], (name, lines)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        pytest.param(
            {"KAFKA_SESSION_TIMEOUT_SECONDS": "30", "CMT_TIMEOUT_SECONDS": "30"},
            "KAFKA_SESSION_TIMEOUT_SECONDS (30) must exceed CMT_TIMEOUT_SECONDS (30) by at least 2 s",
            id="session shorter than a call",
        ),
        pytest.param(
            {"WEB_AUTH": "jwt"}, "WEB_AUTH=jwt needs WEB_JWT_SECRET (HS256) or WEB_JWKS_URL", id="no web secret"
        ),
        pytest.param(
            {"SYNC_STRATEGY": "reconcile", "SYNC_REPLACE_PARENT": "true"},
            "SYNC_REPLACE_PARENT=true needs SYNC_STRATEGY=replace",
            id="a parent that reconcile would have to replace",
        ),
        pytest.param(
            {"KAFKA_BOOTSTRAP_SERVERS": "kafka://somewhere"},
            "KAFKA_BOOTSTRAP_SERVERS: entry 1 is not host:port",
            id="not a broker's address",
        ),
    ],
)
def test_wrong_setting_is_refused(tmp_path: Path, settings: Mapping[str, str], line: str) -> None:
    [said] = refused(tmp_path, settings)
    assert said.startswith(line)


def test_the_reason_of_an_end_comes_before_stopped_which_is_the_last_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "app", "worker"],
            env=plain_environment() | GOOD | {"DATA_DIR": str(tmp_path), "WEB_PORT": port},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    *_, ending, last = map(json.loads, ended.stderr.splitlines())
    assert (ending["event"], ending["level"]) == ("cannot go on", "error")
    assert ending["reason"].startswith(f"cannot listen on WEB_HOST 127.0.0.1, WEB_PORT {port}: ")
    assert last["event"] == "stopped"


def test_a_misspelt_variable_is_named_beside_the_one_that_is_missing(tmp_path: Path) -> None:
    missing, misspelt = refused(
        tmp_path, {"KAFKA_BOOTSTRAP_SERVERS": None, "KAFKA_BOOTSTRAP_SERVER": "kafka.example.com:9092"}
    )
    assert missing == "KAFKA_BOOTSTRAP_SERVERS: is required but not set"
    assert misspelt.startswith("KAFKA_BOOTSTRAP_SERVER ")
    assert "KAFKA_BOOTSTRAP_SERVERS" in misspelt


def six_partitions(admin: AdminClient, pipeline: Pipeline) -> str:
    for answer in admin.create_partitions([NewPartitions(pipeline.retry_topic, 6)]).values():
        answer.result(20)
    return f"{pipeline.retry_topic}: partitions is 6, must be 4. "


def no_room_for_copies(admin: AdminClient, pipeline: Pipeline) -> str:
    topic = ConfigResource(ConfigResource.Type.TOPIC, pipeline.dlq_topic)
    topic.add_incremental_config(ConfigEntry("max.message.bytes", "99999", incremental_operation=AlterConfigOpType.SET))
    for answer in admin.incremental_alter_configs([topic]).values():
        answer.result(20)
    return f"{pipeline.dlq_topic}: max.message.bytes is 99999, must be at least "


@pytest.mark.parametrize("spoil", [six_partitions, no_room_for_copies])
def test_topics_that_cannot_be_worked_with_stop_the_start_and_say_what_to_do(
    deploy: Deploy, spoil: Callable[[AdminClient, Pipeline], str]
) -> None:
    deployment = deploy()
    line = spoil(AdminClient({"bootstrap.servers": deployment.kafka.bootstrap_servers}), deployment.pipeline)
    wait_for(lambda: topics.check(deployment.kafka, deployment.pipeline), lambda: "a problem with the topics", 20)
    worker = deployment.worker()
    assert worker.ended() == 1
    said = worker.last_words()
    assert said.startswith(line)
    assert len(said) > len(line) + 20, "no word about what to do"
    assert "Traceback" not in worker.log_text()


def test_worker_waits_for_a_broker_that_is_away_says_so_and_goes_on_when_it_comes(deploy: Deploy) -> None:
    deployment = deploy()
    port = free_port()
    worker = deployment.worker(KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}")
    wait_for(lambda: worker.status("/healthz")[0] == 200, worker.log_tail, 20)

    def reason() -> str:
        status, document = worker.status("/readyz")
        return " ".join(document["reasons"]) if status == 503 else f"{status}"

    wait_for(lambda: f"127.0.0.1:{port}" in reason(), lambda: f"/readyz names the address: {reason()}", 20)
    wait_for(
        lambda: any(entry["event"] == "Kafka is away, work goes on when it is back" for entry in worker.log_entries()),
        worker.log_tail,
        20,
    )
    assert worker.running
    with forwarding(port, to=deployment.kafka.bootstrap_servers):
        worker.ready()
        event = new(fresh_consumer())
        deployment.publish(event)
        assert deployment.outcome(worker, event)["outcome"] == "synced"


class HastyWorker(Worker):
    """Skips one check that Kafka answers, as if Kafka went away right after the check."""

    looked = False

    async def _until_kafka_is_there(self) -> bool:
        if self.looked:
            return await super()._until_kafka_is_there()
        self.looked = True
        return True


@pytest.mark.parametrize("gone_for", ["our producer", "Faust"])
async def test_worker_starts_again_when_kafka_goes_away_during_the_start(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gone_for: str
) -> None:
    deployment = deploy()
    port = free_port()
    own = {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
        "WEB_PORT": str(free_port()),
        "DATA_DIR": str(tmp_path / "d"),
    }
    for name, value in {**deployment.settings, **own}.items():
        monkeypatch.setenv(name, value)
    if gone_for == "Faust":
        start = DurableProducer.start

        async def once(producer: DurableProducer) -> None:
            monkeypatch.setattr(DurableProducer, "start", start)

        monkeypatch.setattr(DurableProducer, "start", once)
    worker = HastyWorker(WorkerSettings(), consumers)

    async def until(condition: Callable[[], object], seconds: float = 40.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                assert not running.done(), running
                await asyncio.sleep(0.05)

    running = asyncio.create_task(worker.run())
    try:
        await until(lambda: f"127.0.0.1:{port}" in str(worker._readiness.waiting_for))
        with forwarding(port, to=deployment.kafka.bootstrap_servers):
            await until(lambda: worker._readiness.now().ready)
            event = new(fresh_consumer())
            await asyncio.to_thread(deployment.publish, event)
            await until(lambda: worker._metrics.render().count(b"events_settled_total{") > 0)
            worker._stop.set()
            async with asyncio.timeout(30):
                await running
    finally:
        running.cancel()


def test_only_what_comes_after_the_start_is_read_where_that_is_wanted(deploy: Deploy) -> None:
    deployment = deploy(KAFKA_START="latest")
    deployment.publish(*(new(fresh_consumer()) for _ in range(8)))
    worker = deployment.worker().ready()
    event = new(fresh_consumer())
    deployment.publish(event)
    assert deployment.outcome(worker, event)["outcome"] == "synced"
    assert worker.totals()["events"] == 1


def test_too_few_file_descriptors_are_said_in_one_line_before_anything_begins(tmp_path: Path) -> None:
    environment = plain_environment() | GOOD | {"DATA_DIR": str(tmp_path), "WEB_PORT": "0"}
    line = ["sh", "-c", 'ulimit -n 64 && exec "$0" -m app worker', sys.executable]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    [said] = [line for line in done.stderr.splitlines() if "open files" in line]
    assert "may have 64" in said
    assert "Traceback" not in done.stderr


def test_a_stop_while_the_program_is_still_being_loaded_is_a_stop(tmp_path: Path) -> None:
    environment = plain_environment() | GOOD | {"DATA_DIR": str(tmp_path), "WEB_PORT": "0"}
    with subprocess.Popen([sys.executable, "-m", "app", "worker"], env=environment, stderr=subprocess.PIPE) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        # One of the first things that the commands import, long before the worker itself.
        wait_for(lambda: "pydantic_core" in maps.read_text(), maps.read_text, 30)
        process.terminate()
        assert process.wait(20) == 0
