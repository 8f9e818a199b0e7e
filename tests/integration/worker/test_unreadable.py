"""Bytes in a partition's log that the client cannot read: odd header names are no obstacle, and damage holds up its
partition only. The log is changed on disk, so the broker is one of the test's own."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from aiokafka.record.util import calc_crc32c

from app.broker.local_broker import LocalBroker
from app.profile.entities import Catalog
from tests.integration.worker.test_offsets import entries, told
from tests.support.brokers import own_broker
from tests.support.deployment import SETTLE_SECONDS, Deployment, deployed
from tests.support.profiles import Event, fresh_consumer, new
from tests.support.simulator_probe import SimulatorProbe
from tests.support.topic_changes import TopicChanges
from tests.support.worker_process import READY_SECONDS, plain_environment, wait_for

NAME, ODD, READABLE = b"odd__name", b"odd\xff\xfename", "odd\\xff\\xfename"


def record(event: Event) -> tuple[bytes, bytes, list[tuple[str, bytes | None]]]:
    return str(event["consumerId"]).encode(), json.dumps(event).encode(), [(NAME.decode(), b"1")]


def change_log(data: Path, topic: str, partition: int, change: Callable[[bytes], bytes]) -> int:
    """Change the batches of a partition on disk; returns the number of changed batches."""
    file = data / "logs" / f"{topic}-{partition}" / f"{0:020}.log"
    content, at, changed = file.read_bytes(), 0, 0
    while at < len(content):
        end = at + 12 + struct.unpack_from(">i", content, at + 8)[0]
        batch = change(content[at:end])
        assert len(batch) == end - at
        changed += batch != content[at:end]
        content, at = content[:at] + batch + content[end:], end
    file.write_bytes(content)
    return changed


def odd_names(batch: bytes) -> bytes:
    """A header name in raw bytes, as librdkafka and Sarama write it."""
    changed = batch.replace(NAME, ODD)
    return changed[:17] + struct.pack(">I", calc_crc32c(changed[21:])) + changed[21:]


def moved_on(batch: bytes, offset: int) -> bytes:
    """The batch with one bit of its base offset flipped, if it is the wanted one. No CRC covers the base offset."""
    (base,) = struct.unpack_from(">q", batch)
    return struct.pack(">q", base | 32) + batch[8:] if base == offset else batch


def command(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env={**plain_environment(), **deployment.settings, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_odd_header_names_are_read_and_a_damaged_batch_holds_up_its_partition_only(
    simulator: SimulatorProbe, catalog: Catalog, tmp_path: Path
) -> None:
    data = tmp_path / "kafka"
    with (
        own_broker(LocalBroker(data=data)) as broker,
        deployed(
            broker.bootstrap_servers, simulator, catalog, tmp_path, SYNC_BACKOFF_BASE_SECONDS="0.05"
        ) as deployment,
    ):
        topic = deployment.pipeline.topic
        worker = deployment.worker().ready()
        odd, parked, spoilt = fresh_consumer("odd"), fresh_consumer("parked"), fresh_consumer("spoilt")
        deployment.publish_raw([record(new(fresh_consumer("first")))], partition=1)
        deployment.settled(worker, 1)
        worker.terminate()

        deployment.simulator.add_fault("http_503", consumerId=parked, times=3)
        in_odd = [record(new(odd)), record(new(parked)), (b"c", b"{}", [(NAME.decode(), b"1")])]
        deployment.publish_raw(in_odd, partition=0)
        deployment.publish_raw([record(new(fresh_consumer()))], partition=0)
        deployment.publish_raw([record(new(fresh_consumer()))], partition=1)
        (damaged,) = deployment.publish_raw([record(new(spoilt))], partition=1)
        deployment.publish_raw([record(new(fresh_consumer()))], partition=1)
        for partition in (2, 3):
            deployment.publish_raw([record(new(fresh_consumer()))], partition=partition)
        (moved,) = deployment.publish_raw([record(new(fresh_consumer()))], partition=3)
        deployment.publish_raw([record(new(fresh_consumer()))], partition=3)
        deployment.forget_producers()
        broker.stop()
        assert change_log(data, topic, 0, odd_names)
        mark = spoilt.encode()
        assert change_log(data, topic, 1, lambda batch: batch.replace(mark, mark[:-1] + b"?")) == 1
        assert change_log(data, topic, 3, lambda batch: moved_on(batch, moved.offset)) == 1
        broker.start()

        # All but the damaged batches and what is behind them.
        worker = deployment.worker()
        wait_for(lambda: worker.status("/api/kpi/totals")[0] == 200, worker.log_tail, READY_SECONDS)
        assert deployment.settled(worker, 8)["synced"] == 7
        (letter,) = deployment.dead_letters()
        assert letter.header(READABLE) == b"1"
        assert all(copy.header(READABLE) == b"1" for copy in deployment.retry_copies())
        assert deployment.retry_copies(), "nothing was parked"

        wait_for(
            lambda: "partition 3 of" in json.dumps(worker.status("/readyz")[1]),
            lambda: str(worker.status("/readyz")),
            SETTLE_SECONDS,
        )
        assert worker.status("/readyz")[0] == 503
        place = f"partition 1 of {topic} cannot be read from offset {damaged.offset} on"
        assert place in json.dumps(worker.status("/readyz")[1])
        told_of = entries(worker, "a batch cannot be read; its partition waits, the others go on")
        assert {(entry["partition"], entry["offset"], entry["last"]) for entry in told_of} == {
            (1, damaged.offset, damaged.offset),
            (3, moved.offset, moved.offset),
        }
        assert len(told_of) == 2
        wait_for(
            lambda: place in " ".join(command(deployment, "status", "--json").stdout.split()),
            lambda: command(deployment, "status").stdout,
            SETTLE_SECONDS,
        )
        deployment.publish_raw([record(new(fresh_consumer()))], partition=2)
        deployment.settled(worker, 9)

        verified = command(deployment, "verify", "--since", "1h", "--json")
        assert "Traceback" not in verified.stderr, verified.stderr
        assert verified.stdout, verified.stderr
        assert json.loads(verified.stdout)

        # What its advice says.
        TopicChanges(deployment).delete_records(topic, {1: damaged.offset + 1, 3: moved.offset + 1})
        deployment.settled(worker, 11)
        assert sorted(told(worker)) == [(topic, 1, 1), (topic, 3, 1)]
        worker.ready()
        assert worker.running
