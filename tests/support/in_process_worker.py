"""Settings of a worker that runs in the test's own process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.settings import KafkaSettings, WorkerSettings
from app.settings.pipelines import pipeline_of
from tests.support.worker_process import plain_environment


def in_process_settings(kafka: KafkaSettings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerSettings:
    """Settings of a worker without a target: it can start, but must not write anything."""
    pipeline = pipeline_of(kafka)
    for name in os.environ.keys() - plain_environment().keys():
        monkeypatch.delenv(name)
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC": pipeline.topic,
        "KAFKA_GROUP": pipeline.group,
        "KAFKA_PARTITIONS": str(kafka.partitions),
        "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
        "CMT_TIMEOUT_SECONDS": "2",
        "CMT_AUTH_URL": "http://127.0.0.1:9",
        "CMT_CLIENT_ID": "id",
        "CMT_CLIENT_SECRET": "secret",
        "WEB_AUTH": "off",
        "WEB_PORT": "0",
        "DATA_DIR": str(folder),
    }.items():
        monkeypatch.setenv(name, value)
    return WorkerSettings()
