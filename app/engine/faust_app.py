"""The settings of Faust's app, each with its reason. Written against faust-streaming 0.15.3, pinned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faust

from app.settings import KafkaSettings

WEEK_SECONDS = 7 * 24 * 3600.0


def faust_app(
    group: str,
    kafka: KafkaSettings,
    *,
    connection: dict[str, Any],
    heartbeat_seconds: float,
    drain_seconds: float,
    data_dir: Path,
) -> faust.App:
    """An app that joins the consumer group.

    Args:
        connection: ``broker`` and ``broker_credentials``.
        heartbeat_seconds: interval of the group's heartbeats.
        drain_seconds: how long work in progress may take when partitions go away.
        data_dir: where Faust keeps its few files.
    """
    return faust.App(
        group,
        **connection,
        # Without this, Faust prefers what it finds in the environment (WEB_PORT, PROCESSING_GUARANTEE) to these values.
        env={},
        store="memory://",
        datadir=str(data_dir),
        web_enabled=False,
        autodiscover=False,
        topic_partitions=kafka.partitions,
        topic_replication_factor=kafka.replication,
        topic_disable_leader=True,
        # ``topics create`` makes the topics, with more settings than Faust knows.
        topic_allow_declare=False,
        table_standby_replicas=0,
        consumer_group_instance_id=kafka.instance_id,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=kafka.session_timeout_seconds,
        # How long a recovery may wait for Kafka; after that, Faust's task would end without a word. The timeout of a
        # single request is in broker_calls.py.
        broker_request_timeout=WEEK_SECONDS,
        broker_rebalance_timeout=max(60.0, drain_seconds + 30.0),
        broker_heartbeat_interval=heartbeat_seconds,
        # During an outage nothing is fetched for hours. That must not look like a stuck worker.
        broker_max_poll_interval=WEEK_SECONDS,
        broker_commit_interval=1.0,
        broker_commit_livelock_soft_timeout=WEEK_SECONDS,
        stream_processing_timeout=WEEK_SECONDS,
        broker_max_poll_records=500,
        # ``LedgerConsumer`` drains.
        stream_wait_empty=False,
    )
