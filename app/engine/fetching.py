"""How records are taken from aiokafka's fetcher: a fair share of each partition, and no partition fails another one.

aiokafka hands out one prefetched batch before it looks at the next. With a backlog in the main topic, parked events
would wait a long time for their copies. So every partition is asked for up to ``FAIR_SHARE`` records per round.

* A right that is missing for one topic leaves the records of the others alone, and the fetcher goes on.
* A partition whose next batch is damaged waits (``unreadable.py``).
* The leader epochs of an answer are noted, so that the worker knows when records come from another leader.

Written against aiokafka 0.14.0, pinned.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from aiokafka.errors import (
    ConsumerStoppedError,
    CorruptRecordException,
    KafkaError,
    NoOffsetForPartitionError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)
from faust.types import TP

from app.delivery.record import TopicPartition
from app.engine.batches import read_patiently
from app.engine.context import EngineStopped
from app.engine.rights import ASK_AGAIN_SECONDS, REFUSALS, Rights
from app.engine.unreadable import Batch, Unreadable, description

# Records of one partition in one round of fetching.
FAIR_SHARE = 100

# How long the broker may hold back an empty answer. A broker answers the requests of a connection in order, so the
# ListOffsets request of a take-over waits behind a fetch. With Faust's 1.5 s every take-over would take that much
# longer.
FETCH_WAIT_MS = 200

# After these errors aiokafka would skip a record, or read the same records for ever.
_UNREADABLE = (CorruptRecordException, RecordTooLargeError, UnsupportedCodecError, NoOffsetForPartitionError)


class Fetching:
    """Takes fetched records. Used in the consumer's thread.

    Args:
        is_state_topic: whether a partition belongs to a state topic, which must be read without a gap.

    ``other_leader``: partitions whose next records may come from another leader than those before.
    """

    def __init__(self, rights: Rights, unreadable: Unreadable, is_state_topic: Callable[[TP], bool]) -> None:
        self._rights = rights
        self._unreadable = unreadable
        self._is_state_topic = is_state_topic
        self._epochs: dict[TP, int] = {}  # the leader epoch of the last batch
        self._refused_until: dict[str, float] = {}  # by topic
        self.other_leader: set[TP] = set()

    def attach(self, fetcher: Any) -> None:
        """Set up aiokafka's fetcher."""
        fetcher._fetch_max_wait_ms = FETCH_WAIT_MS
        read_patiently(fetcher, self.cannot_be_read, self.written_under)

    async def fetch(
        self,
        consumer: Any,
        tps: set[TP],
        timeout: float | None,  # noqa: ASYNC109
        wait_for_any: Callable[[set[TP]], Awaitable[dict[TP, list[Any]]]],
    ) -> dict[TP, list[Any]]:
        """A fair share of each partition; waits if none has anything.

        Args:
            timeout: how long to wait, in seconds, if none of the partitions may be fetched.
            wait_for_any: aiokafka's own fetch, which waits for the first record.
        """
        fetcher = consumer._fetcher
        active = self._not_refused(tps)
        if self._unreadable:
            active = self._readable(consumer, active)
        drained: dict[TP, list[Any]] = {}
        with fetcher._subscriptions.fetch_context():
            for tp in active:
                with self._named_errors(tp):
                    drained.update(await fetcher.fetched_records((tp,), timeout=0, max_records=FAIR_SHARE))
        if not drained and active:
            with self._named_errors(None):
                drained = await wait_for_any(active)
        elif not active:
            await asyncio.sleep(timeout or 0.0)
        if self._unreadable:
            self._forget_what_was_read(consumer)
        return drained

    def written_under(self, tp: TopicPartition, epochs: Sequence[int]) -> None:
        """The first record of an answer is about to be handed over; these are the leader epochs of its batches.

        All batches of an answer come from one log, so it does not matter which of them has the other leader.
        """
        if len(epochs) > 1 or self._epochs.get(TP(*tp)) != epochs[0]:
            self.other_leader.add(TP(*tp))
        self._epochs[TP(*tp)] = epochs[-1]

    def cannot_be_read(self, tp: TopicPartition, batch: Batch, why: str) -> None:
        """A batch is damaged: its partition waits.

        Raises:
            EngineStopped: the partition belongs to a state topic.
        """
        if self._is_state_topic(TP(*tp)):
            raise EngineStopped(f"{description(tp, batch, why)}. The state is not complete without it")
        self._unreadable.note(tp, batch, why)

    def _readable(self, consumer: Any, active: set[TP]) -> set[TP]:
        """The partitions whose next batch can be read, or is due to be tried again.

        What was prefetched of a partition that is due is dropped: it may be as old as the damage.
        """
        self._forget_what_was_read(consumer)
        fetcher, readable = consumer._fetcher, set()
        for tp in active:
            if self._unreadable.waits(tp):
                continue
            if self._unreadable.due(tp) and fetcher._records.pop(tp, None) is not None:
                fetcher._notify(fetcher._wait_consume_future)
            readable.add(tp)
        return readable

    def _forget_what_was_read(self, consumer: Any) -> None:
        """Forget a damaged batch when the position has left it, or its partition is no longer assigned."""
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        for tp, position in self._unreadable.positions().items():
            state = assignment.state_value(tp) if assignment is not None else None
            if state is None or (state.has_valid_position and state.position != position):
                self._unreadable.over(tp)

    def _not_refused(self, tps: set[TP]) -> set[TP]:
        if not self._refused_until:
            return tps
        now = time.monotonic()
        self._refused_until = {topic: until for topic, until in self._refused_until.items() if until > now}
        return {tp for tp in tps if tp.topic not in self._refused_until}

    @contextlib.contextmanager
    def _named_errors(self, tp: TP | None) -> Iterator[None]:
        """Handle the errors of a fetch. Records that other partitions have handed over are kept."""
        try:
            yield
        except (ConsumerStoppedError, EngineStopped):
            raise
        except REFUSALS as error:
            self._rights.note(error)
            if isinstance(error, TopicAuthorizationFailedError):
                self._refused_until[error.args[0]] = time.monotonic() + ASK_AGAIN_SECONDS
        except Exception as error:
            if isinstance(error, KafkaError) and not isinstance(error, _UNREADABLE):
                return  # an error of the coordinator, which ``client_tasks.py`` handles
            where = "a partition" if tp is None else f"partition {tp.partition} of {tp.topic}"
            raise EngineStopped(
                f"records of {where} cannot be read ({error!r}), and nothing behind them would ever be. Look at the "
                "next record after the group's committed offset with Kafka's own tools; the worker stops rather than "
                "skip it"
            ) from error
