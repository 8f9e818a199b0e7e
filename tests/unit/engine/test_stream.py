"""The Faust app is what we say it is, whatever else stands in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.engine.stream import Stream
from tests.unit.engine.world import World


async def test_faust_takes_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "WEB_PORT": "0",
        "BROKER_URL": "kafka://elsewhere:9092",
        "PROCESSING_GUARANTEE": "exactly_once",
        "BROKER_COMMIT_INTERVAL": "3600",
        "TOPIC_PARTITIONS": "77",
    }.items():
        monkeypatch.setenv(name, value)
    world = World([])
    await world.start()
    await world.stop()
    stream = Stream(
        world.context,
        connection={"broker": "kafka://127.0.0.1:9", "broker_credentials": None},
        heartbeat_seconds=1.0,
        drain_seconds=5.0,
        on_alert=_ignore,
        data_dir=tmp_path,
    )
    conf = stream.app.conf
    assert [str(url) for url in conf.broker] == ["kafka://127.0.0.1:9"]
    assert conf.processing_guarantee.value == "at_least_once"
    assert (conf.broker_commit_interval, conf.topic_partitions) == (1.0, 1)


async def _ignore(_key: bytes | None, _value: bytes | None) -> None:
    pass
