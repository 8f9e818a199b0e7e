"""What the consumer's thread makes of refusals, unreadable records, tasks that have ended, and a name that is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    CommitFailedError,
    CorruptRecordException,
    GroupAuthorizationFailedError,
    KafkaError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
)
from faust.types import TP

from app.engine.client_tasks import check_client_tasks
from app.engine.consumer_thread import LedgerConsumerThread
from app.engine.context import EngineStopped
from app.engine.fetching import Fetching
from app.engine.heartbeat import REPLACED_SECONDS, Heartbeat
from app.engine.lease import Lease
from app.engine.rights import Rights
from app.engine.unreadable import AGAIN_SECONDS, Batch, Unreadable

ONE, OTHER = TP("main", 0), TP("retry", 0)


class Fetcher:
    """Has ``records`` for some partitions and an error for others."""

    def __init__(self, records: dict[TP, list[int]], errors: dict[TP, Exception]) -> None:
        self._records, self._errors = records, errors
        self._subscriptions = SimpleNamespace(fetch_context=nullcontext)
        self._closed = False
        self._fetch_task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked: list[TP] = []
        self.notified = False
        self._wait_consume_future = None

    def _notify(self, future: object) -> None:
        self.notified = True

    async def fetched_records(
        self,
        tps: tuple[TP, ...],
        timeout: float = 0,
        max_records: int | None = None,
    ) -> dict[TP, list[int]]:
        self.asked += tps
        for tp in tps:
            if tp in self._errors:
                raise self._errors[tp]
        return {tp: self._records.pop(tp) for tp in tps if tp in self._records}


class Group:
    """A group coordinator: an error that it holds, and whether it was made to join again."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.joins = 0
        self._coordination_task: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def check_errors(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    def request_rejoin(self) -> None:
        self.joins += 1


class Setup:
    """A thread without Faust's machinery."""

    def __init__(self, records: dict[TP, list[int]] | None = None, errors: dict[TP, Exception] | None = None) -> None:
        self.fetcher, self.group = Fetcher(records or {}, errors or {}), Group()
        self.committing: Callable[[], None] = lambda: None
        loop = asyncio.get_running_loop()
        self.client = SimpleNamespace(_sync_task=loop.create_future())
        self.consumer = SimpleNamespace(
            _fetcher=self.fetcher,
            _coordinator=self.group,
            _client=self.client,
            _closed=False,
            commit=self._commit,
            _subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=self)),
        )
        self.now = 0.0
        self.rights, self.unreadable = Rights(), Unreadable(lambda: self.now)
        self.fetching = Fetching(self.rights, self.unreadable, lambda tp: tp.topic == "state")
        self.thread = thread = LedgerConsumerThread.__new__(LedgerConsumerThread)
        thread.rights, thread.fetching, thread.request_seconds = self.rights, self.fetching, 1.0
        thread._consumer = self.consumer
        thread.consumer = SimpleNamespace(flow_active=True)
        self.positions = {ONE: 7, OTHER: 0}
        thread.assignment = lambda: {ONE, OTHER}

    def state_value(self, tp: TP) -> object:
        if tp not in self.positions:
            return None
        return SimpleNamespace(position=self.positions[tp], has_valid_position=True)

    async def _commit(self, offsets: object) -> None:
        self.committing()

    async def fetch(self, *tps: TP) -> dict[TP, list[Any]]:
        return await self.thread._fetch_records(self.consumer, set(tps), 0.0, 100)


async def test_a_refusal_for_one_topic_loses_nothing_of_another_and_is_not_asked_for_again_at_once() -> None:
    setup = Setup({OTHER: [1, 2]}, {ONE: TopicAuthorizationFailedError("main")})
    assert await setup.fetch(ONE, OTHER) == {OTHER: [1, 2]}
    assert setup.rights.missing() == ["the right READ on topic main is missing"]
    setup.fetcher.asked.clear()
    await setup.fetch(ONE, OTHER)
    assert ONE not in setup.fetcher.asked
    setup.fetching._refused_until["main"] = 0.0
    await setup.fetch(ONE, OTHER)
    assert ONE in setup.fetcher.asked


@pytest.mark.parametrize("error", [CorruptRecordException("crc"), RecordTooLargeError("large"), ValueError("codec")])
async def test_records_that_cannot_be_read_end_the_worker_by_name(error: Exception) -> None:
    setup = Setup(errors={ONE: error})
    with pytest.raises(EngineStopped, match="partition 0 of main cannot be read"):
        await setup.fetch(ONE)


async def test_a_partition_whose_next_batch_cannot_be_read_waits_and_the_others_go_on() -> None:
    setup = Setup({OTHER: [1, 2]})
    setup.fetching.cannot_be_read(ONE, Batch(7, 9, 7), "Invalid CRC")
    assert await setup.fetch(ONE, OTHER) == {OTHER: [1, 2]}
    assert ONE not in setup.fetcher.asked
    why = setup.unreadable.why(ONE)
    assert why is not None
    assert "partition 0 of main cannot be read from offset 7 on: the batch of offsets 7 to 9 is damaged" in why
    assert "kafka-delete-records up to offset 10" in why
    assert setup.unreadable.reasons([ONE, OTHER]) == [why]

    # What was fetched of it meanwhile may be as old as the damage.
    setup.now = AGAIN_SECONDS
    setup.fetcher._records[ONE] = [7]
    await setup.fetch(ONE, OTHER)
    assert (ONE in setup.fetcher.asked, ONE in setup.fetcher._records, setup.fetcher.notified) == (True, False, True)
    assert setup.unreadable.why(ONE) == why, "nothing was read yet"
    setup.fetcher._records[ONE], setup.positions[ONE] = [7, 8], 9
    assert await setup.fetch(ONE, OTHER) == {ONE: [7, 8]}
    assert setup.unreadable.reasons([ONE, OTHER]) == []


@pytest.mark.parametrize("positions", [{ONE: 10}, {}])
async def test_what_cannot_be_read_is_forgotten_when_its_place_is_given_up_or_its_partition_goes(
    positions: dict[TP, int],
) -> None:
    setup = Setup({ONE: [10]})
    setup.fetching.cannot_be_read(ONE, Batch(7, 9, 7), "Invalid CRC")
    setup.positions = positions
    assert await setup.fetch(ONE) == {ONE: [10]}
    assert not setup.unreadable


async def test_a_state_topic_that_cannot_be_read_ends_the_worker_with_its_place() -> None:
    with pytest.raises(EngineStopped, match="partition 3 of state cannot be read from offset 7 on") as stopped:
        Setup().fetching.cannot_be_read(("state", 3), Batch(position=7), "Invalid CRC")
    assert "up to the first offset behind it" in str(stopped.value)


async def test_what_the_group_has_to_say_ends_no_fetch() -> None:
    setup = Setup(errors={ONE: KafkaError("of the coordinator")})
    assert await setup.fetch(ONE) == {}


@pytest.mark.parametrize("error", [GroupAuthorizationFailedError("sync"), KafkaError("something else")])
async def test_an_error_that_the_group_holds_is_taken_from_it_and_the_group_joined_again(error: KafkaError) -> None:
    setup = Setup()
    check_client_tasks(setup.consumer, setup.rights)
    assert setup.group.joins == 0
    setup.group.error = error
    check_client_tasks(setup.consumer, setup.rights)
    assert setup.group.joins == 1
    assert bool(setup.rights.missing()) == isinstance(error, GroupAuthorizationFailedError)


@pytest.mark.parametrize("which", ["fetcher", "group coordinator", "metadata"])
async def test_a_task_that_has_ended_is_named(which: str) -> None:
    setup = Setup()
    task = {
        "fetcher": setup.fetcher._fetch_task,
        "group coordinator": setup.group._coordination_task,
        "metadata": setup.client._sync_task,
    }[which]
    task.set_result(None)
    with pytest.raises(EngineStopped, match=which):
        check_client_tasks(setup.consumer, setup.rights)


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (None, []),
        (GroupAuthorizationFailedError("sync"), ["the right READ on group sync is missing"]),
        (TopicAuthorizationFailedError({"main"}), ["the right READ on topic main is missing"]),
        (CommitFailedError("rebalanced"), []),
    ],
)
async def test_a_commit_that_is_refused_is_not_accepted_and_ends_nothing(
    error: KafkaError | None, missing: list[str]
) -> None:
    setup = Setup()

    def refuse() -> None:
        if error is not None:
            raise error

    setup.committing = refuse
    assert await setup.thread._commit({ONE: 3}) == (error is None)
    assert setup.rights.missing() == missing


async def test_a_name_that_another_worker_takes_twice_ends_this_one() -> None:
    heartbeat = Heartbeat(Lease(3.0), dict, session_seconds=6.0)
    heartbeat.expelled(None)
    assert heartbeat._replaced_at is None  # a member without a name is expelled for other reasons
    heartbeat.expelled("one")
    assert heartbeat.failure is None
    heartbeat._replaced_at -= REPLACED_SECONDS  # type: ignore[operator]
    heartbeat.expelled("one")
    assert heartbeat.failure is None
    heartbeat.expelled("one")
    assert "KAFKA_INSTANCE_ID=one" in str(heartbeat.failure)
