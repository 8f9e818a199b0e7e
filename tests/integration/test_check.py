"""``profile-sync check`` against a broker and a simulator: a good installation, and many that are not."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from app.broker.free_port import free_port
from app.bundled import schema_path
from app.cli import cli
from app.cmt.canary import PROBE_CONSUMER_ID
from app.delivery.partition_record import PartitionState
from app.delivery.record_format import partition_key
from app.flows import clock_check, incident_check, kafka_check, target_check
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import Eventually, KafkaProbe, MakeKafkaSettings
from tests.support.simulator_probe import SimulatorProbe, running_simulator
from tests.support.worker_process import plain_environment

TABLES = json.loads(schema_path("data-extensions.json").read_bytes())["dataExtensions"]
KEYS = [table["customerKey"] for table in TABLES.values()]
LIMITS = (
    (kafka_check, "TIMEOUT_SECONDS"),
    (target_check, "CALL_SECONDS"),
    (incident_check, "REQUEST_SECONDS"),
    (clock_check, "ANSWER_SECONDS"),
)

Lines = list[tuple[str, str | None, str]]


@dataclass
class Site:
    """An installation. ``changed`` gives it other variables; None removes one."""

    kafka: KafkaSettings
    simulator: SimulatorProbe
    folder: Path
    variables: dict[str, str | None] = field(default_factory=dict)

    def changed(self, **variables: str | None) -> Site:
        return Site(self.kafka, self.simulator, self.folder, self.variables | variables)

    def tables(self, document: dict[str, Any]) -> Site:
        """The installation with this data-extensions file."""
        path = self.folder / "data-extensions.json"
        path.write_text(json.dumps(document))
        return self.changed(CMT_DATA_EXTENSIONS=str(path))

    def run(self, *arguments: str) -> Result:
        foreign = dict.fromkeys(name for name in os.environ if name not in plain_environment())
        settings = {f"KAFKA_{name.upper()}": str(getattr(self.kafka, name)) for name in self.kafka.model_fields_set}
        given = (
            self.simulator.environment() | settings | {"WEB_AUTH": "off", "CMT_TIMEOUT_SECONDS": "3"} | self.variables
        )
        return CliRunner().invoke(cli, ["check", *arguments], env=foreign | given)

    def check(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and the entries of the JSON document."""
        done = self.run(*arguments, "--json")
        assert done.stdout, done.stderr
        document = json.loads(done.stdout)
        assert document["ok"] is (done.exit_code == 0)
        return done.exit_code, document["checks"]


def short(checks: list[dict[str, Any]], *states: str) -> Lines:
    """Part, subject and message of the entries in one of these states."""
    return [(one["part"], one["subject"], one["message"]) for one in checks if one["state"] in states]


def states(checks: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The states of each part."""
    found: dict[str, set[str]] = {}
    for one in checks:
        found.setdefault(one["part"], set()).add(one["state"])
    return found


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProbe]:
    with running_simulator(tmp_path_factory.mktemp("check") / "simulator.log") as probe:
        yield probe


@pytest.fixture
def site(make_kafka_settings: MakeKafkaSettings, simulator: SimulatorProbe, tmp_path: Path) -> Site:
    simulator.reset()
    return Site(make_kafka_settings(), simulator, tmp_path)


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and says nothing; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_good_installation_is_well_and_only_read(site: Site) -> None:
    code, checks = site.check()
    assert (code, [(one["part"], one["subject"]) for one in checks]) == (
        0,
        [
            ("configuration", None),
            ("broker", None),
            ("topics", None),
            ("rights", None),
            ("group", None),
            ("token", None),
            *(("dataExtension", key) for key in KEYS),
            ("serviceNow", None),
            ("clock", None),
        ],
    )
    assert {one["state"] for one in checks} == {"ok"}
    assert {call.operation for call in site.simulator.calls()} == {"Retrieve"}
    assert site.simulator.incidents() == []
    admin = AdminClient({"bootstrap.servers": site.kafka.bootstrap_servers})
    groups = admin.list_consumer_groups().result(10)
    assert pipeline_of(site.kafka).group not in [group.group_id for group in groups.valid]

    shown = site.run("--test-incident")
    assert (shown.exit_code, shown.stdout.splitlines()[-1]) == (0, "All is well.")
    assert max(map(len, shown.stdout.splitlines())) <= 80
    (incident,) = site.simulator.incidents()
    assert incident["state"] == "6"
    assert f"{incident['number']} was opened and resolved" in " ".join(shown.stdout.split())

    without = site.changed(SERVICENOW_URL=None)
    code, checks = without.check()
    assert (code, states(checks)["serviceNow"]) == (0, {"notConfigured"})


def test_what_is_wrong_is_named_and_what_depends_on_it_is_not_skipped(site: Site, eventually: Eventually) -> None:
    retry = pipeline_of(site.kafka).retry_topic
    admin = AdminClient({"bootstrap.servers": site.kafka.bootstrap_servers})
    admin.delete_topics([retry])[retry].result(10)
    eventually(lambda: retry not in admin.list_topics(timeout=10).topics, "the topic is gone")
    broken = site.changed(CMT_CLIENT_SECRET="no-such-secret")
    with site.simulator.fault("answer", operation="Incident", status=403, body='{"error":{"message":"no"}}'):
        code, checks = broken.check("--test-incident")
        shown = broken.run("--test-incident").stdout
    assert code == 1
    assert short(checks, "wrong") == [
        ("topics", None, f"{retry} is missing."),
        (
            "token",
            None,
            "CMT-TOKEN-REFUSED: The token endpoint refused the client ID or the secret. HTTP 401, invalid_client.",
        ),
        ("serviceNow", None, checks[-2]["message"]),
    ]
    assert "HTTP 403" in checks[-2]["message"]
    assert "role itil" in checks[-2]["message"]
    assert short(checks, "notChecked") == [("dataExtension", key, "no token") for key in KEYS]
    assert "                profile-sync topics create\n" in shown
    assert "no-such-secret" not in shown
    assert shown.splitlines()[-1] == "3 things are wrong."
    assert site.simulator.incidents() == []


def test_data_extensions_that_differ_from_the_file(site: Site) -> None:
    entries = json.loads(json.dumps(TABLES))
    entries["pet"]["columns"].append("Chip")
    entries["child"]["types"] = {"BirthDate": "Number", "FirstName": "Text(250)"}
    entries["contact"]["primaryKey"] = ["ConsumerId", "Type"]
    entries["interest"]["customerKey"] = "CMT_Interests"
    entries["optIn"]["columns"].remove("Source")
    code, checks = site.tables({"dataExtensions": entries}).check()
    assert code == 1
    assert short(checks, "wrong") == [
        (
            "dataExtension",
            "CMT_Contact",
            "the primary key is ConsumerId, ContactId, not ConsumerId, Type as configured.",
        ),
        ("dataExtension", "CMT_Child", "column FirstName is too short: Text(200), 250 characters are needed."),
        ("dataExtension", "CMT_Child", "column BirthDate is Date, not Number as configured."),
        ("dataExtension", "CMT_Pet", "has no column Chip: rows that name it are refused."),
        ("dataExtension", "CMT_Interests", "Marketing Cloud shows no such data extension in this account."),
    ]
    ((_, extra, note),) = short(checks, "note")
    assert (extra, note.partition(",")[0]) == ("CMT_OptIn", "also has column Source")
    assert all(one["remedy"] for one in checks if one["state"] in ("wrong", "note"))
    assert [one["subject"] for one in checks if one["part"] == "dataExtension" and one["state"] == "ok"] == [
        "CMT_Consumer",
        "CMT_DigitalAsset",
    ]


def test_every_account_and_market_is_looked_at(site: Site) -> None:
    abroad = {"accountId": "510001235", "dataExtensions": {"pet": {"customerKey": "AT_Pet"}}}
    file = {"dataExtensions": TABLES, "markets": {"DE": {}, "AT": abroad}}
    code, checks = site.tables(file).changed(CMT_ACCOUNT_ID="510001234").check()
    assert code == 1
    ((part, subject, _),) = short(checks, "wrong")
    assert (part, subject) == ("dataExtension", "AT_Pet")
    looked = {(one["account"], one["part"], one["subject"]) for one in checks if one["account"]}
    german = {("510001234", "dataExtension", key) for key in KEYS}
    austrian = {("510001235", "dataExtension", "AT_Pet" if key == "CMT_Pet" else key) for key in KEYS}
    tokens = {(account, "token", None) for account in ("510001234", "510001235")}
    assert looked == german | austrian | tokens


def test_a_missing_right_concerns_one_data_extension(site: Site) -> None:
    denied = {"operation": "Retrieve", "overallStatus": "Error: permission failed"}
    with (
        site.simulator.fault("answer", dataExtension="CMT_Child", **denied),
        site.simulator.fault("answer", dataExtension="CMT_Pet", consumerId=PROBE_CONSUMER_ID, **denied),
    ):
        code, checks = site.check()
    assert code == 1
    assert [(subject, message.split(":")[0]) for _, subject, message in short(checks, "wrong")] == [
        ("CMT_Child", "CMT-PERMISSION"),  # its columns
        ("CMT_Pet", "CMT-PERMISSION"),  # its rows
    ]
    assert short(checks, "notChecked") == []


def test_wrong_settings_are_listed_and_the_rest_is_checked(site: Site) -> None:
    code, checks = site.changed(KAFKA_PARTITIONS="many", SYNC_MAX_ATTEMPTS="0", KAFKA_TOPC="x").check()
    assert code == 1
    assert [message.split(":")[0] for _, _, message in short(checks, "wrong")] == [
        "KAFKA_PARTITIONS",
        "SYNC_MAX_ATTEMPTS",
    ]
    assert [message.split()[0] for _, _, message in short(checks, "note")] == ["KAFKA_TOPC"]
    ours = ("broker", "topics", "rights", "group", "serviceNow")
    assert short(checks, "notChecked") == [(part, None, "its configuration is wrong") for part in ours]
    assert states(checks)["dataExtension"] == {"ok"}

    code, checks = site.changed(CMT_WSDL=str(schema_path("data-extensions.json"))).check()
    assert code == 1
    ((part, _, message),) = short(checks, "wrong")
    assert (part, "CMT_WSDL" in message) == ("configuration", True)
    assert states(checks)["token"] == states(checks)["dataExtension"] == {"notChecked"}
    assert states(checks)["topics"] == {"ok"}

    unknown = site.run("--flow", "suppliers")
    assert unknown.exit_code == 2


def test_a_group_of_another_kind_of_run_is_wrong(site: Site, kafka: KafkaProbe) -> None:
    record = PartitionState(dry_run=True, decided_above={1}).encode()
    kafka.produce(pipeline_of(site.kafka).state_topic, [(partition_key(0, 1), record)], partition=0)
    code, checks = site.check()
    assert code == 1
    ((part, _, message),) = short(checks, "wrong")
    assert (part, "set SYNC_DRY_RUN=true" in message) == ("group", True)
    assert site.changed(SYNC_DRY_RUN="true").check()[0] == 0


def test_silent_servers_are_named_and_hold_nothing_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in LIMITS:
        monkeypatch.setattr(module, name, 1.0)
    with silent_server() as address:
        silent = site.changed(
            KAFKA_BOOTSTRAP_SERVERS=address, CMT_AUTH_URL=f"http://{address}", SERVICENOW_URL=f"http://{address}"
        )
        code, checks = silent.check()
    assert code == 1
    wrong = {part: message for part, _, message in short(checks, "wrong")}
    assert set(wrong) == {"broker", "token", "serviceNow"}
    assert all("1 s" in message for message in wrong.values())
    assert states(checks)["topics"] == states(checks)["dataExtension"] == states(checks)["clock"] == {"notChecked"}


def test_calls_without_an_answer_stop_the_checks_of_that_account(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_check, "CALL_SECONDS", 1.0)
    with site.simulator.fault("timeout", operation="Retrieve"):
        code, checks = site.check()
    assert code == 1
    ((part, subject, message),) = short(checks, "wrong")
    assert (part, subject, message.split(":")[0]) == ("dataExtension", "CMT_Consumer", "CMT-TIMEOUT")
    assert short(checks, "notChecked") == [
        ("dataExtension", key, "a call failed before with CMT-TIMEOUT") for key in KEYS[1:]
    ]


def test_a_broker_that_is_not_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_check, "TIMEOUT_SECONDS", 1.0)
    code, checks = site.changed(KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}").check()
    assert code == 1
    ((part, _, message),) = short(checks, "wrong")
    assert (part, "KAFKA_BOOTSTRAP_SERVERS" in message) == ("broker", True)
    assert short(checks, "notChecked") == [(part, None, "no broker") for part in ("topics", "rights", "group")]


async def test_a_clock_that_is_wrong_is_reported_from_a_servers_answer() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        return web.Response(status=401, headers={"Date": "Wed, 12 Nov 2025 10:00:00 GMT"})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        (line,) = await clock_check.clock_lines([f"{address}/v2/token", address])
    finally:
        await runner.cleanup()
    assert line.state == "wrong"
    assert "ahead of that of 127.0.0.1" in line.message
