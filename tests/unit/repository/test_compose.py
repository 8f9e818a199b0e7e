"""docker-compose.yml starts what the program really offers (that the file is well formed is `make lint`)."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.settings import KafkaSettings, WorkerSettings, load
from tests.unit.repository.command_line import assert_understood, calls_in

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())["services"]
    assert isinstance(found, dict)
    return found


def test_there_are_a_broker_a_simulator_and_two_workers(services: dict[str, Any]) -> None:
    assert set(services) == {"kafka", "topics", "simulator", "worker-1", "worker-2", "publish"}
    assert re.fullmatch(r"apache/kafka:4\.\d+\.\d+", services["kafka"]["image"])


@pytest.mark.parametrize("worker", ["worker-1", "worker-2"])
def test_a_worker_starts_with_its_environment(
    services: dict[str, Any], worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in services[worker]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = WorkerSettings()
    # Plain HTTP is for loopback only, so the worker must live where the simulator is loopback.
    assert services[worker]["network_mode"] == "service:simulator"
    assert f"127.0.0.1:{settings.web.port}:{settings.web.port}" in services["simulator"]["ports"]


def test_workers_wait_for_topics_and_simulator(services: dict[str, Any]) -> None:
    for worker in ("worker-1", "worker-2"):
        assert services[worker]["depends_on"] == {
            "simulator": {"condition": "service_healthy"},
            "topics": {"condition": "service_completed_successfully"},
        }


def test_topics_and_publish_need_kafka_settings_only(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("topics", "publish"):
        for name, value in services[service]["environment"].items():
            monkeypatch.setenv(name, value)
        assert load(KafkaSettings).bootstrap_servers == "kafka:9092"


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_our_containers_may_do_nothing_special(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name != "kafka":
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name


def test_the_services_run_commands_that_there_are(services: dict[str, Any]) -> None:
    ours = {name: service for name, service in services.items() if name != "kafka"}
    shell = ours.pop("publish")["command"][0]
    calls = [shlex.join(service["command"]) for service in ours.values()] + calls_in(shell)
    assert len(calls) == len(ours) + 2
    for call in calls:
        assert_understood(call)
