"""Records compressed with any of Kafka's codecs, by the producer or by the broker: in the main topic and in our own."""

from __future__ import annotations

import json

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from app.kafka.codecs import CODECS
from tests.support.deployment import Deploy, Deployment
from tests.support.profiles import Event, fresh_consumer, new, pet, update
from tests.support.worker_process import wait_for


def record(event: Event) -> tuple[bytes, bytes, list[tuple[str, bytes | None]]]:
    # librdkafka sends a batch uncompressed where compressing does not make it smaller.
    return str(event["consumerId"]).encode(), json.dumps(event).encode(), [("trace", b"a" * 2_000)]


def compress(deployment: Deployment, **codecs: str) -> None:
    """Have the broker compress all later records. ``codecs``: by topic."""
    resources = []
    for name, codec in codecs.items():
        topic = ConfigResource(ConfigResource.Type.TOPIC, getattr(deployment.pipeline, name))
        topic.add_incremental_config(
            ConfigEntry("compression.type", codec, incremental_operation=AlterConfigOpType.SET)
        )
        resources.append(topic)
    admin = AdminClient({"bootstrap.servers": deployment.kafka.bootstrap_servers})
    for answer in admin.incremental_alter_configs(resources).values():
        answer.result(20)


def test_every_codec_is_read_from_producers_and_from_every_topic_of_ours(deploy: Deploy) -> None:
    deployment = deploy(SYNC_BACKOFF_BASE_SECONDS="0.01")
    compress(
        deployment,
        retry_topic="lz4",
        dlq_topic="gzip",
        alerts_topic="snappy",
        state_topic="zstd",
        consumers_topic="snappy",
    )
    later, dead = fresh_consumer("later"), fresh_consumer("dead")
    deployment.simulator.add_fault("http_503", consumerId=later, times=3)  # no repeats within the call help
    deployment.simulator.add_fault("row_error", consumerId=dead, dataExtension="CMT_Consumer")
    first = deployment.worker().ready()
    for codec in CODECS:
        events = [new(fresh_consumer(codec), pet=[pet("p1", Breed="x" * 500)]) for _ in range(4)]
        deployment.publish_raw(map(record, events), compression=codec)
    deployment.publish_raw(record(new(consumer)) for consumer in (later, dead))
    settled = 4 * len(CODECS) + 2
    totals = deployment.settled(first, settled)
    assert (totals["synced"], totals["failed"]) == (settled - 1, 1)
    assert deployment.retry_copies(), "nothing came through the retry topic"
    assert len(deployment.dead_letters()) == 1
    wait_for(deployment.alerts_handled, first.log_tail, 30)
    first.terminate()

    # State, read model, alerts and all later events are read from compressed records.
    compress(deployment, topic="zstd")
    second = deployment.worker().ready()
    assert second.totals() == totals
    deployment.publish_raw([record(update(later, name="Eve"))])
    assert deployment.settled(second, settled + 1)["synced"] == settled
