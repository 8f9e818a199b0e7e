"""Where the assigned partitions end, as their brokers say every two seconds.

A consumer that reads nothing looks like one that has nothing to read; only the ends tell them apart (``watchdog.py``).
The question is ListOffsets over aiokafka's own connections (0.14.0).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, OffsetResetStrategy
from aiokafka.errors import KafkaError, NoError, for_code
from aiokafka.protocol.offset import OffsetRequest
from faust.types import TP

# Between two questions to a broker.
ASK_SECONDS = 2.0
# An answer is valid this long.
VALID_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class End:
    """Where a partition ends: for readers of committed records only (the last stable offset), and the log itself.

    ``at``: monotonic seconds.
    """

    stable: int
    log: int
    at: float


class PartitionEnds:
    """Asks for the ends in the consumer's thread. ``known`` may be read from any thread: it is replaced as a whole."""

    def __init__(self) -> None:
        self.known: Mapping[TP, End] = {}
        self._asking: dict[int, asyncio.Task[None]] = {}  # by broker

    def ask(self, consumer: Any) -> None:
        """Ask every broker for the ends of the partitions that it leads. No broker waits for another."""
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        tps = assignment.tps if assignment is not None else frozenset()
        self.known = {tp: end for tp, end in self.known.items() if tp in tps}
        by_leader: dict[int, list[Any]] = {}
        for tp in tps:
            leader = consumer._client.cluster.leader_for_partition(tp)
            if leader is not None and leader >= 0:
                by_leader.setdefault(leader, []).append(tp)
        for leader, led in by_leader.items():
            asked = self._asking.get(leader)
            if asked is None or asked.done():
                self._asking[leader] = asyncio.create_task(self._ask_leader(consumer._client, leader, led))

    def latest(self, tp: TP) -> End | None:
        """What the broker said about a partition, while it is valid."""
        end = self.known.get(tp)
        return end if end is not None and time.monotonic() - end.at < VALID_SECONDS else None

    async def _ask_leader(self, client: Any, leader: int, tps: list[Any]) -> None:
        at = time.monotonic()
        topics: dict[str, list[tuple[int, int]]] = {}
        for tp in tps:
            topics.setdefault(tp.topic, []).append((tp.partition, OffsetResetStrategy.LATEST))
        with contextlib.suppress(KafkaError):  # the watchdog reports an end that is not known
            stable = _offsets(await client.send(leader, OffsetRequest(-1, READ_COMMITTED, list(topics.items()))))
            last = _offsets(await client.send(leader, OffsetRequest(-1, READ_UNCOMMITTED, list(topics.items()))))
            found = {tp: End(stable[tp], last[tp], at) for tp in stable.keys() & last.keys()}
            self.known = {**self.known, **found}


def _offsets(response: Any) -> dict[TP, int]:
    """The offsets of a ListOffsets answer, without the partitions that were refused."""
    return {
        TP(topic, partition): offset
        for topic, partitions in response.topics
        for partition, code, _, offset in partitions
        if for_code(code) is NoError
    }
