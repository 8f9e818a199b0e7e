"""`profile-sync verify` with a real worker: it finds foreign changes in Marketing Cloud, and repairs them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from app.broker import sources
from app.broker.free_port import free_port
from app.bundled import schema_path
from app.cli import cli
from app.cmt.client import CmtClient
from app.profile.catalog_file import parse_catalog
from app.profile.entities import EntityType, Row
from app.profile.samples.samples import sample_events, to_json
from app.settings import CmtSettings
from app.settings.pipelines import pipeline_of
from tests.support.deployment import Deployment, deployed, without_nulls
from tests.support.profiles import (
    Event,
    contact,
    delete_entities,
    delete_profile,
    fresh_consumer,
    new,
    pet,
    update,
)
from tests.support.simulator_probe import running_simulator
from tests.support.worker_process import WorkerProcess, plain_environment

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType
CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())

Write = tuple[EntityType, Row]


@dataclass
class Site:
    """An installation with one worker, and the command."""

    deployment: Deployment
    worker: WorkerProcess
    events: int = 0

    def settle(self, *events: Event) -> None:
        """Publish events and wait until they are settled."""
        self.deployment.publish(*events)
        self.events += len(events)
        self.deployment.settled(self.worker, self.events)

    def verify(self, *arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON document."""
        done = self.run(*arguments, "--json", **environment)
        assert done.stdout, done.stderr
        return done.exit_code, json.loads(done.stdout)

    def run(self, *arguments: str, **environment: str) -> Result:
        """``verify`` with ``KAFKA_*`` and ``CMT_*`` and nothing else in its environment."""
        needed = {n: v for n, v in self.deployment.settings.items() if n.startswith(("KAFKA_", "CMT_"))}
        foreign = dict.fromkeys(name for name in os.environ if name not in plain_environment())
        return CliRunner().invoke(cli, ["verify", *arguments], env={**foreign, **needed, **environment})

    def tamper(self, *, upsert: tuple[Write, ...] = (), delete: tuple[Write, ...] = ()) -> None:
        """Change rows over SOAP without the worker."""
        environment = self.deployment.simulator.environment()
        settings = CmtSettings(
            auth_url=environment["CMT_AUTH_URL"],
            client_id=environment["CMT_CLIENT_ID"],
            client_secret=environment["CMT_CLIENT_SECRET"],
        )

        async def write() -> None:
            async with CmtClient(settings, CATALOG) as client:
                results = [*(await client.upsert(upsert)), *(await client.delete(delete))]
                assert all(result.ok for result in results), results

        asyncio.run(write())

    def cut_main_topic(self) -> None:
        """Delete all events, as retention does."""
        kafka = self.deployment.kafka
        pipeline = pipeline_of(kafka)
        ends = self.deployment.ends(pipeline.topic)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        cut = [TopicPartition(pipeline.topic, partition, end) for partition, end in ends.items()]
        for answer in admin.delete_records(cut).values():
            answer.result(10)


@pytest.fixture(scope="module")
def site(broker: sources.Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("verify")
    with (
        running_simulator(folder / "simulator.log") as simulator,
        deployed(broker.bootstrap_servers, simulator, CATALOG, folder) as deployment,
    ):
        yield Site(deployment, deployment.worker().ready())


def drift_of(document: dict[str, Any], consumer: str) -> list[tuple[str, str, list[str], list[str]]]:
    (found,) = [one for one in document["consumers"] if one["consumerId"] == consumer]
    return sorted(
        (one["entity"], one["kind"], one["key"], [column["column"] for column in one["columns"]])
        for one in found["drift"]
    )


def status_of(document: dict[str, Any], consumer: str) -> str:
    (found,) = [one for one in document["consumers"] if one["consumerId"] == consumer]
    return str(found["status"])


def test_synced_rows_have_no_drift_and_changed_rows_are_found_and_repaired(site: Site) -> None:
    updated, fresh, gone = fresh_consumer("updated"), fresh_consumer("new"), fresh_consumer("gone")
    rows: dict[str, Any] = {
        "pet": [pet("P-1", Name="Rex", WeightKg=4.5, BirthDate="2020-02-01"), pet("P-2", Name="Tom"), pet("P-3")],
        "contact": [contact("C-1", Value="private@example.com", IsPrimary=True)],
    }
    site.settle(
        *(to_json(event) for event in sample_events(60, seed=7, consumers=12)),
        new(updated, pet=[pet("P-0")]),
        new(fresh, **rows),
        new(gone, **rows),
        update(updated, **rows),
        delete_entities(updated, pet=[pet("P-3")]),
        delete_profile(gone),
    )

    code, before = site.verify("--all")
    assert (code, before["drifted"], before["errors"], before["pending"]) == (0, 0, 0, 0), before
    assert (status_of(before, updated), status_of(before, fresh), status_of(before, gone)) == ("ok", "partial", "ok")
    assert before["checked"] == len(before["consumers"]) >= 10

    held = without_nulls(site.deployment.simulator.rows(CATALOG))
    site.tamper(
        upsert=(
            (PET, {"ConsumerId": updated, "PetId": "P-1", "Name": "Waldi", "Breed": "?"}),
            (PET, {"ConsumerId": updated, "PetId": "P-3"}),
            (INTEREST, {"ConsumerId": updated, "InterestId": "I-9"}),
            (CONSUMER, {"ConsumerId": fresh, "FirstName": "Other"}),
            (CONSUMER, {"ConsumerId": gone}),
            (OPT_IN, {"ConsumerId": gone, "OptInId": "O-9"}),
        ),
        delete=(
            (CONTACT, {"ConsumerId": updated, "ContactId": "C-1"}),
            (PET, {"ConsumerId": fresh, "PetId": "P-2"}),
        ),
    )

    code, found = site.verify("--all")
    assert (code, found["drifted"]) == (1, 3)
    assert drift_of(found, updated) == [
        ("contact", "missing", [updated, "C-1"], []),
        ("interest", "extra", [updated, "I-9"], []),
        ("pet", "different", [updated, "P-1"], ["Name", "Breed"]),
        ("pet", "extra", [updated, "P-3"], []),
    ]
    assert drift_of(found, fresh) == [
        ("consumer", "different", [fresh], ["FirstName"]),
        ("pet", "missing", [fresh, "P-2"], []),
    ]
    assert drift_of(found, gone) == [
        ("consumer", "extra", [gone], []),
        ("optIn", "extra", [gone, "O-9"], []),
    ]
    assert "Waldi" not in json.dumps(found)

    calls = len(site.deployment.simulator.calls(updated))
    code, dry = site.verify("--consumer", updated, "--repair", "--show-values", SYNC_DRY_RUN="true")
    assert (code, status_of(dry, updated)) == (1, "drifted")
    assert "Waldi" in json.dumps(dry)
    assert {call.operation for call in site.deployment.simulator.calls(updated)[calls:]} == {"Retrieve"}

    code, mended = site.verify("--since", "1h", "--repair")
    assert (code, mended["drifted"], mended["repaired"]) == (0, 0, 3), mended
    assert without_nulls(site.deployment.simulator.rows(CATALOG)) == held

    code, after = site.verify("--all")
    assert (code, after["drifted"], after["repaired"]) == (0, 0, 0)


def test_what_is_not_settled_or_no_longer_in_kafka_is_not_judged_or_only_in_part(site: Site) -> None:
    parked, failed, lost, erased = (fresh_consumer(name) for name in ("parked", "failed", "lost", "erased"))
    simulator = site.deployment.simulator
    site.settle(*(new(name, pet=[pet("P-1")]) for name in (parked, failed, lost, erased)), delete_profile(erased))
    with simulator.fault("row_error", consumerId=failed, dataExtension="CMT_Consumer"):
        site.settle(update(failed))
    with simulator.fault("server_fault", consumerId=parked, operation="Update"):  # reads are for verify
        site.deployment.publish(update(parked))
        code, document = site.verify("--consumer", parked)
        assert (code, status_of(document, parked), document["checked"]) == (0, "pending", 0)
    site.events += 1
    site.deployment.settled(site.worker, site.events)

    code, document = site.verify("--consumer", failed)
    assert (code, status_of(document, failed)) == (0, "pending")

    code, document = site.verify("--outcome", "failed", "--since", "1h")
    # The parked event may have used up its attempts meanwhile.
    assert failed in (names := {one["consumerId"] for one in document["consumers"]}) and names <= {failed, parked}
    code, document = site.verify("--outcome", "partial")
    assert (code, document["consumers"]) == (0, [])

    site.cut_main_topic()
    site.tamper(upsert=((CONSUMER, {"ConsumerId": erased}),))
    code, document = site.verify("--since", "1h")
    assert (code, status_of(document, lost), status_of(document, erased)) == (1, "partial", "drifted")

    site.tamper(delete=((CONSUMER, {"ConsumerId": lost}),))
    shown = site.run("--all", "--repair")
    assert shown.exit_code == 1, "what to write for the lost one is not known"
    assert "what to write is not known: publish the consumer's UPDATE again" in shown.stdout
    assert "drifted 1, repaired 1," in shown.stdout


def test_when_kafka_no_longer_has_the_events_the_records_keys_and_digests_are_compared(site: Site) -> None:
    whole, added, gone = fresh_consumer("whole"), fresh_consumer("added"), fresh_consumer("gone")
    rows: dict[str, Any] = {
        "pet": [pet("P-1", Name="Rex", WeightKg=4.5, BirthDate="2020-02-01"), pet("P-2", Name="Tom"), pet("P-3")],
        "contact": [contact("C-1", Value="private@example.com", IsPrimary=True)],
    }
    site.settle(
        new(gone, **rows),
        update(whole, **rows),
        delete_entities(whole, pet=[pet("P-3")]),
        update(added, pet=[pet("P-1", Name="Rex")]),
        new(added, contact=[contact("C-1", Value="private@example.com")]),
        delete_profile(gone),
        new(gone, pet=[pet("P-9")]),
    )
    consumers = (whole, added, gone)

    def statuses() -> list[str]:
        document = site.verify("--since", "1h")[1]
        return [status_of(document, consumer) for consumer in consumers]

    assert statuses() == ["ok", "ok", "ok"], "of the NEWs too: all rows before them are known"
    site.cut_main_topic()
    assert statuses() == ["ok", "ok", "ok"]

    held = without_nulls(site.deployment.simulator.rows(CATALOG))
    site.tamper(
        upsert=(
            (PET, {"ConsumerId": whole, "PetId": "p-1 ", "WeightKg": "4.5", "BirthDate": "2020-02-01"}),
            (PET, {"ConsumerId": whole, "PetId": "P-3"}),
            (PET, {"ConsumerId": added, "PetId": "P-1", "Name": "Waldi"}),
            (INTEREST, {"ConsumerId": gone, "InterestId": "I-9"}),
        ),
        delete=((CONTACT, {"ConsumerId": added, "ContactId": "C-1"}),),
    )
    assert statuses() == ["drifted"] * 3
    document = site.verify("--since", "1h")[1]
    assert drift_of(document, whole) == [("pet", "extra", [whole, "P-3"], [])]
    assert drift_of(document, added) == [
        ("contact", "missing", [added, "C-1"], []),
        ("pet", "different", [added, "P-1"], []),
    ]
    assert drift_of(document, gone) == [("interest", "extra", [gone, "I-9"], [])]
    assert "which columns differ is not known" in json.dumps(document)

    site.verify("--since", "1h", "--repair")
    assert statuses() == ["ok", "drifted", "ok"]
    site.settle(update(added, pet=[pet("P-1", Name="Rex")], contact=[contact("C-1", Value="private@example.com")]))
    assert statuses() == ["ok", "ok", "ok"]
    after = without_nulls(site.deployment.simulator.rows(CATALOG))
    assert after[CONTACT] == held[CONTACT]
    pets = {row["PetId"].strip().upper() for row in after[PET].values() if row["ConsumerId"] == whole}
    assert pets == {"P-1", "P-2"}


def test_a_target_or_a_broker_that_is_away_is_named(site: Site) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    done = site.run("--all", CMT_AUTH_URL=away)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Marketing Cloud cannot be used: CMT-" in done.stderr
    done = site.run("--all", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Kafka at 127.0.0.1:" in done.stderr


def test_a_consumer_never_seen_ends_with_1_and_says_so(site: Site) -> None:
    done = site.run("--consumer", "nobody")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nobody" in done.stderr


def test_a_dry_run_group_repairs_nothing_in_a_real_run(broker: sources.Broker, site: Site, tmp_path: Path) -> None:
    simulator = site.deployment.simulator
    with deployed(broker.bootstrap_servers, simulator, CATALOG, tmp_path, SYNC_DRY_RUN="true") as deployment:
        dry = Site(deployment, deployment.worker().ready())
        consumer = fresh_consumer()
        dry.settle(new(consumer))
        done = dry.run("--all", "--repair")
        assert (done.exit_code, done.stdout) == (1, "")
        assert f"group {pipeline_of(deployment.kafka).group} does a dry run" in " ".join(done.stderr.split())
        assert not any(simulator.rows(CATALOG, consumer).values())
        code, document = dry.verify("--all", "--repair", SYNC_DRY_RUN="true")
        assert (code, status_of(document, consumer)) == (1, "drifted")
        assert not any(simulator.rows(CATALOG, consumer).values())
