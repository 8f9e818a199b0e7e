"""The floor: what reading Kafka in key order and posting costs in Python when nothing but offsets is durable."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque

import uvloop
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from app.kafka.clients import aiokafka_config
from app.settings import KafkaSettings, load
from app.settings.pipelines import pipeline_of
from bench.programs.post import IN_FLIGHT, StaticPost, until_terminated

# As many as the engine takes ahead, so that both find as many different keys.
TAKEN_PER_SLOT = 4
COMMIT_SECONDS = 1.0


class Floor:
    """One lane per key, ``IN_FLIGHT`` posts at a time, the lowest open offset committed every second."""

    def __init__(self, consumer: AIOKafkaConsumer, post: StaticPost) -> None:
        self._consumer = consumer
        self._post = post
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._room = asyncio.Semaphore(TAKEN_PER_SLOT * IN_FLIGHT)
        self._lanes: dict[bytes, deque[ConsumerRecord]] = {}
        self._open: dict[TopicPartition, dict[int, None]] = defaultdict(dict)  # in offset order
        self._next: dict[TopicPartition, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self) -> None:
        """Hand records to their lanes, for ever."""
        while True:
            for partition, records in (await self._consumer.getmany(timeout_ms=1000, max_records=500)).items():
                for record in records:
                    await self._room.acquire()
                    self._open[partition][record.offset] = None
                    self._next[partition] = record.offset + 1
                    if lane := self._lanes.get(record.key):
                        lane.append(record)
                    else:
                        self._lanes[record.key] = deque((record,))
                        task = asyncio.create_task(self._run(record.key, partition))
                        self._tasks.add(task)
                        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: bytes, partition: TopicPartition) -> None:
        lane = self._lanes[key]
        while lane:
            async with self._slots:
                await self._post()
            del self._open[partition][lane.popleft().offset]
            self._room.release()
        del self._lanes[key]

    async def commit(self) -> None:
        """What is done and has nothing open below it."""
        offsets = {tp: next(iter(self._open[tp]), following) for tp, following in self._next.items()}
        if offsets:
            await self._consumer.commit(offsets)

    async def commit_often(self) -> None:
        """Every second, for ever."""
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self.commit()


async def main() -> None:
    """Until SIGTERM."""
    kafka = load(KafkaSettings)
    pipeline = pipeline_of(kafka)
    consumer = AIOKafkaConsumer(
        pipeline.topic,
        **aiokafka_config(kafka),
        group_id=pipeline.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with StaticPost() as post:
        await consumer.start()
        floor = Floor(consumer, post)
        running = [asyncio.create_task(floor.take()), asyncio.create_task(floor.commit_often())]
        terminated = asyncio.create_task(until_terminated())
        await asyncio.wait((*running, terminated), return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            if task.done():
                task.result()
            task.cancel()
        await floor.commit()
        await consumer.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
