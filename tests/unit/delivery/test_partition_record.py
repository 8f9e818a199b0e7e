"""The durable records: what is written is read back, changes keep the invariants, and copies stand alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.consumer_record import ConsumerState, FullState, RecentEvent, consumer_key, parse_consumer_key
from app.delivery.counts import Counts, FailureCount, Settlement, added, fold
from app.delivery.dead_letter_record import Holder, ValuePlace
from app.delivery.errors import SYNC_OPERATOR
from app.delivery.failed_attempt import FailedAttempt
from app.delivery.fingerprint import Fingerprint
from app.delivery.outcome import Outcome, RecordCount
from app.delivery.parked_events import OFFSET_BYTES, ParkedEvent, consumer_bytes, dated_bytes, kept_event_id
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline_identity import PipelineIdentity, Role
from app.delivery.readmitted import Handling, Readmitted, readmitted_bytes
from app.delivery.record import LATEST_MS
from app.delivery.record_digest import RecordDigest
from app.delivery.record_format import FORMAT, PARTITION_FORMAT, StateError, parse_partition_key, partition_key
from app.delivery.state_fields import LARGEST
from app.delivery.verdict import Verdict, verdict_bytes
from app.profile.consumer_history import RECENT_KEPT, after_settling
from app.profile.entities import EntityType

_ids = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
_codes = st.sampled_from(["CMT-TIMEOUT", "CMT-ROW-INVALID", "EVENT-SCHEMA"])
_offsets = st.integers(0, LARGEST)
_times = st.integers(0, LATEST_MS)
_small = st.integers(0, 9)
settlements = st.builds(
    Settlement,
    consumer_id=st.none() | _ids,
    event_id=_ids,
    operation=st.sampled_from(["NEW", "UPDATE", "DELETE", "-"]),
    market=st.sampled_from(["DE", "-"]),
    day=st.sampled_from(["2026-01-01", "2026-01-02"]),
    outcome=st.sampled_from(Outcome),
    reason=st.none() | _codes,
    attempts=st.integers(1, 9),
    full_state=st.booleans(),
    records=st.lists(st.builds(RecordCount, st.sampled_from(EntityType), _small, _small), max_size=2).map(tuple),
    failures=st.lists(st.builds(FailureCount, st.just("pet"), _codes, _small), max_size=2).map(tuple),
    rows=_ids,
)
tries = st.lists(st.builds(FailedAttempt, _times, _codes), max_size=3).map(tuple)
failing = st.builds(ParkedEvent, _ids, _ids, st.integers(1, 9), _times, _times, _times, _codes, tries=tries)
waiting = st.builds(ParkedEvent, _ids)
fingerprints = st.builds(Fingerprint, _codes, _ids, _ids)
verdicts = st.builds(Verdict, settlements, _ids, _times, _times, st.booleans(), _ids, tries, st.none() | fingerprints)
places = st.builds(ValuePlace, st.sampled_from(Holder), _offsets)
readmitted = st.builds(
    Readmitted,
    st.sampled_from(Handling),
    _small,
    _ids,
    _ids,
    st.none() | places,
    settlements,
    failing | waiting,
    st.lists(_ids, max_size=2).map(tuple),
    st.none() | places,
    st.booleans(),
)


@st.composite
def counts(draw: st.DrawFn) -> Counts:
    folded: Counts = {}
    for settlement in draw(st.lists(settlements, max_size=4)):
        fold(folded, settlement)
    return folded


partitions = st.builds(
    PartitionState,
    st.integers(-1, LARGEST),
    st.sets(_offsets, max_size=8),
    st.dictionaries(_offsets, failing | waiting, max_size=5),
    st.dictionaries(_offsets, verdicts, max_size=3),
    counts(),
    identity=st.none()
    | st.builds(PipelineIdentity, _codes, _codes, st.dictionaries(st.sampled_from(Role), _codes, max_size=4)),
    retry_from=st.none() | _offsets,
    readmitted=st.dictionaries(_offsets, readmitted, max_size=3),
    erasing=st.dictionaries(_ids, _offsets, max_size=2),
    letters_read=st.none() | _offsets,
)
recents = st.builds(RecentEvent, _ids, _codes, _codes, st.none() | _codes, st.integers(1, 9), _times)
consumers = st.builds(
    ConsumerState,
    _offsets,
    st.just("DE"),
    st.lists(recents, max_size=RECENT_KEPT).map(tuple),
    st.none() | _times,
    st.none() | st.builds(FullState, _offsets, _codes, _ids),
    rows=st.just("") | _ids,
    erased=st.just(-1) | _offsets,
    mended_ms=st.none() | _times,
)


def settled(event_id: str = "e", outcome: Outcome = Outcome.SYNCED, **changes: Any) -> Settlement:
    values: dict[str, Any] = {
        "consumer_id": "c",
        "event_id": event_id,
        "operation": "NEW",
        "market": "DE",
        "day": "2026-01-01",
        "outcome": outcome,
        "full_state": True,
    }
    return Settlement(**{**values, **changes})


# Codec


@given(partitions)
def test_partition_record_reads_back_as_it_was_written(state: PartitionState) -> None:
    assert PartitionState.decode(state.encode()) == state


@given(consumers)
def test_consumer_record_reads_back_as_it_was_written(state: ConsumerState) -> None:
    assert ConsumerState.decode(state.encode()) == state


@given(st.integers(0, 999), st.integers(0, LARGEST), _ids | st.sampled_from(["a|b", "|", "||"]))
def test_keys_read_back_also_with_any_consumer_id(partition: int, epoch: int, consumer_id: str) -> None:
    assert parse_partition_key(partition_key(partition, epoch)) == (partition, epoch)
    assert parse_consumer_key(consumer_key(partition, epoch, consumer_id)) == (partition, epoch, consumer_id)


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"null", b"{}", b'{"v":2}', b"\xff", b'{"v":"1"}'])
@pytest.mark.parametrize("record", [PartitionState, ConsumerState])
def test_what_is_no_such_record_is_refused(record: type[PartitionState | ConsumerState], value: bytes) -> None:
    with pytest.raises(StateError):
        record.decode(value)


# Another spelling of a number would be another key of the same record; what SQLite or JSON cannot hold is no epoch.
ODD_NUMBERS = [
    *(
        f"{number}|1".encode()
        for number in ("+1", "-1", "1_0", "01", " 1", "1 ", "1.0", "\u0663", "\u00b2", "1e3", "\n1")
    ),
    *(f"0|{number}".encode() for number in (2**53, 2**63 - 1, 2**63, 10**23, "9" * 5000, "1\n", "00")),
]


@pytest.mark.parametrize("key", [b"", b"1", b"1|2|3", b"a|1", b"\xff|1", b"1|", *ODD_NUMBERS])
def test_what_is_no_partition_key_is_refused(key: bytes) -> None:
    with pytest.raises(StateError):
        parse_partition_key(key)


@pytest.mark.parametrize("key", [b"", b"1|2", b"a|1|c", b"1|\xff|c", *(key + b"|c" for key in ODD_NUMBERS)])
def test_what_is_no_consumer_key_is_refused(key: bytes) -> None:
    with pytest.raises(StateError):
        parse_consumer_key(key)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["upto"], "9"),
        (["upto"], -2),
        (["upto"], 2**53),
        (["upto"], True),
        (["done"], ["x"]),
        (["done"], {"x": 1}),
        (["done", 0], 1.0),
        (["done", 0], -1),
        (["failing", 0, 3], "a"),
        (["failing", 0, 4], 2**53 - 1),
        (["failing", 0, 0], "0"),
        (["failing", 0], ["C-1"]),
        (["waiting", "C-3"], ["x"]),
        (["waiting", "C-3"], "12"),
        (["waiting"], [[3, "C-3"]]),
        (["verdicts", 0, 1, "alert"], 1),
        (["verdicts", 0, 1, "settlement", "consumer_id"], 7),
        (["verdicts", 0, 1, "settlement", "day"], "today"),
        (["verdicts", 0, 1, "settlement", "records"], [{"entity": "pet", "synced": "1", "failed": 0}]),
        (["verdicts", 0, 1, "settlement", "failures"], [{"entity": "pet", "reason": 1, "count": 1}]),
        (["counts"], {"soon": {}}),
        (["counts"], {"2026-01-01": {"DE": {"events": {"synced": "1"}}}}),
        (["counts"], {"2026-01-01": {"DE": {"events": {"synced": [1, 2]}}}}),
        (["counts"], {"2026-01-01": {"DE": {"records": {"pet|NEW": [1]}}}}),
        (["counts"], {"2026-01-01": {"DE": {"records": {"pet": [1, 2]}}}}),
        (["counts"], {"2026-01-01": {"DE": {"failures": {"pet|NEW": 1}}}}),
        (["deadLetters"], {"x": "y"}),
        (["deadLetters"], {"x": -1}),
        (["archive"], {"2026-13": [1, 2]}),
        (["archive"], {"2026-12": [1, "2"]}),
        (["pipeline"], {"flow": 1, "topic": "t", "ids": {}}),
        (["pipeline"], {"flow": "f", "topic": "t", "ids": {"source": ["x"]}}),
        (["retryFrom"], "7"),
        (["dryRun"], "no"),
    ],
    ids=str,
)
def test_a_part_of_another_type_makes_a_partition_record_unreadable(path: list[Any], value: Any) -> None:
    state = PartitionState(upto=3, decided_above={5}, verdicts={7: Verdict(settled("e-7"), "m", 1, 2, alert=True)})
    state.park(0, ParkedEvent("C-1", "e", 1, 2, 3, 4, "CMT-TIMEOUT"))
    state.park(2, ParkedEvent("C-3"))
    state.decided_above = {5}
    document = orjson.loads(state.encode())
    assert PartitionState.decode(orjson.dumps(document)) == state
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(StateError, match=r"^not a partition record: "):
        PartitionState.decode(orjson.dumps(document))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["offset"], "1"),
        (["market"], None),
        (["recent"], {}),
        (["recent", 0, "settled_ms"], "now"),
        (["recent", 0, "settled_ms"], 2**53 - 1),
        (["recent", 0, "event_id"], 1),
        (["recent", 0, "attempts"], "1"),
        (["synced_ms"], -1),
        (["full"], {"offset": "1", "operation": "NEW", "event_id": "e"}),
        (["deleted"], [{"offset": "1", "entity": "pet", "key": ["1"]}]),
        (["deleted"], [{"offset": 1, "entity": "pet", "key": "1"}]),
        (["deleted_forgotten"], None),
        (["rows"], 5),
    ],
    ids=str,
)
def test_a_part_of_another_type_makes_a_consumer_record_unreadable(path: list[Any], value: Any) -> None:
    document = orjson.loads(after_settling(None, 1, settled(), 2).encode())
    ConsumerState.decode(orjson.dumps(document))
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(StateError, match=r"^not a consumer record: "):
        ConsumerState.decode(orjson.dumps(document))


def test_the_format_is_stated_in_every_record() -> None:
    assert orjson.loads(PartitionState().encode())["v"] == PARTITION_FORMAT == 2
    assert orjson.loads(ConsumerState(0, "DE").encode())["v"] == FORMAT


def test_a_record_of_a_version_that_named_no_pipeline_is_read() -> None:
    document = orjson.loads(PartitionState(upto=4).encode()) | {"v": FORMAT}
    for name in ("pipeline", "retryFrom", "archive", "fingerprint", "pinned", "readmitted", "erasing", "lettersRead"):
        del document[name]
    state = PartitionState.decode(orjson.dumps(document))
    assert (state.upto, state.identity, state.retry_from, state.last_digest) == (4, None, None, None)
    assert state.pinned == ()


def test_the_digests_of_records_are_kept_and_checked() -> None:
    four, two, five = (RecordDigest.of(offset, b"C-1", None) for offset in (4, 2, 5))
    state = PartitionState(upto=4, last_digest=four, pinned=(two, five))
    assert PartitionState.decode(state.encode()) == state.copy() == state
    assert state.to_compare() == [two, five, four]
    assert PartitionState(last_digest=four, pinned=(four,)).to_compare() == [four]
    document = orjson.loads(state.encode())
    for foreign in ([4], [-1, "ab"], [4, 5], {"offset": 4}, "4"):
        with pytest.raises(StateError):
            PartitionState.decode(orjson.dumps(document | {"fingerprint": foreign}))
        with pytest.raises(StateError):
            PartitionState.decode(orjson.dumps(document | {"pinned": [foreign]}))


def test_a_role_of_a_newer_version_is_left_out() -> None:
    document = orjson.loads(PartitionState(identity=PipelineIdentity("consumers", "t", {Role.SOURCE: "a"})).encode())
    document["pipeline"]["ids"]["golden"] = "b"
    assert PartitionState.decode(orjson.dumps(document)).identity == PipelineIdentity(
        "consumers", "t", {Role.SOURCE: "a"}
    )


def test_waiting_events_cost_little() -> None:
    state = PartitionState()
    for offset in range(1000):
        state.park(offset, ParkedEvent(f"consumer-{offset % 10}"))
    assert len(state.encode()) < 1000 * 12


# Changes of a partition record


def test_settling_decides_counts_and_ends_parking_in_one_change() -> None:
    state = PartitionState()
    state.park(7, ParkedEvent("c", "e", 1, 10, 1, 2, "CMT-TIMEOUT"))
    state.give_up(7, Verdict(settled(), "m", 1, 2, alert=True))
    assert (state.decided(7), state.counts) == (True, {})
    state.settle(7, settled())
    assert state.decided(7)
    assert (state.parked, state.verdicts) == ({}, {})
    assert state.counts["2026-01-01"]["DE"]["events"] == {"synced": 1}


def test_only_what_is_parked_can_be_tried_again() -> None:
    state = PartitionState()
    state.note_attempt(3, ParkedEvent("c", "e", 2))
    assert state.parked == {}
    state.park(3, ParkedEvent("c", "e", 1))
    state.note_attempt(3, ParkedEvent("c", "e", 2))
    assert state.parked[3].attempts == 2


def test_giving_up_settles_nothing_yet() -> None:
    state = PartitionState()
    state.give_up(3, Verdict(settled(), "m", 1, 2, alert=True))
    assert not state.decided(3)
    assert state.counts == {}


@given(st.sets(st.integers(0, 40)), st.lists(st.integers(-1, 40), max_size=5))
def test_advancing_forgets_no_decision_and_never_goes_back(done: set[int], steps: list[int]) -> None:
    state = PartitionState()
    for offset in done:
        state.settle(offset, settled())
    for upto in steps:
        before = {offset for offset in range(42) if state.decided(offset)}
        state.advance(upto)
        after = {offset for offset in range(42) if state.decided(offset)}
        assert before <= after
        assert after - before <= set(range(upto + 1))
        assert all(offset > state.upto for offset in state.decided_above)


@given(partitions, _offsets, settlements, failing)
def test_changing_a_copy_leaves_the_original_as_it_was(
    state: PartitionState, offset: int, settlement: Settlement, entry: ParkedEvent
) -> None:
    written = PartitionState.decode(state.encode())
    copy = state.copy()
    copy.park(offset, entry)
    copy.give_up(offset, Verdict(settlement, "m", 0, 0, alert=False))
    copy.settle(offset, settlement)
    copy.advance(2**62)
    assert state == written


@given(partitions, st.lists(settlements, max_size=4))
def test_settling_adds_to_the_counts_what_fold_adds(state: PartitionState, events: list[Settlement]) -> None:
    expected: Counts = json.loads(json.dumps(state.counts))
    state.readmitted.clear()  # these were counted before
    for offset, event in enumerate(events):
        state.settle(offset, event)
        fold(expected, event)
    assert state.counts == expected


# The record of a consumer


def test_first_event_makes_the_record() -> None:
    state = after_settling(None, 5, settled("e1"), 1000)
    assert state == ConsumerState(
        5, "DE", (RecentEvent("e1", "NEW", "synced", None, 1, 1000),), 1000, FullState(5, "NEW", "e1", "DE")
    )


@given(st.none() | consumers, _offsets, settlements, _times)
def test_settling_the_same_event_again_changes_nothing_more(
    before: ConsumerState | None, offset: int, settlement: Settlement, at_ms: int
) -> None:
    once = after_settling(before, offset, settlement, at_ms)
    assert after_settling(once, offset, settlement, at_ms) == once


def test_the_latest_events_are_kept_newest_first() -> None:
    state = None
    for offset in range(RECENT_KEPT + 3):
        state = after_settling(state, offset, settled(f"e{offset}"), offset)
    assert state is not None
    assert [event.event_id for event in state.recent] == [f"e{n}" for n in range(RECENT_KEPT + 2, 2, -1)]


@pytest.mark.parametrize(
    ("outcome", "full_state", "counts_as_full"),
    [
        (Outcome.SYNCED, True, True),
        (Outcome.PARTIAL, True, True),
        (Outcome.SYNCED, False, False),
        (Outcome.FAILED, True, False),
        (Outcome.INVALID, True, False),
        (Outcome.SUPERSEDED, True, False),
        (Outcome.DISCARDED, True, False),
    ],
)
def test_the_last_full_state_is_the_last_that_reached_marketing_cloud(
    outcome: Outcome, full_state: bool, counts_as_full: bool
) -> None:
    before = after_settling(None, 1, settled("e1"), 10)
    state = after_settling(before, 2, settled("e2", outcome, full_state=full_state), 20)
    assert state.full == (FullState(2, "NEW", "e2", "DE") if counts_as_full else FullState(1, "NEW", "e1", "DE"))
    assert state.synced_ms == (20 if outcome in (Outcome.SYNCED, Outcome.PARTIAL) else 10)


def test_a_repair_counts_until_the_next_event_and_a_dead_letter_that_is_closed_is_none() -> None:
    state = replace(after_settling(None, 5, settled("e1", Outcome.PARTIAL), 10), mended_ms=20)
    assert ConsumerState.decode(state.encode()) == state
    discarded = settled("e0", Outcome.DISCARDED, reason=SYNC_OPERATOR.code, full_state=False)
    assert after_settling(state, 3, discarded, 30).mended_ms == 20
    assert after_settling(state, 6, settled("e2", Outcome.PARTIAL), 30).mended_ms is None


def test_an_older_event_never_becomes_the_last_full_state() -> None:
    before = after_settling(None, 9, settled("late"), 10)
    state = after_settling(before, 3, settled("early"), 20)
    assert (state.offset, state.full) == (9, FullState(9, "NEW", "late", "DE"))


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INVALID, Outcome.SUPERSEDED, Outcome.DISCARDED])
def test_the_market_is_where_the_consumer_was_written_last(outcome: Outcome) -> None:
    before = after_settling(None, 1, settled(market="PL"), 10)
    assert after_settling(before, 2, settled("e2", market="DE", outcome=outcome), 20).market == "PL"
    for reached in (Outcome.SYNCED, Outcome.PARTIAL):
        assert after_settling(before, 2, settled("e2", market="DE", outcome=reached), 20).market == "DE"
    assert after_settling(None, 2, settled(market="DE", outcome=outcome), 20).market == "DE", "all there is to go by"


def test_an_event_of_unknown_market_leaves_the_known_one() -> None:
    before = after_settling(None, 1, settled(market="PL"), 10)
    assert after_settling(before, 2, settled("e2", market="-"), 20).market == "PL"
    assert after_settling(None, 2, settled("e2", market="-"), 20).market == "-"


parked_changes = st.lists(
    st.tuples(
        st.sampled_from(["park", "fail", "wait", "settle", "copy", "read"]), st.integers(0, 12), st.sampled_from("ab")
    ),
    max_size=40,
)


@given(parked_changes)
def test_what_is_written_of_parked_events_is_what_is_parked_after_any_changes(
    changes: list[tuple[str, int, str]],
) -> None:
    state = PartitionState()
    earlier: list[tuple[PartitionState, dict[int, ParkedEvent]]] = []
    for change, offset, consumer in changes:
        if change == "park":
            state.park(offset, ParkedEvent(consumer, "e", 1, reason="CMT-TIMEOUT"))
        elif change == "wait":
            state.park(offset, ParkedEvent(consumer))
        elif change == "fail":
            state.note_attempt(offset, ParkedEvent(consumer, "e", 2, day="2026-11-21"))
        elif change == "settle":
            state.settle(offset, settled())
        elif change == "copy":
            earlier.append((state, dict(state.parked)))
            state = state.copy()
        else:
            state = PartitionState.decode(state.encode())
        assert PartitionState.decode(state.encode()).parked == state.parked
    for before, forwarded in earlier:
        assert PartitionState.decode(before.encode()).parked == forwarded, "a copy changed what it was copied from"


_any = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=512)
_nasty = st.sampled_from(["\x01", '"', "\\", "\n", "\N{DOG FACE}", "c"]).map(lambda one: (one * 512)[:512])


@given(_any | _nasty, _any | _nasty, st.sampled_from(["", "2026-11-21"]))
def test_what_a_parked_event_may_take_is_what_its_json_takes_at_most(consumer: str, event_id: str, day: str) -> None:
    """A control character takes six bytes there, a quote two."""
    empty = len(PartitionState().encode())
    failing = ParkedEvent(consumer, kept_event_id(event_id), 99, *[LATEST_MS] * 3, "CMT-UNAVAILABLE", day)
    parked = PartitionState(parked={LARGEST: failing, LARGEST - 1: ParkedEvent(consumer)})
    allowed = consumer_bytes(consumer) + (dated_bytes(consumer) if day else OFFSET_BYTES) + OFFSET_BYTES
    assert len(parked.encode()) - empty <= allowed


@given(st.integers(0, LARGEST), verdicts)
def test_what_a_verdict_takes(offset: int, verdict: Verdict) -> None:
    empty = len(PartitionState().encode())
    assert len(PartitionState(verdicts={offset: verdict}).encode()) - empty <= verdict_bytes(verdict)


def test_an_event_id_is_kept_as_far_as_there_is_room() -> None:
    assert kept_event_id("e" * 256) == "e" * 256
    assert kept_event_id("e" * 257).startswith("e" * 250)
    assert kept_event_id("\x01" * 256).startswith("\x01" * 36)


def test_an_event_that_waits_is_read_as_one_wherever_the_record_lists_it() -> None:
    document = orjson.loads(PartitionState().encode())
    document["failing"] = [[3, "C-1", "e-3"]]
    state = PartitionState.decode(orjson.dumps(document))
    assert state.parked == {3: ParkedEvent("C-1")}
    assert PartitionState.decode(state.encode()) == state


# Dead letters that are handled again


def dead(offset: int = 7, **reverse: Any) -> tuple[PartitionState, Readmitted]:
    """A state in which the event at an offset has failed, and the entry that readmits it."""
    failed = settled(outcome=Outcome.FAILED, reason="CMT-TIMEOUT", failures=(FailureCount("pet", "CMT-TIMEOUT"),))
    state = PartitionState(upto=9)
    state.settle(offset, failed, dead_letter=True)
    return state, Readmitted(Handling.REDRIVE, 1, "t", "me", None, failed, ParkedEvent("c"))


def test_a_redrive_moves_the_count_and_closes_the_dead_letter_in_one_change() -> None:
    state, entry = dead()
    before = PartitionState.decode(state.encode())
    state.readmit(7, entry)
    assert (state.counts, state.dead_letters) == (before.counts, {"CMT-TIMEOUT": 1})
    state.settle(7, settled(day="2026-02-02", market="FR"))
    assert state.counts == {"2026-01-01": {"DE": {"events": {"synced": 1}, "records": {}, "failures": {}}}}
    assert (state.readmitted, state.dead_letters, state.upto) == ({}, {}, 9)


def test_a_redrive_that_fails_again_moves_the_reason_only() -> None:
    state, entry = dead()
    state.readmit(7, entry)
    state.give_up(7, Verdict(settled(), "m", 1, 2, alert=True))
    again = settled(
        outcome=Outcome.FAILED, reason="CMT-ROW-INVALID", failures=(FailureCount("pet", "CMT-ROW-INVALID"),)
    )
    state.settle(7, again, dead_letter=True)
    day = state.counts["2026-01-01"]["DE"]
    assert (day["events"], day["failures"]) == ({"failed": 1}, {"pet|NEW|CMT-ROW-INVALID": 1})
    assert (state.verdicts, state.dead_letters) == ({}, {"CMT-ROW-INVALID": 1})


def test_the_count_of_a_day_that_is_not_kept_any_more_does_not_move() -> None:
    state, entry = dead()
    state.counts.clear()
    state.readmit(7, entry)
    state.settle(7, settled(), counted_from="2026-01-02")
    assert (state.counts, state.readmitted, state.dead_letters) == ({}, {}, {})


def test_a_count_that_stands_in_a_closed_day_is_taken_out_by_a_negative_number() -> None:
    state, entry = dead()
    closed, state.counts = state.counts, {}
    state.readmit(7, entry)
    state.settle(7, settled())
    assert state.counts["2026-01-01"]["DE"]["events"] == {"failed": -1, "synced": 1}
    assert PartitionState.decode(state.encode()) == state
    total = added(closed, state.counts)["2026-01-01"]["DE"]
    assert (total["events"], total["failures"]) == ({"synced": 1}, {})


def test_an_attempt_of_a_readmitted_event_is_noted() -> None:
    state, entry = dead()
    state.readmit(7, entry)
    copy = state.copy()
    copy.note_attempt(7, ParkedEvent("c", attempts=2))
    assert (copy.readmitted[7].event.attempts, state.readmitted[7].event.attempts) == (2, 0)
    assert copy.readmitted[7].reverse == entry.reverse


def test_erasing_ends_only_if_no_later_delete_asked_for_it() -> None:
    state = PartitionState()
    state.erase("c", 5)
    state.erase("c", 3)
    state.erased("c", 4)
    assert state.erasing == {"c": 5}
    state.erased("c", 5)
    assert state.erasing == {}


@given(readmitted, _offsets)
def test_the_bytes_of_a_readmitted_event_are_what_the_record_grows_by(entry: Readmitted, offset: int) -> None:
    state = PartitionState(readmitted={offset: entry})
    assert len(state.encode()) - len(PartitionState().encode()) in (
        readmitted_bytes(offset, entry),
        readmitted_bytes(offset, entry) - 1,
    )
