"""A record is compared with the topics at every claim and again while the work goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline_identity import PipelineIdentity, Role
from app.delivery.record_digest import RecordDigest
from app.delivery.record_format import partition_key
from app.engine import claims
from app.engine.context import EngineStopped
from app.engine.flow import RecordDigests, SeenTopics, TopicsUnknown
from app.engine.ownership import Ownership
from tests.unit.engine.test_ownership import ASSIGNED, MAIN, RETRY, ends_at
from tests.unit.engine.world import PIPELINE, Event, World

IDS = {Role.SOURCE: "s", Role.RETRY: "r", Role.ALERTS: "a", Role.CONSUMERS: "c"}
OURS = PipelineIdentity("consumers", PIPELINE.topic, IDS)


async def _at_once() -> None:
    pass


@dataclass
class Brokers:
    """``Topics`` that say what a test wants; ``away``: how often they do not answer first."""

    ids: dict[Role, str] = field(default_factory=lambda: dict(IDS))
    state_id: str = "state"
    begin: int = 0
    end: int = 100
    away: int = 0
    others: Collection[PipelineIdentity | None] = ()
    records: Collection[RecordDigest] = ()
    unreadable: Collection[int] = ()
    reading: Callable[[], Awaitable[None]] = _at_once
    silent: int = 0  # how often records cannot be read first
    uneven: Collection[str] = ()

    async def look(self) -> SeenTopics:
        if self.away:
            self.away -= 1
            raise TopicsUnknown("away")
        return SeenTopics(self.ids, self.state_id, {0: self.begin}, {0: self.end}, tuple(self.uneven))

    async def record_digests(self, wanted: Mapping[int, Collection[int]]) -> Mapping[int, RecordDigests]:
        await self.reading()
        if self.silent:
            self.silent -= 1
            raise TopicsUnknown("silent")
        records = {one.offset: one for one in self.records}
        return {0: {offset: records.get(offset) for offset in wanted[0] if offset not in self.unreadable}}

    def recorded(self) -> Collection[PipelineIdentity | None]:
        return self.others


@dataclass
class Case:
    world: World
    brokers: Brokers
    cut_off: list[tuple[int, int, int, int]]

    async def take_over(self, state: PartitionState | None, group: int = 0, copies: int = 0) -> Ownership:
        """Claim a partition with this record, of a group that stands at these offsets of main and retry topic."""
        table = {} if state is None else {partition_key(0, 3): state.encode()}
        ownership = self.world.ownership = Ownership(self.world.context, table, drain_seconds=0.2)
        positions = {MAIN: group, RETRY: copies}
        await ownership.take_over(4, ASSIGNED, lambda: True, ends_at(self.brokers.end), lambda tp: positions.get(tp, 0))
        return ownership

    def written(self) -> PartitionState:
        return PartitionState.decode(self.world.producer.of(PIPELINE.state_topic)[0].value or b"")


@pytest.fixture
async def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(claims, "AGAIN_SECONDS", 0.0)
    world = World([Event("a")])
    await world.start()
    for task in world.tasks:
        task.cancel()
    await asyncio.gather(*world.tasks, return_exceptions=True)
    brokers, cut_off = Brokers(), []
    world.producer.written.clear()
    world.context.topics = brokers
    world.cut_off = lambda *told: cut_off.append(told)  # type: ignore[method-assign]
    return Case(world, brokers, cut_off)


async def test_topics_that_cannot_be_looked_at_are_one_line_and_not_one_for_each_try(case: Case) -> None:
    case.brokers.away = 50
    with capture_logs() as logged:
        await case.take_over(None)
    lines = [line for line in logged if line["event"].startswith("cannot compare the topics")]
    assert [line["reason"] for line in lines] == ["away"]


async def test_a_new_group_writes_whose_record_it_is_and_where_it_began(case: Case) -> None:
    ownership = await case.take_over(None, group=40)
    assert case.written() == PartitionState(upto=39, identity=OURS, dry_run=False, mark=case.written().mark)
    assert case.written().mark, "its copies are told from those of other groups"
    assert ownership.healing.rewinds() == {}


async def test_a_record_without_a_pipeline_is_adopted(case: Case) -> None:
    await case.take_over(PartitionState(upto=9))
    assert case.written() == PartitionState(upto=9, identity=OURS, dry_run=False, mark=case.written().mark)


async def test_a_record_of_an_earlier_version_that_decided_nothing_keeps_the_groups_place(case: Case) -> None:
    await case.take_over(PartitionState(), group=40)
    assert case.written().upto == 39


@pytest.mark.parametrize(
    "recorded",
    [PipelineIdentity("consumers", "another"), PipelineIdentity("consumers", PIPELINE.topic, {Role.SOURCE: "x"})],
)
async def test_a_record_of_another_topic_is_refused_and_nothing_is_written(
    case: Case, recorded: PipelineIdentity
) -> None:
    with pytest.raises(EngineStopped, match="KAFKA_GROUP"):
        await case.take_over(PartitionState(upto=9, identity=recorded))
    assert case.world.producer.written == []


async def test_brokers_that_do_not_answer_are_asked_again(case: Case) -> None:
    case.brokers.away = 3
    assert (await case.take_over(PartitionState(upto=9, identity=OURS))).ready


@pytest.mark.parametrize("group", [0, 50])
async def test_the_record_decides_where_to_go_on(case: Case, group: int) -> None:
    ownership = await case.take_over(PartitionState(upto=9, decided_above={12}, identity=OURS), group=group)
    assert ownership.healing.rewinds() == {MAIN: 10}
    assert case.world.ledger.committable(MAIN) == 10


async def test_copies_of_parked_events_are_read_from_where_the_first_may_stand(case: Case) -> None:
    state = PartitionState(upto=9, parked={3: ParkedEvent("c")}, identity=OURS, retry_from=5)
    ownership = await case.take_over(state, copies=30)
    assert ownership.healing.rewinds() == {MAIN: 10, RETRY: 5}
    ownership = await case.take_over(state, copies=4)
    assert ownership.healing.rewinds() == {MAIN: 10}


async def test_a_retry_topic_made_anew_has_parked_events_read_from_the_main_topic(case: Case) -> None:
    case.brokers.ids[Role.RETRY] = "another"
    state = PartitionState(upto=9, parked={3: ParkedEvent("c"), 7: ParkedEvent("d")}, identity=OURS, retry_from=5)
    ownership = await case.take_over(state, copies=30)
    assert ownership.healing.rewinds() == {MAIN: 3, RETRY: 0}
    assert set(ownership.partitions[0].copies.wanted) == {3, 7}
    assert case.written().retry_from is None


async def test_an_alerts_topic_made_anew_is_read_from_its_beginning(case: Case) -> None:
    case.brokers.ids[Role.ALERTS] = "another"
    ownership = await case.take_over(PartitionState(upto=9, identity=OURS))
    assert ownership.healing.rewinds() == {MAIN: 10, (PIPELINE.alerts_topic, 0): 0}


async def test_unread_events_that_are_gone_are_told_once(case: Case) -> None:
    case.brokers.begin = 20
    ownership = await case.take_over(PartitionState(upto=9, decided_above={12}, identity=OURS))
    assert case.cut_off == [(0, 10, 20, 9)]
    assert case.written().upto == 19
    assert ownership.healing.rewinds() == {MAIN: 20}
    # While it runs: nothing was fetched, and more is gone; then the fetch goes on behind that.
    case.brokers.begin = 30
    await ownership.logs.check(lambda tp: 20)
    assert await ownership.logs.was_reset(MAIN, 20, 33)
    assert case.cut_off == [(0, 10, 20, 9), (0, 20, 30, 10), (0, 30, 33, 3)]


async def test_what_was_fetched_before_is_not_counted_as_gone(case: Case) -> None:
    ownership = await case.take_over(PartitionState(upto=9, identity=OURS))
    case.world.ledger.fetched(MAIN, range(10, 30))
    assert await ownership.logs.was_reset(MAIN, 15, 40)  # gone back to, for a parked event
    assert case.cut_off == [(0, 30, 40, 10)]


@pytest.mark.parametrize("source", ["s", "another"])
async def test_a_topic_that_goes_on_before_what_was_read_stops_the_worker(case: Case, source: str) -> None:
    ownership = await case.take_over(PartitionState(upto=9, identity=OURS))
    case.brokers.ids[Role.SOURCE] = source
    assert not await ownership.logs.was_reset(MAIN, 10, 0)
    [error] = case.world.bugs
    assert isinstance(error, EngineStopped)
    assert ("lost records" if source == "s" else "recreated") in str(error)


async def test_the_same_topic_may_seem_too_short_for_a_while_after_a_leader_died(case: Case) -> None:
    case.brokers.end = 5
    taking = asyncio.create_task(case.take_over(PartitionState(upto=9, identity=OURS)))
    await asyncio.sleep(0.02)
    assert not taking.done()
    case.brokers.end = 10
    assert (await taking).ready


async def test_the_same_topic_that_stays_too_short_has_lost_records(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "END_SECONDS", 0.01)
    case.brokers.end = 5
    with pytest.raises(EngineStopped, match="ends at offset 5, but everything up to 9"):
        await case.take_over(PartitionState(upto=9, identity=OURS))


@pytest.mark.parametrize("role", Role)
async def test_topics_that_change_while_the_worker_runs_stop_it(case: Case, role: Role) -> None:
    ownership = await case.take_over(PartitionState(upto=9, identity=OURS))
    await ownership.logs.check()
    case.brokers.ids[role] = "another"
    with pytest.raises(EngineStopped):
        await ownership.logs.check()


async def test_a_state_topic_made_anew_stops_the_worker(case: Case) -> None:
    ownership = await case.take_over(PartitionState(upto=9, identity=OURS))
    case.brokers.state_id = "another"
    with pytest.raises(EngineStopped, match=PIPELINE.state_topic):
        await ownership.logs.check()


async def test_records_of_a_worker_with_another_topic_stop_the_worker(case: Case) -> None:
    ownership = await case.take_over(PartitionState(upto=9, identity=OURS))
    case.brokers.others = [None, OURS]
    await ownership.logs.check()
    case.brokers.others = [OURS, PipelineIdentity("consumers", "another")]
    with pytest.raises(EngineStopped, match="Another worker of this group"):
        await ownership.logs.check()


EIGHT, OTHER_EIGHT = (RecordDigest.of(8, b"C-1", value) for value in (b"one", b"other"))


def settled(last: RecordDigest = EIGHT) -> PartitionState:
    return PartitionState(upto=9, identity=OURS, last_digest=last)


async def test_another_record_at_a_settled_offset_is_refused_and_nothing_is_written(case: Case) -> None:
    case.brokers.records = [OTHER_EIGHT]
    with pytest.raises(EngineStopped, match=r"Partition 0 of main holds another record at offset 8.*KAFKA_GROUP"):
        await case.take_over(settled())
    assert case.world.producer.written == []


async def test_a_topic_made_anew_is_refused_in_its_own_words(case: Case) -> None:
    case.brokers.records, case.brokers.ids[Role.SOURCE] = [OTHER_EIGHT], "another"
    with pytest.raises(EngineStopped, match="deleted and recreated"):
        await case.take_over(settled())


@pytest.mark.parametrize("records", [[EIGHT], []])
async def test_the_same_record_or_none_is_no_reason_to_stop(case: Case, records: list[RecordDigest]) -> None:
    """None: compaction, an aborted transaction."""
    case.brokers.records = records
    ownership = await case.take_over(settled())
    await ownership.logs.check()
    assert case.written().last_digest == EIGHT


async def test_a_settled_record_that_retention_deleted_is_not_asked_for(case: Case) -> None:
    case.brokers.begin, case.brokers.records = 9, [OTHER_EIGHT]
    assert (await case.take_over(settled())).ready


async def test_silence_is_waited_for_at_the_claim_and_told_in_the_comparison(case: Case) -> None:
    case.brokers.silent = 3
    ownership = await case.take_over(settled())
    assert ownership.ready
    case.brokers.silent = 1
    with pytest.raises(TopicsUnknown):
        await ownership.logs.check()
    case.brokers.records = [OTHER_EIGHT]
    with pytest.raises(EngineStopped, match="another record at offset 8"):
        await ownership.logs.check()


FOURTEEN = RecordDigest.of(14, b"C-1", b"fourteen")


@pytest.mark.parametrize(("last", "records"), [(None, [EIGHT]), (FOURTEEN, [EIGHT, FOURTEEN])])
async def test_an_offset_that_is_not_really_out_of_range_is_fetched_again(
    case: Case, last: RecordDigest | None, records: list[RecordDigest]
) -> None:
    """A broker may say so for a while after a partition moved, mostly where old segments are in tiered storage."""
    case.brokers.records = records
    ownership = await case.take_over(settled())
    assert ownership.healing.rewinds() == {MAIN: 10}
    with capture_logs() as logged:
        for _ in range(3):
            assert not await ownership.logs.was_reset(MAIN, 15, 0, last)
            assert ownership.healing.rewinds() == {MAIN: 15}
    assert case.world.bugs == []
    [line] = [line for line in logged if line["log_level"] == "warning"]
    assert line == {"log_level": "warning", "topic": "main", "partition": 0, "offset": 15, "event": line["event"]}


async def test_what_is_asked_for_before_the_offset_that_is_not_out_of_range_is_fetched_too(case: Case) -> None:
    case.brokers.records = [EIGHT]
    ownership = await case.take_over(settled())
    ownership.healing.start_at({MAIN: 3})
    assert not await ownership.logs.was_reset(MAIN, 15, 0)
    assert ownership.healing.rewinds() == {MAIN: 3}


@pytest.mark.parametrize(
    "brokers",
    [
        {"records": [OTHER_EIGHT, FOURTEEN]},
        {"records": [EIGHT, RecordDigest.of(14, b"C-1", b"other")]},
        {"records": [EIGHT]},  # nothing is known of what was handed over after it
        {"records": [EIGHT, FOURTEEN], "unreadable": [14]},
        {"records": [EIGHT, FOURTEEN], "silent": 1},
        {"records": [EIGHT, FOURTEEN], "away": 1},
        {"records": [EIGHT, FOURTEEN], "end": 12},
    ],
)
async def test_an_offset_that_may_be_gone_stops_the_worker(case: Case, brokers: dict[str, Any]) -> None:
    case.brokers.records = [EIGHT]
    ownership = await case.take_over(settled())
    ownership.healing.rewinds()
    for name, value in brokers.items():
        setattr(case.brokers, name, value)
    assert not await ownership.logs.was_reset(MAIN, 15, 0, FOURTEEN)
    [error] = case.world.bugs
    assert isinstance(error, EngineStopped)
    assert "KAFKA_GROUP" in str(error)
    assert ownership.healing.rewinds() == {}


async def test_a_rebalance_during_the_comparison_leaves_the_position_to_the_next_owner(case: Case) -> None:
    case.brokers.records = [EIGHT]
    ownership = await case.take_over(settled())

    async def rebalance() -> None:
        ownership.shut()

    case.brokers.reading = rebalance
    assert not await ownership.logs.was_reset(MAIN, 15, 0)
    assert case.world.bugs == []
    assert ownership.healing.rewinds() == {}


async def test_records_that_change_while_the_worker_runs_stop_it(case: Case) -> None:
    case.brokers.records = [EIGHT]
    ownership = await case.take_over(settled())
    await ownership.logs.check()
    case.brokers.records = [OTHER_EIGHT]
    with pytest.raises(EngineStopped, match="another record at offset 8"):
        await ownership.logs.check()


TWELVE = RecordDigest.of(12, b"C-1", b"twelve")


def pinned(*those: RecordDigest) -> PartitionState:
    return PartitionState(upto=12, identity=OURS, last_digest=TWELVE, pinned=those)


async def test_what_is_pinned_is_compared_at_the_claim_and_kept_until_then(case: Case) -> None:
    case.brokers.records = [OTHER_EIGHT, TWELVE]
    with pytest.raises(EngineStopped, match="another record at offset 8"):
        await case.take_over(pinned(EIGHT))
    assert case.world.producer.written == []
    case.brokers.unreadable = [8]
    ownership = await case.take_over(pinned(EIGHT))
    assert case.written().pinned == (EIGHT,)
    await ownership.logs.check()
    case.brokers.unreadable = []
    with pytest.raises(EngineStopped, match="another record at offset 8"):
        await ownership.logs.check()


@pytest.mark.parametrize(("begin", "records"), [(0, [EIGHT, TWELVE]), (0, [TWELVE]), (9, [OTHER_EIGHT, TWELVE])])
async def test_what_is_found_or_gone_is_pinned_no_more(case: Case, begin: int, records: list[RecordDigest]) -> None:
    case.brokers.begin, case.brokers.records = begin, records
    ownership = await case.take_over(pinned(EIGHT))
    assert case.written().pinned == ()
    ownership.logs.other_leader(0, EIGHT)
    journal = ownership.partitions[0].journal
    assert journal.to_compare() == [EIGHT, TWELVE]
    await ownership.logs.check()
    assert journal.to_compare() == [TWELVE]
    assert journal.pinned.all == ()


async def test_what_the_topic_does_not_hold_yet_stays_pinned(case: Case) -> None:
    later = RecordDigest.of(100, b"C-1", b"later")
    ownership = await case.take_over(pinned(later))
    await ownership.logs.check()
    assert ownership.partitions[0].journal.pinned.all == (later,)


async def test_another_leader_has_the_records_before_it_compared_soon(case: Case) -> None:
    ownership = await case.take_over(settled())
    assert not ownership.logs.comparison_due.is_set()
    ownership.logs.other_leader(0, TWELVE)
    assert ownership.logs.comparison_due.is_set()
    assert ownership.partitions[0].journal.to_compare() == [EIGHT, TWELVE]
    case.brokers.records = [EIGHT, RecordDigest.of(12, b"C-1", b"other")]
    with pytest.raises(EngineStopped, match="another record at offset 12"):
        await ownership.logs.check()


async def test_what_is_pinned_during_a_comparison_is_compared_once_more(case: Case) -> None:
    """The topic may have been read before it lost its records."""
    case.brokers.records = [EIGHT]
    ownership = await case.take_over(settled())

    async def other_leader() -> None:
        ownership.logs.other_leader(0, None)

    case.brokers.reading = other_leader
    await ownership.logs.check()
    assert ownership.logs.comparison_due.is_set()
    case.brokers.records, case.brokers.reading = [OTHER_EIGHT], _at_once
    with pytest.raises(EngineStopped, match="another record at offset 8"):
        await ownership.logs.check()


async def test_a_partition_of_which_nothing_is_known_has_nothing_compared(case: Case) -> None:
    ownership = await case.take_over(None)
    ownership.logs.other_leader(0, None)
    ownership.logs.other_leader(7, EIGHT)  # not ours
    assert not ownership.logs.comparison_due.is_set()


async def test_a_decided_offset_above_upto_beyond_the_end_is_a_lost_record(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "END_SECONDS", 0.01)
    case.brokers.end = 11
    with pytest.raises(EngineStopped, match="ends at offset 11, but offset 12 counts as settled"):
        await case.take_over(PartitionState(upto=9, decided_above={12}, identity=OURS))


async def test_another_number_of_partitions_stops_the_worker_at_the_claim_and_while_it_runs(case: Case) -> None:
    ownership = await case.take_over(PartitionState(upto=9, identity=OURS))
    case.brokers.uneven = ["main: partitions is 6, must be 4."]
    with pytest.raises(EngineStopped, match="partitions is 6"):
        await ownership.logs.check()
    with pytest.raises(EngineStopped, match="partitions is 6"):
        await case.take_over(PartitionState(upto=9, identity=OURS))
