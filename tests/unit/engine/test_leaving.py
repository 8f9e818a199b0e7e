"""Commits and goodbyes: what a stop, a rebalance and a heartbeat's proof may do while another of them is under way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiokafka.errors import KafkaError, NotCoordinatorForGroupError
from aiokafka.protocol.group import LeaveGroupRequest
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP

from app.engine import consumer as engine_consumer
from app.engine import consumer_thread, leaving
from app.engine.consumer import LedgerConsumer
from app.engine.consumer_thread import LedgerConsumerThread
from app.engine.continuity import Continuity
from app.engine.ledger import Ledger
from app.kafka import durable_producer as engine_producer
from app.kafka.durable_producer import DurableProducer

MAIN = TP("main", 0)


class Broker:
    """Takes commits, when it is there; ``faust`` unset: Faust's part of a rebalance takes its time. ``order``: what
    happened."""

    def __init__(self) -> None:
        self.there, self.faust = asyncio.Event(), asyncio.Event()
        self.there.set()
        self.faust.set()
        self.order: list[str] = []


class Drain:
    """Ownership, as far as a consumer needs it here; its drain takes until ``over`` is set."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.over = asyncio.Event()
        self.over.set()

    def shut(self) -> None:
        self._broker.order.append("shut")

    async def drain(self) -> None:
        await self.over.wait()
        self._broker.order.append("drained")


class Consumer(LedgerConsumer):
    """A consumer without Faust's machinery around it. ``settled``: what may be committed."""

    def __init__(self, broker: Broker) -> None:
        self.settled = 20
        self._ownership = Drain(broker)
        self._ledger = Ledger()
        self._ledger.fetched((MAIN.topic, MAIN.partition), [17, 18, 19])
        self._asked = {}
        self._not_accepted = set()
        self._continuity = Continuity(self._ownership, {}, set(), self._undo)
        self._rebalancing = asyncio.Lock()
        self._left = False
        self._commit_fut = None
        self._committed_offset = {MAIN: 17}
        self._unacked_messages = set()
        self.app = SimpleNamespace(should_stop=False, client_only=False)
        self.loop = asyncio.get_running_loop()

    def assignment(self) -> set[TP]:
        return {MAIN}

    def _is_changelog_tp(self, tp: TP) -> bool:
        return False

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        if not list(self._filter_tps_with_pending_acks()):
            return False
        offsets = {MAIN: self.settled}
        await self._commit(offsets)
        self._committed_offset.update(offsets)
        return True


@pytest.fixture
async def broker() -> Broker:
    return Broker()


@pytest.fixture
async def consumer(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Consumer:
    async def commit(consumer: Consumer, offsets: dict[TP, int]) -> bool:
        await broker.there.wait()
        broker.order.append(f"committed {offsets[MAIN]}")
        return True

    async def revoked(consumer: Consumer, revoked: set[TP]) -> None:
        await broker.faust.wait()
        broker.order.append("revoked")

    async def assigned(consumer: Consumer, assigned: set[TP], generation_id: int) -> None:
        broker.order.append("assigned")

    monkeypatch.setattr(FaustConsumer, "on_partitions_revoked", revoked)
    monkeypatch.setattr(FaustConsumer, "on_partitions_assigned", assigned)
    monkeypatch.setattr("faust.transport.consumer.ThreadDelegateConsumer._commit", commit)
    return Consumer(broker)


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_proof_does_not_take_back_a_commit_that_is_still_under_way(broker: Broker, consumer: Consumer) -> None:
    assert consumer.committed_again() == {MAIN: 17}
    broker.there.clear()
    commit = asyncio.create_task(consumer.commit())
    await turns()
    assert consumer.committed_again() == {MAIN: 20}
    broker.there.set()
    await commit
    assert consumer.committed_again() == {MAIN: 20}


async def test_what_was_asked_for_in_one_generation_is_no_proof_in_the_next(consumer: Consumer) -> None:
    await consumer.commit()
    await consumer.on_partitions_revoked({MAIN})
    assert consumer.committed_again() == {}
    consumer._committed_offset[MAIN] = 20  # a straggler of the generation before
    consumer._asked[MAIN] = 20
    await consumer.on_partitions_assigned({MAIN}, 4)
    assert consumer.committed_again() == {}
    consumer._committed_offset[MAIN] = 18  # as it is read anew
    assert consumer.committed_again() == {MAIN: 18}


async def test_partitions_go_drained_and_committed(broker: Broker, consumer: Consumer) -> None:
    await consumer.on_partitions_revoked({MAIN})
    assert broker.order == ["drained", "committed 20", "revoked"]


async def test_the_last_commit_is_not_mistaken_for_one_that_began_before_the_drain_ended(
    broker: Broker, consumer: Consumer
) -> None:
    broker.there.clear()
    older = asyncio.create_task(consumer.commit())
    leaving = asyncio.create_task(consumer.leave())
    await turns()
    consumer.settled = 25
    broker.there.set()
    await asyncio.gather(older, leaving)
    assert broker.order == ["drained", "committed 20", "committed 25"]


async def test_a_rebalance_after_the_goodbye_brings_nothing_new(broker: Broker, consumer: Consumer) -> None:
    await consumer.leave()
    broker.order.clear()
    consumer.app.should_stop = True
    broker.there.clear()  # the thread may have ended: nothing may be asked of it
    async with asyncio.timeout(5):
        await consumer.on_partitions_revoked({MAIN})
        await consumer.on_partitions_assigned({MAIN}, 4)
    assert broker.order == ["drained"]
    consumer.app.consumer_generation_id = 4
    assert not consumer._belongs_to(4)


async def test_a_rebalance_after_a_crash_of_faust_is_not_its_affair(broker: Broker, consumer: Consumer) -> None:
    consumer.app.should_stop = True
    await consumer.on_partitions_revoked({MAIN})
    # Faust closes the consumer from the wrong thread when it hears of a rebalance after its end.
    assert broker.order == ["drained"]


async def test_a_rebalance_during_the_stop_waits_for_the_work_under_way(broker: Broker, consumer: Consumer) -> None:
    consumer._ownership.over.clear()
    stop = asyncio.create_task(consumer.leave())
    await turns()
    rebalance = asyncio.create_task(consumer.on_partitions_revoked({MAIN}))
    await turns()
    assert not rebalance.done(), "others would get the partitions while calls are under way here"
    consumer._ownership.over.set()
    await asyncio.gather(stop, rebalance)
    assert broker.order == ["drained", "drained", "committed 20"]
    assert consumer.committed_again() == {}, "offsets of this generation would be committed in the next one"
    assert consumer._ledger.partitions() == []


async def test_a_commit_that_falls_into_a_rebalance_leaves_nothing_for_the_next_generation(
    broker: Broker, consumer: Consumer
) -> None:
    broker.faust.clear()
    rebalance = asyncio.create_task(consumer.on_partitions_revoked({MAIN}))
    await turns()
    # Faust's part takes its time: the commit of every second finds nothing any more, and no offset that it may repeat.
    assert list(consumer._filter_tps_with_pending_acks()) == []
    assert consumer.committed_again() == {}
    broker.faust.set()
    await rebalance


async def test_a_stop_waits_for_the_rebalance_that_is_under_way(broker: Broker, consumer: Consumer) -> None:
    broker.faust.clear()
    rebalance = asyncio.create_task(consumer.on_partitions_revoked({MAIN}))
    await turns()
    stop = asyncio.create_task(consumer.leave())
    await turns()
    assert not stop.done()
    broker.faust.set()
    await asyncio.gather(rebalance, stop)
    assert broker.order == ["drained", "committed 20", "drained", "revoked"]


async def test_a_stop_does_not_wait_for_a_broker_that_is_away(
    broker: Broker, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_consumer, "LAST_COMMIT_SECONDS", 0.01)
    broker.there.clear()
    rebalance = asyncio.create_task(consumer.on_partitions_revoked({MAIN}))
    await turns()
    async with asyncio.timeout(5):
        await consumer.leave()
        await consumer.on_stop()
    consumer.app.should_stop = True
    broker.there.set()
    await rebalance
    assert "revoked" not in broker.order


async def test_a_last_commit_that_is_refused_ends_no_rebalance(
    broker: Broker, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*args: Any, **kwargs: Any) -> bool:
        raise KafkaError

    monkeypatch.setattr(consumer, "force_commit", refused)
    await consumer.on_partitions_revoked({MAIN})
    assert broker.order == ["drained", "revoked"]


class Client:
    """Kafka's client of a consumer: what was sent, and whether it was closed."""

    def __init__(self, error: Exception | int | None) -> None:
        self.error = error
        self.sent: list[tuple[int, str]] = []
        self.closed = False

    async def send(self, node: int, request: LeaveGroupRequest) -> SimpleNamespace:
        self.sent.append((node, request._member_id))
        if isinstance(self.error, Exception):
            raise self.error
        return SimpleNamespace(error_code=self.error or 0)

    async def close(self) -> None:
        self.closed = True
        await asyncio.Event().wait()  # TLS waits for the other side


@pytest.mark.parametrize("end", ["stuck", "cancelled"])
@pytest.mark.parametrize(
    ("node", "instance", "error", "sent", "warned"),
    [
        (7, None, None, [(7, "member")], False),
        (7, None, KafkaError(), [(7, "member")], True),
        (7, None, TimeoutError(), [(7, "member")], True),
        (7, None, NotCoordinatorForGroupError.errno, [(7, "member")], True),
        (None, None, None, [], True),
        (7, "pod-1", None, [], False),
    ],
)
async def test_the_thread_ends_also_when_the_group_does_not_let_it_go(
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    node: int | None,
    instance: str | None,
    error: Exception | int | None,
    sent: list[tuple[int, str]],
    warned: bool,
) -> None:
    async def stop(thread: LedgerConsumerThread) -> None:
        coordinator.member_id = ""
        if end == "cancelled":
            raise asyncio.CancelledError
        await asyncio.Event().wait()

    monkeypatch.setattr(leaving, "GOODBYE_SECONDS", 0.01)
    monkeypatch.setattr(leaving, "LAST_WORD_SECONDS", 0.01)
    monkeypatch.setattr(consumer_thread.AIOKafkaConsumerThread, "on_thread_stop", stop)
    coordinator = SimpleNamespace(
        member_id="member", group_id="group", coordinator_id=node, _group_instance_id=instance
    )
    client = Client(error)
    thread = LedgerConsumerThread.__new__(LedgerConsumerThread)
    thread._consumer = SimpleNamespace(_client=client, _coordinator=coordinator)
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(5):
            await thread.on_thread_stop()
    assert client.closed
    assert client.sent == sent
    assert ("without leaving" in str(logs)) == warned


@pytest.mark.parametrize("started", ["not at all", "without a coordinator"])
async def test_a_thread_that_never_met_the_group_just_ends(monkeypatch: pytest.MonkeyPatch, started: str) -> None:
    ended = []

    async def stop(thread: LedgerConsumerThread) -> None:
        ended.append(thread)

    monkeypatch.setattr(consumer_thread.AIOKafkaConsumerThread, "on_thread_stop", stop)
    thread = LedgerConsumerThread.__new__(LedgerConsumerThread)
    thread._consumer = None if started == "not at all" else SimpleNamespace(_coordinator=None)
    await thread.on_thread_stop()
    assert ended == [thread]


async def test_an_error_of_the_end_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stop(thread: LedgerConsumerThread) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(consumer_thread.AIOKafkaConsumerThread, "on_thread_stop", stop)
    thread = LedgerConsumerThread.__new__(LedgerConsumerThread)
    thread._consumer = SimpleNamespace(_coordinator=None)
    with pytest.raises(RuntimeError, match="bug"):
        await thread.on_thread_stop()


async def test_a_producer_without_a_broker_stops_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(engine_producer, "STOP_SECONDS", 0.01)
    monkeypatch.setattr(engine_producer, "CLOSE_SECONDS", 0.01)
    client = Client(None)
    producer = DurableProducer({"enable_idempotence": True})
    producer._producer = SimpleNamespace(stop=never, client=client)
    async with asyncio.timeout(5):
        await producer.stop()
    assert client.closed
