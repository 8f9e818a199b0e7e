"""The commands ``topics create`` and ``topics check``: what they print and how they exit."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from app.broker.free_port import free_port
from app.cli.topics import topics
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import MakeKafkaSettings


def _run(monkeypatch: pytest.MonkeyPatch, settings: KafkaSettings | None, *arguments: str) -> Result:
    for name in KafkaSettings.model_fields:
        monkeypatch.delenv(f"KAFKA_{name.upper()}", raising=False)
    if settings is not None:
        for name in ("bootstrap_servers", "topic", "group", "partitions"):
            monkeypatch.setenv(f"KAFKA_{name.upper()}", str(getattr(settings, name)))
    return CliRunner().invoke(topics, list(arguments))


def test_create_then_check_is_all_well(make_kafka_settings: MakeKafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_kafka_settings(create=False)

    missing = _run(monkeypatch, settings, "check")
    created = _run(monkeypatch, settings, "create")
    checked = _run(monkeypatch, settings, "check")

    assert missing.exit_code == 1
    assert "missing" in missing.stdout
    assert "profile-sync topics create" in missing.stdout
    assert created.exit_code == 0
    assert f"created  {pipeline_of(settings).retry_topic}" in created.stdout
    assert checked.exit_code == 0
    assert "configured correctly" in checked.stdout


def test_json_is_one_document_on_stdout(
    make_kafka_settings: MakeKafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_kafka_settings(create=False)
    pipeline = pipeline_of(settings)

    checked = _run(monkeypatch, settings, "check", "--json")
    created = _run(monkeypatch, settings, "create", "--json")

    problems = json.loads(checked.stdout)["problems"]
    assert checked.exit_code == 1
    assert [problem["topic"] for problem in problems][:2] == [pipeline.topic, pipeline.retry_topic]
    assert set(problems[0]) == {"topic", "setting", "found", "wanted", "remedy"}
    assert set(json.loads(created.stdout)) == {"created", "existing", "problems"}


def test_create_beside_an_unfit_topic_exits_with_one_and_names_it(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = kafka_settings.model_copy(update={"partitions": 7})

    result = _run(monkeypatch, other, "create")

    assert result.exit_code == 1
    assert "partitions" in result.stdout
    assert "KAFKA_PARTITIONS=4" in result.stdout


def test_a_missing_setting_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(monkeypatch, None, "check")

    assert result.exit_code == 2
    assert result.stderr == "KAFKA_BOOTSTRAP_SERVERS: is required but not set\n"


def test_a_broker_that_is_not_there_is_a_failure_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"

    result = _run(monkeypatch, KafkaSettings(bootstrap_servers=address), "check", "--json")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert address in result.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" in result.stderr
