"""``plan`` and ``sample``: what they print, and how they exit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.bundled import schema_path
from app.cli import cli
from app.profile.entities import CHILD_TYPES
from app.profile.samples.samples import sample_events, to_json

SECONDS = 60
EXAMPLES: list[dict[str, Any]] = json.loads(schema_path("consumer-profile-event.schema.json").read_bytes())["examples"]
NEW, UPDATE, DELETE_ENTITIES, DELETE_PROFILE = EXAMPLES


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("KAFKA_", "CMT_", "SYNC_")):
            monkeypatch.delenv(name)


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(cli, list(arguments), input=stdin)


def plan(content: Any, *arguments: str) -> Result:
    return run("plan", "-", *arguments, stdin=content if isinstance(content, str | bytes) else json.dumps(content))


def calls(event: dict[str, Any]) -> list[dict[str, Any]]:
    document = json.loads(plan(event, "--json").stdout)
    assert document["rejected"] == []
    (planned,) = document["events"]
    return list(planned["calls"])


def briefly(event: dict[str, Any]) -> list[str]:
    return [f"{call['call']} {call['dataExtension']}{' each' if call['each'] else ''}" for call in calls(event)]


CHILDREN = ["CMT_Contact", "CMT_Child", "CMT_Pet", "CMT_DigitalAsset", "CMT_Interest", "CMT_OptIn"]
CLEARING = [*(f"retrieve {name}" for name in CHILDREN), *(f"delete {name} each" for name in CHILDREN)]
CLEARING_ALL = [*CLEARING[:6], "retrieve CMT_Consumer", *CLEARING[6:]]


def test_plan_shows_the_data_extensions_of_the_events_market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    german = {"DE": {"dataExtensions": {"contact": {"customerKey": "DE_Kontakt"}}}}
    bundled = json.loads(schema_path("data-extensions.json").read_bytes())
    file = tmp_path / "data-extensions.json"
    file.write_text(json.dumps({**bundled, "markets": german, "defaultMarket": {}}))
    monkeypatch.setenv("CMT_DATA_EXTENSIONS", str(file))
    assert briefly({**DELETE_ENTITIES, "market": "DE"}) == ["delete DE_Kontakt"]
    assert briefly({**DELETE_ENTITIES, "market": "PL"}) == ["delete CMT_Contact"]
    file.write_text(json.dumps({**bundled, "markets": german}))
    refused = plan({**DELETE_ENTITIES, "market": "PL"})
    assert refused.exit_code == 1
    assert "EVENT-MARKET-UNKNOWN" in refused.stderr
    file.write_text(json.dumps({**bundled, "markets": {"DE": {"mid": 1}}}))
    wrong = plan(DELETE_ENTITIES)
    assert wrong.exit_code == 2
    assert "market DE: unknown mid" in wrong.stderr


def test_plan_names_every_call_of_each_operation_in_order() -> None:
    assert briefly(NEW) == [
        f"upsert {name}" for name in ("CMT_Consumer", "CMT_Child", "CMT_Pet", "CMT_Interest", "CMT_OptIn")
    ]
    assert briefly(UPDATE) == [*CLEARING, "upsert CMT_Consumer", "upsert CMT_Contact"]
    assert briefly(DELETE_ENTITIES) == ["delete CMT_Contact"]
    assert briefly(DELETE_PROFILE) == [*CLEARING_ALL, "delete CMT_Consumer"]


def test_plan_heeds_that_the_parent_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_REPLACE_PARENT", "true")
    assert briefly(UPDATE) == [*CLEARING_ALL, "delete CMT_Consumer", "upsert CMT_Consumer", "upsert CMT_Contact"]


def test_plan_of_reconcile_names_the_calls_at_most_and_on_what_each_depends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_STRATEGY", "reconcile")
    assert [(call["call"], call["entity"], call.get("when")) for call in calls(UPDATE)] == [
        ("retrieve", "consumer", "not known to be different"),
        *(("retrieve", entity, None) for entity in CHILD_TYPES),
        ("upsert", "consumer", "different"),
        ("upsert", "contact", "different"),
        *(("delete", entity, "not listed") for entity in CHILD_TYPES),
    ]
    assert [(call["call"], call.get("when")) for call in calls(NEW)] == [
        ("retrieve", None),
        *[("retrieve", "parent found")] * 4,
        *[("upsert", "different")] * 5,
    ]
    assert briefly(DELETE_PROFILE) == [*CLEARING_ALL, "delete CMT_Consumer"]
    assert "upsert CMT_Contact if different" in plan(UPDATE).stdout


def test_plan_refuses_settings_that_a_worker_would_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_STRATEGY", "reconcile")
    monkeypatch.setenv("SYNC_REPLACE_PARENT", "true")
    done = plan(NEW)
    assert done.exit_code == 2
    assert "SYNC_REPLACE_PARENT=true needs SYNC_STRATEGY=replace" in done.stderr


def test_a_call_says_number_key_and_columns() -> None:
    assert calls(UPDATE)[-1] == {
        "number": 14,
        "call": "upsert",
        "entity": "contact",
        "dataExtension": "CMT_Contact",
        "each": False,
        "key": {"ConsumerId": "c-1001", "ContactId": "con-1"},
        "columns": ["Type", "Value", "IsPrimary"],
    }
    assert (calls(UPDATE)[0]["key"], calls(UPDATE)[6]["key"]) == ({"ConsumerId": "c-1001"}, None)


def test_people_get_a_table_for_each_event() -> None:
    done = plan([NEW, DELETE_PROFILE])
    assert done.exit_code == 0
    assert "1: NEW of consumer c-1001 (DE)" in done.stdout
    assert "2: DELETE PROFILE of consumer c-1001 (DE)" in done.stdout
    assert "of each row found" in done.stdout


def test_plan_of_a_file_with_samples(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(json.dumps(to_json(event)) for event in sample_events(20, seed=1)))
    document = json.loads(run("plan", str(path), "--json").stdout)
    assert [event["line"] for event in document["events"]] == list(range(1, 21))


def test_what_is_no_event_is_reported_with_line_and_reason_and_the_rest_is_planned() -> None:
    done = plan("\n".join([json.dumps(NEW), '{"eventId": "Zq-secret"}', "Zq-secret", json.dumps(UPDATE)]), "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 1
    assert [event["line"] for event in document["events"]] == [1, 4]
    assert [(line["line"], line["code"]) for line in document["rejected"]] == [
        (2, "EVENT-SCHEMA"),
        (3, "EVENT-NOT-JSON"),
    ]
    assert done.stderr.startswith("2: EVENT-SCHEMA: ")
    assert "Zq-secret" not in done.output


def test_plan_heeds_the_data_extensions_that_are_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = json.loads(schema_path("data-extensions.json").read_bytes())
    catalog["dataExtensions"]["consumer"]["customerKey"] = "Kunden"
    (tmp_path / "own.json").write_text(json.dumps(catalog))
    monkeypatch.setenv("CMT_DATA_EXTENSIONS", str(tmp_path / "own.json"))
    assert briefly(NEW)[0] == "upsert Kunden"


@pytest.mark.parametrize(
    ("name", "value", "message", "code"),
    [
        ("CMT_DATA_EXTENSIONS", "/nowhere.json", "CMT_DATA_EXTENSIONS: no such file", 2),
        ("SYNC_REPLACE_PARENT", "perhaps", "SYNC_REPLACE_PARENT", 2),
        ("SYNC_STRATEGY", "merge", "SYNC_STRATEGY", 2),
    ],
)
def test_wrong_configuration_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str, code: int
) -> None:
    monkeypatch.setenv(name, value)
    done = plan(NEW)
    assert done.exit_code == code
    assert message in done.stderr


def test_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    done = run("plan", str(tmp_path / "none.json"))
    assert done.exit_code == 2
    assert "no such file" in done.stderr


def test_sample_prints_so_many_events_and_the_same_for_a_seed() -> None:
    done = run("sample", "--events", "25", "--seed", "3")
    assert done.exit_code == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [to_json(e) for e in sample_events(25, 3)]


def test_sample_may_be_spread_over_few_consumers() -> None:
    lines = run("sample", "--events", "60", "--consumers", "2").stdout.splitlines()
    assert len({json.loads(line)["consumerId"] for line in lines}) == 2


def test_sample_refuses_what_makes_no_sense() -> None:
    assert run("sample", "--events", "-1").exit_code == 2
    assert run("sample", "--consumers", "0").exit_code == 2


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_samples_are_utf_8_whatever_the_locale(locale: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "sample", "--events", "200"],
        capture_output=True,
        env={**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        timeout=SECONDS,
        check=True,
    )
    assert "Zoë" in done.stdout.decode()


def test_a_reader_that_has_enough_ends_the_samples_without_a_word() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "app", "sample", "--events", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stderr is not None
            json.loads(running.stdout.readline())
            running.stdout.close()
            said = running.stderr.read()
            running.wait(SECONDS)
        finally:
            running.kill()
    assert (running.returncode, said) == (0, b"")
