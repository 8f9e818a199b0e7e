"""Events of different producers, which disagree about the partition of a key."""

from __future__ import annotations

import json

from aiokafka import AIOKafkaProducer

from app.profile.entities import EntityType
from tests.support.deployment import Deployment
from tests.support.profiles import fresh_consumer, fresh_market, new, pet, update
from tests.support.worker_process import WorkerProcess


async def test_events_of_confluent_kafka_and_aiokafka_are_synced_alike(
    shared: Deployment, worker: WorkerProcess
) -> None:
    market = fresh_market()
    consumers = [fresh_consumer() for _ in range(24)]
    # librdkafka's default: CRC32 of the key.
    first = shared.publish(
        *(new(consumer, market, pet=[pet("p1")]) for consumer in consumers), partitioner="consistent_random"
    )
    assert shared.market_counts(worker, market, events=24) == {"synced": 24}

    # aiokafka's default: murmur2, as Java's.
    moved = []
    async with AIOKafkaProducer(bootstrap_servers=shared.kafka.bootstrap_servers) as producer:
        for consumer, before in zip(consumers, first, strict=True):
            event = update(consumer, market, name="Eve", pet=[pet("p2")])
            sent = await producer.send_and_wait(shared.pipeline.topic, json.dumps(event).encode(), consumer.encode())
            moved.append(sent.partition != before.partition)
    assert any(moved), "both clients chose the same partitions, so nothing was proven"
    assert not all(moved)
    assert shared.market_counts(worker, market, events=48) == {"synced": 48}
    for consumer in consumers:
        held = shared.simulator.rows(shared.catalog, consumer)
        assert held[EntityType.CONSUMER][(consumer,)]["FirstName"] == "Eve"
        assert list(held[EntityType.PET]) == [(consumer, "p2")]
        view = worker.consumer(consumer)
        assert view is not None
        assert [one["operation"] for one in view["recent"]] == ["UPDATE", "NEW"]
        assert view["market"] == market
