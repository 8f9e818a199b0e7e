"""``topics check`` and ``status`` warn before Kafka deletes the value of an open dead letter."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.delivery.dead_letter_record import DeadLetter, Holder, LetterStatus, ValuePlace
from app.delivery.expiring_values import expiring
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.record import DAY_MS
from app.kafka.topic_specs import DLQ_RETENTION_MS
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import KafkaProbe
from tests.unit.readmodels.test_letter_index import letter

IN_DLQ = ValuePlace(Holder.DLQ, 3)


@pytest.fixture(autouse=True)
def environment(kafka_settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KafkaSettings.model_fields:
        monkeypatch.delenv(f"KAFKA_{name.upper()}", raising=False)
    for name in ("bootstrap_servers", "topic", "group", "partitions"):
        monkeypatch.setenv(f"KAFKA_{name.upper()}", str(getattr(kafka_settings, name)))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def _findings(done: Result) -> list[str]:
    return [one["text"] for one in json.loads(done.stdout)["findings"] if one["kind"] == "deadLetters"]


def test_people_are_told_before_a_value_goes_and_not_when_it_is_dealt_with(
    kafka_settings: KafkaSettings, kafka: KafkaProbe
) -> None:
    pipeline, now = pipeline_of(kafka_settings), int(time.time() * 1000)
    oldest = now - 80 * DAY_MS

    def write(letter_id: LetterId, content: DeadLetter) -> None:
        kafka.produce(
            pipeline.letters_topic, [(letter_key(letter_id, 1), content.encode())], partition=letter_id.partition
        )

    first, second = LetterId(0, 1), LetterId(3, 2, foreign=True)
    write(first, letter(failed=oldest, place=IN_DLQ))
    write(second, letter(failed=oldest + DAY_MS, place=IN_DLQ))
    write(LetterId(0, 5), letter(failed=now, place=IN_DLQ))
    write(LetterId(0, 6), letter(failed=oldest, place=None))
    wanted = expiring(pipeline.dlq_topic, DLQ_RETENTION_MS, (2, oldest))
    assert wanted is not None

    checked = _run("topics", "check")
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert f"{wanted.text}." in " ".join(checked.stdout.split())
    assert wanted.remedy in " ".join(checked.stdout.split())
    warnings = json.loads(_run("topics", "check", "--json").stdout)["warnings"]
    assert warnings == [{"topic": pipeline.dlq_topic, "text": wanted.text, "remedy": wanted.remedy}]
    assert _findings(_run("status", "--json")) == [f"{wanted.text}. {wanted.remedy}"]
    assert f"! {wanted.text}. {wanted.remedy}" in " ".join(_run("status").stdout.split())

    lines = json.loads(_run("check", "--json").stdout)["checks"]
    said = (wanted.text + ".", wanted.remedy)
    assert [line["state"] for line in lines if (line["message"], line["remedy"]) == said] == ["note"]
    parts = [line["part"] for line in lines]
    assert parts[parts.index("broker") :][:4] == ["broker", "topics", "topics", "rights"]

    for one in (first, second):
        write(one, letter(LetterStatus.DISCARDED, failed=oldest, place=IN_DLQ))
    assert "Kafka may delete" not in _run("topics", "check").stdout
    assert _findings(_run("status", "--json")) == []
