"""A Faust program with one agent: sends a record with the settings of the environment and prints it when it is read."""

from __future__ import annotations

import asyncio
import sys

import faust

from app.kafka.clients import faust_connection
from app.settings import KafkaSettings, load
from app.settings.pipelines import pipeline_of


async def main(topic_name: str) -> None:
    settings = load(KafkaSettings)
    connection = faust_connection(settings)
    app = faust.App(
        pipeline_of(settings).group,
        broker=connection.broker,
        broker_credentials=connection.credentials,
        producer_max_request_size=connection.producer_max_request_size,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        store="memory://",
    )
    topic = app.topic(topic_name, key_serializer="raw", value_serializer="raw")
    back: asyncio.Queue[bytes] = asyncio.Queue()

    @app.agent(topic)
    async def take(stream) -> None:
        async for value in stream:
            await back.put(value)

    await app.start()
    try:
        await (await topic.send(key=b"k", value=b"sent by Faust"))
        async with asyncio.timeout(45):
            value = await back.get()
            while value != b"sent by Faust":
                value = await back.get()
        print(value.decode(), flush=True)
    finally:
        await app.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
