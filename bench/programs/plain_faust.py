"""Faust as its documentation shows it: ``async for`` over the stream, one event at a time."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import faust
import uvloop

from app.kafka.clients import faust_connection
from app.settings import KafkaSettings, load
from app.settings.pipelines import pipeline_of
from bench.programs.post import StaticPost, until_terminated


async def main() -> None:
    """Until SIGTERM."""
    kafka = load(KafkaSettings)
    pipeline = pipeline_of(kafka)
    connection = faust_connection(kafka)
    async with StaticPost() as post:
        app = faust.App(
            pipeline.group,
            broker=connection.broker,
            env={},
            store="memory://",
            datadir=os.environ["DATA_DIR"],
            web_enabled=False,
            autodiscover=False,
            topic_partitions=kafka.partitions,
            topic_disable_leader=True,
            topic_allow_declare=False,
            consumer_auto_offset_reset="earliest",
        )
        raw: dict[str, Any] = {
            "key_type": bytes,
            "value_type": bytes,
            "key_serializer": "raw",
            "value_serializer": "raw",
        }

        async def handle(stream: Any) -> None:
            async for _ in stream:
                await post()

        app.agent(app.topic(pipeline.topic, **raw), name="handle")(handle)
        app.finalize()
        await app.start()
        await until_terminated()
        await app.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
