"""The journal: group commit, and what is durable when a caller goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import date
from typing import Any

import pytest

from app.delivery.consumer_record import ConsumerState, FullState, consumer_key, parse_consumer_key
from app.delivery.counts import Settlement
from app.delivery.dead_letter_record import DeadLetter, LetterStatus
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId
from app.delivery.outcome import Outcome
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.record import SourceRecord
from app.delivery.record_digest import RecordDigest
from app.delivery.record_format import partition_key
from app.delivery.verdict import Verdict
from app.engine import consumer_records
from app.engine.closing_days import Closing
from app.engine.commit_turns import AT_A_TIME, ENOUGH, Turn, Turns
from app.engine.consumer_records import ConsumerRecords
from app.engine.flow import StatesUnavailable
from app.engine.journal import Journal
from app.engine.letter_records import LetterRecords
from app.engine.letter_sources import KnownLetter
from app.engine.settled_digests import Pinned
from app.engine.state_log import StateLog
from app.profile.consumer_history import after_settling
from tests.unit.engine.fakes import FakeProducer, MemoryLetters, MemoryStates

STATE, CONSUMERS, LETTERS = "state", "consumers", "letters"


def settlement(number: int, consumer: str | None = None, outcome: Outcome = Outcome.SYNCED) -> Settlement:
    return Settlement(consumer or f"c{number}", f"e{number}", "NEW", "DE", "2026-11-21", outcome, full_state=True)


async def owned() -> None:
    """The partition is surely owned."""


def consumer_records_of(
    states: MemoryStates,
    producer: FakeProducer | None = None,
    *,
    partition: int = 2,
    epoch: int = 7,
    until_lease: Callable[[], Awaitable[None]] = owned,
) -> ConsumerRecords:
    return ConsumerRecords(
        partition,
        epoch,
        states,
        producer=producer or FakeProducer(),  # type: ignore[arg-type]
        topic=CONSUMERS,
        after_settling=after_settling,
        until_lease=until_lease,
    )


class Setup:
    """A journal of partition 2 in epoch 7, everything that it writes, and the tasks that it starts."""

    def __init__(
        self, state: PartitionState | None = None, states: MemoryStates | None = None, turns: Turns | None = None
    ) -> None:
        self.producer = FakeProducer()
        self.table: dict[bytes, bytes] = {}
        self.tasks: list[asyncio.Task[Any]] = []
        self.upto: int | None = None
        self.today = date(2026, 11, 21)
        self.asked: list[set[int]] = []
        self.lease = asyncio.Event()
        self.lease.set()
        self.journal = Journal(
            state or PartitionState(),
            StateLog(2, 7, self.producer, STATE, self.table),  # type: ignore[arg-type]
            consumer_records_of(states or MemoryStates(), self.producer),
            LetterRecords(2, 7, MemoryLetters(), producer=self.producer, topic=LETTERS, until_lease=owned),  # type: ignore[arg-type]
            until_lease=self.until_lease,
            progress=self,
            closing=Closing(400, 0.0, lambda: self.today),
            turn=Turn(turns or Turns()),
            spawn=lambda coroutine: self.tasks.append(asyncio.create_task(coroutine)),
        )

    async def until_lease(self) -> None:
        await self.lease.wait()

    def decided_upto(self, decided: Collection[int]) -> int | None:
        self.asked.append(set(decided))
        return self.upto

    def retry_from(self) -> int | None:
        return None

    def last(self) -> PartitionState:
        return PartitionState.decode(self.producer.of(STATE)[-1].value or b"")


async def test_a_change_is_durable_when_its_caller_goes_on() -> None:
    setup = Setup()
    await setup.journal.settle(4, settlement(4), dead_letter=False)
    assert setup.last().decided(4)
    assert setup.journal.state == setup.last()
    assert setup.table == {partition_key(2, 7): setup.producer.of(STATE)[-1].value}


async def test_nothing_counts_as_durable_before_the_broker_has_it() -> None:
    setup = Setup()
    setup.producer.hold()
    caller = asyncio.create_task(setup.journal.settle(4, settlement(4), dead_letter=False))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not caller.done()
    assert not setup.journal.state.decided(4)
    assert setup.table == {}
    setup.producer.release()
    await caller
    assert setup.journal.state.decided(4)


async def test_changes_that_come_up_during_a_write_share_the_next_one() -> None:
    setup = Setup()
    setup.producer.hold()
    callers = [asyncio.create_task(setup.journal.settle(n, settlement(n), dead_letter=False)) for n in range(50)]
    await asyncio.sleep(0)
    setup.producer.release()
    await asyncio.gather(*callers)
    assert len(setup.producer.of(STATE)) <= 2
    assert setup.last().counts["2026-11-21"]["DE"]["events"] == {"synced": 50}


async def test_a_small_write_waits_while_other_partitions_write_and_takes_with_it_what_comes_up_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.engine.commit_turns.WAIT_SECONDS", 3600.0)
    turns = Turns()
    writing = [Turn(turns) for _ in range(AT_A_TIME)]
    for turn in writing:
        await turn.begin(1)
    setup = Setup(turns=turns)
    callers = []
    for number in range(5):
        callers.append(asyncio.create_task(setup.journal.settle(number, settlement(number), dead_letter=False)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert setup.producer.written == []
    writing[0].end()
    await asyncio.wait_for(asyncio.gather(*callers), 5.0)
    assert len(setup.producer.of(STATE)) == 1


async def test_a_write_that_has_grown_large_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.commit_turns.WAIT_SECONDS", 3600.0)
    turns = Turns()
    for _ in range(AT_A_TIME):
        await Turn(turns).begin(1)
    setup = Setup(turns=turns)
    callers = []
    for number in range(ENOUGH):
        assert setup.producer.written == []
        callers.append(asyncio.create_task(setup.journal.settle(number, settlement(number), dead_letter=False)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*callers), 5.0)
    assert setup.last().counts["2026-11-21"]["DE"]["events"] == {"synced": ENOUGH}


async def test_a_failed_write_gives_its_turn_back() -> None:
    turns = Turns()
    for _ in range(2 * AT_A_TIME):
        setup = Setup(turns=turns)
        setup.producer.refused_topics.add(STATE)
        with pytest.raises(Exception, match="refused"):
            await setup.journal.settle(1, settlement(1), dead_letter=False)
        with pytest.raises(Exception, match="refused"):
            await setup.tasks[0]
    assert turns._under_way == 0


async def test_the_consumers_record_is_written_before_the_event_is_counted() -> None:
    setup = Setup()
    await setup.journal.settle(4, settlement(4), dead_letter=False)
    assert [write.topic for write in setup.producer.written] == [CONSUMERS, STATE]
    key = setup.producer.of(CONSUMERS)[0].key
    assert parse_consumer_key(key or b"") == (2, 7, "c4")


async def test_two_events_of_a_consumer_in_one_write_become_one_record_with_both() -> None:
    setup = Setup()
    setup.producer.hold()
    first = asyncio.create_task(setup.journal.settle(1, settlement(1), dead_letter=False))
    await asyncio.sleep(0)
    rest = [asyncio.create_task(setup.journal.settle(n, settlement(n, "same"), dead_letter=False)) for n in (2, 3)]
    await asyncio.sleep(0)
    setup.producer.release()
    await asyncio.gather(first, *rest)
    records = [write for write in setup.producer.of(CONSUMERS) if write.key == consumer_key(2, 7, "same")]
    assert len(records) == 1
    state = ConsumerState.decode(records[0].value or b"")
    assert [event.event_id for event in state.recent] == ["e3", "e2"]


async def test_the_record_of_an_earlier_owner_is_continued_and_its_key_removed() -> None:
    states = MemoryStates()
    earlier = Setup()
    await earlier.journal.settle(1, settlement(1, "c"), dead_letter=False)
    states.known[2, "c"] = (5, ConsumerState.decode(earlier.producer.of(CONSUMERS)[0].value or b""))
    setup = Setup(states=states)
    await setup.journal.settle(2, settlement(2, "c"), dead_letter=False)
    written, tombstone = setup.producer.of(CONSUMERS)
    assert [event.event_id for event in ConsumerState.decode(written.value or b"").recent] == ["e2", "e1"]
    assert (tombstone.key, tombstone.value) == (consumer_key(2, 5, "c"), None)


async def test_the_next_write_knows_what_the_follower_has_not_read_yet() -> None:
    setup = Setup()  # the follower knows nothing
    await setup.journal.settle(1, settlement(1, "c"), dead_letter=False)
    await setup.journal.settle(2, settlement(2, "c"), dead_letter=False)
    last = ConsumerState.decode(setup.producer.of(CONSUMERS)[-1].value or b"")
    assert [event.event_id for event in last.recent] == ["e2", "e1"]


async def test_decided_offsets_below_the_lowest_undecided_one_are_folded_into_upto() -> None:
    setup = Setup()
    await setup.journal.settle(3, settlement(3), dead_letter=False)
    setup.upto = 5
    await setup.journal.park(5, ParkedEvent("c"))
    assert setup.asked[-1] == {3, 5}
    assert (setup.last().upto, setup.last().decided_above) == (5, set())
    assert setup.last().parked == {5: ParkedEvent("c")}


async def test_life_of_a_parked_event_in_the_record() -> None:
    setup = Setup()
    failed = ParkedEvent("c", "e9", 1, 100, 50, 50, "CMT-TIMEOUT")
    await setup.journal.park(9, failed)
    again = ParkedEvent("c", "e9", 2, 200, 50, 150, "CMT-TIMEOUT")
    await setup.journal.note_attempt(9, again)
    assert setup.last().parked == {9: again}
    given_up = settlement(9, "c", Outcome.FAILED)
    verdict = Verdict(given_up, "masked", 50, 250, alert=True)
    await setup.journal.give_up(9, verdict)
    assert setup.last().verdicts == {9: verdict}
    assert setup.last().counts == {}
    await setup.journal.settle(9, given_up, dead_letter=True)
    assert (setup.last().parked, setup.last().verdicts) == ({}, {})
    assert sum(setup.last().dead_letters.values()) == 1


async def test_a_failed_write_fails_every_caller_and_changes_nothing() -> None:
    setup = Setup()
    setup.producer.refused_topics.add(STATE)
    callers = [asyncio.create_task(setup.journal.settle(n, settlement(n), dead_letter=False)) for n in (1, 2)]
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    assert setup.journal.state == PartitionState()
    with pytest.raises(Exception, match="refused"):
        await setup.tasks[0]


class RebuiltStates(MemoryStates):
    """Cannot answer until the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.mended = asyncio.Event()
        self.waiting = asyncio.Event()

    def get(self, partition: int, consumer_id: str) -> tuple[int, ConsumerState] | None:
        if not self.mended.is_set():
            raise StatesUnavailable("being read in")
        return super().get(partition, consumer_id)

    async def available(self, partition: int) -> None:
        self.waiting.set()
        await self.mended.wait()


async def test_a_write_waits_for_consumer_records_that_are_being_read_in_anew() -> None:
    states = RebuiltStates()
    states.known[2, "c1"] = (3, ConsumerState(1, "PL", full=FullState(1, "NEW", "first")))
    setup = Setup(states=states)
    settling = asyncio.create_task(setup.journal.settle(5, settlement(5, "c1"), dead_letter=False))
    await states.waiting.wait()
    assert setup.producer.written == []
    states.mended.set()
    await settling
    (record, _tombstone) = setup.producer.of(CONSUMERS)
    assert ConsumerState.decode(record.value or b"").market == "DE"
    assert [parse_consumer_key(write.key or b"")[1] for write in setup.producer.of(CONSUMERS)] == [7, 3]


async def test_a_record_is_asked_for_once_however_often_it_is_needed() -> None:
    states = MemoryStates()
    states.known[2, "c1"] = (3, ConsumerState(1, "PL"))
    records = consumer_records_of(states)
    assert await records.find("c1") == (3, ConsumerState(1, "PL"))
    assert await records.find("c2") is None
    states.known.clear()
    states.known[2, "c2"] = (9, ConsumerState(1, "FR"))  # nobody else writes here: what was read stays true
    assert await records.find("c1") == (3, ConsumerState(1, "PL"))
    assert await records.find("c2") is None


async def test_what_was_only_read_makes_room_and_what_was_written_stays_until_the_follower_has_it() -> None:
    states = MemoryStates()
    records = consumer_records_of(states)
    records.remember("mine", ConsumerState(5, "DE"), offset=5)
    for number in range(3_000):
        await records.find(f"c{number}")
    assert await records.find("mine") == (7, ConsumerState(5, "DE"))
    states.applied_upto = 6
    for number in range(3_000):
        await records.find(f"d{number}")
    assert await records.find("mine") is None
    assert len(records._recent) <= 2_001


async def test_records_in_memory_are_bounded_when_the_follower_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_records, "_RECENT_CONSUMERS", 4)
    monkeypatch.setattr(consumer_records, "_MOST_RECENT", 10)
    states, caught_up = MemoryStates(), asyncio.Event()
    ends: list[int] = []

    async def catch_up(partition: int, end: int) -> None:
        ends.append(end)
        await caught_up.wait()
        states.applied_upto = end

    monkeypatch.setattr(states, "catch_up", catch_up)
    records = consumer_records_of(states, partition=0, epoch=1)
    for offset in range(10):
        records.remember(f"c{offset}", ConsumerState(offset, "DE"), offset)
    finding = asyncio.create_task(records.find("c9"))
    await asyncio.sleep(0.01)
    assert (finding.done(), ends) == (False, [6]), "it waits for the older half"
    caught_up.set()
    assert await finding == (1, ConsumerState(9, "DE"))
    assert len(records._recent) < 10


# Which record was settled


def record(offset: int, value: bytes = b"{}") -> SourceRecord:
    return SourceRecord("main", 2, offset, 0, b"C-1", value)


def digest(offset: int, value: bytes = b"{}") -> RecordDigest:
    return RecordDigest.of(offset, b"C-1", value)


async def test_the_highest_record_of_a_commit_is_noted() -> None:
    setup = Setup()
    settle, park = setup.journal.settle, setup.journal.park
    await settle(1, settlement(1), dead_letter=False, record=record(1))
    assert setup.last().last_digest == digest(1)
    await asyncio.gather(
        settle(3, settlement(3), dead_letter=False, record=record(3)),
        park(4, ParkedEvent("c"), record(4)),
        settle(2, settlement(2), dead_letter=False, record=record(2)),
    )
    assert setup.last().last_digest == digest(4)
    await settle(0, settlement(0), dead_letter=False, record=record(0))
    assert setup.last().last_digest == digest(4)


async def test_the_copy_of_a_parked_event_is_not_noted() -> None:
    setup = Setup(PartitionState(upto=9, parked={5: ParkedEvent("c")}))
    await setup.journal.settle(5, settlement(5), dead_letter=True, record=record(5, b""))
    assert setup.last().last_digest is None


async def test_what_is_pinned_is_durable_with_the_first_record_settled_after_it_and_stays() -> None:
    setup = Setup()
    await setup.journal.settle(1, settlement(1), dead_letter=False, record=record(1))
    setup.journal.pin(digest(3))  # handed over, not settled; then another leader
    await setup.journal.settle(4, settlement(4), dead_letter=False, record=record(4))
    assert (setup.last().last_digest, setup.last().pinned) == (digest(4), (digest(1), digest(3)))
    await setup.journal.settle(5, settlement(5), dead_letter=False, record=record(5))
    assert setup.last().pinned == (digest(1), digest(3))
    assert setup.journal.to_compare() == [digest(1), digest(3), digest(5)]
    # A later owner has them too, until they were compared.
    later = Setup(setup.last())
    assert later.journal.to_compare() == setup.journal.to_compare()
    later.journal.pinned.drop({digest(1), digest(3)})
    await later.journal.settle(6, settlement(6), dead_letter=False, record=record(6))
    assert later.last().pinned == ()


def test_of_many_that_are_pinned_the_lowest_stays_and_those_that_stand_for_few_records_go() -> None:
    pinned = Pinned()
    for offset in (500, 900, 901, 20, 450, 40, 300, 200, 903, 100):
        pinned.add([digest(offset)])
    assert [one.offset for one in pinned.all] == [20, 40, 100, 200, 300, 450, 500, 900]
    pinned.drop({digest(300), digest(7)})
    pinned.add([digest(20), digest(20, b"of another log")])
    assert [one.offset for one in pinned.all] == [20, 20, 40, 100, 200, 450, 500, 900]


@pytest.mark.parametrize(("theirs", "asks"), [(6, 0), (7, 0), (8, 1)])
async def test_a_record_of_a_later_owner_is_removed_only_by_one_that_surely_owns_the_partition(
    theirs: int, asks: int
) -> None:
    """A frozen process that goes on may read what the owner after it has written. It must not remove that."""
    asked: list[bool] = []
    producer = FakeProducer()

    async def until_lease() -> None:
        assert producer.written == []
        asked.append(True)

    states = MemoryStates()
    states.known[2, "c1"] = (theirs, ConsumerState(0, "DE"))
    await consumer_records_of(states, producer, until_lease=until_lease).settle([(1, settlement(1))])
    assert (len(asked), len(producer.written)) == (asks, 1 if theirs == 7 else 2)

    letters, producer = MemoryLetters(), FakeProducer()
    letter = LetterId(2, 1)
    record = DeadLetter(LetterStatus.OPEN, settlement(1), Fingerprint("CMT-TIMEOUT", "pet", "NEW"), "m", 1, 1, 1, None)
    letters.known[letter] = KnownLetter(letter, theirs, record)
    asked.clear()
    records = LetterRecords(2, 7, letters, producer=producer, topic=LETTERS, until_lease=until_lease)  # type: ignore[arg-type]
    await records.write({letter: record})
    assert (len(asked), len(producer.written)) == (asks, 1 if theirs == 7 else 2)
