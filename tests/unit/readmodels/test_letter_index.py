"""The index of dead letters: the record that counts, the kept numbers, filters and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.delivery.dead_letter_record import DeadLetter, HistoryLine, Holder, LetterStatus, ValuePlace
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.operator_task import LetterFilter, Selection
from app.delivery.outcome import Outcome
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline import Pipeline
from app.delivery.readmitted import Handling, Readmitted
from app.delivery.record import start_of
from app.readmodels import ReadModelUnavailable
from app.readmodels.batch import ReadBatch
from app.readmodels.cursors import CursorError
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letters import OPEN_ONES, LetterIndex
from app.readmodels.progress import Progress
from app.readmodels.store import Store
from app.readmodels.tasks import TaskIndex
from tests.support.examples import examples
from tests.support.records import settlement

PIPELINE = Pipeline("consumers", "main", "group")
LETTERS = PIPELINE.letters_topic
KIND = Fingerprint("CMT-TIMEOUT", "pet", "NEW")
tried = settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def letter(
    status: LetterStatus = LetterStatus.OPEN,
    *,
    failed: int = 5,
    consumer: str | None = "C-1",
    event: str = "e-1",
    market: str = "DE",
    operation: str = "NEW",
    kind: Fingerprint = KIND,
    **changes: Any,
) -> DeadLetter:
    settled = settlement(event, operation=operation, market=market, outcome=Outcome.FAILED, reason=kind.reason)
    settled = replace(settled, consumer_id=consumer)
    return replace(DeadLetter(status, settled, kind, "m", 1, failed, 5, None), **changes)


def readmitted() -> Readmitted:
    event = ParkedEvent("C-1", "e-1", 0, 0, 0, 0, "")
    return Readmitted(Handling.REDRIVE, 1, "t", "me", None, settlement(), event)


class Case:
    """A store that is written as the follower writes it, and the index over it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "r.sqlite", PIPELINE)
        self.progress = Progress()
        self.partitions: dict[int, PartitionState] = {}
        self.index = LetterIndex(LETTERS, self.progress, lambda query: query(self.store), lambda: self.partitions)
        self.tasks = TaskIndex(PIPELINE.tasks_topic, self.progress, lambda query: query(self.store))
        self._offsets: Counter[int] = Counter()

    def write(self, *records: tuple[LetterId, int, DeadLetter | None]) -> None:
        """One batch of records, each at the next offset of its partition."""
        batch = ReadBatch(PIPELINE)
        for letter_id, epoch, content in records:
            value = content.encode() if content else None
            self._offsets[letter_id.partition] += 1
            offset = self._offsets[letter_id.partition]
            batch.add(LETTERS, letter_id.partition, offset, letter_key(letter_id, epoch), value)
        assert batch.unreadable == []
        self.store.apply(batch)

    def readmit(self, *ids: LetterId) -> None:
        for one in ids:
            state = self.partitions.setdefault(one.partition, PartitionState())
            state.readmit(one.offset, readmitted())


@contextmanager
def opened() -> Iterator[Case]:
    with TemporaryDirectory() as folder:
        case = Case(Path(folder))
        yield case
        case.store.close()


@pytest.fixture
def case() -> Iterator[Case]:
    with opened() as one:
        yield one


A, B, C = LetterId(0, 1), LetterId(0, 2), LetterId(1, 1)


# Values that expire
def test_open_values_from_before_a_time_are_counted_in_each_topic_with_the_oldest(case: Case) -> None:
    dlq, main = ValuePlace(Holder.DLQ, 1), ValuePlace(Holder.MAIN, 1)
    day = start_of(settlement().day)
    case.write((A, 1, letter(failed=5, place=dlq)), (B, 1, letter(failed=7, place=dlq)), (C, 1, letter(place=main)))
    case.write((LetterId(1, 2), 1, letter(failed=1)), (LetterId(1, 3), 1, letter(LetterStatus.SETTLED, place=dlq)))
    case.write((LetterId(1, 4, foreign=True), 1, letter(failed=6, place=dlq)))
    assert case.index.kept_before(Holder.DLQ, 5) == (0, None)
    assert case.index.kept_before(Holder.DLQ, 6) == (1, 5)
    assert case.index.kept_before(Holder.DLQ, 8) == (3, 5)
    assert [case.index.kept_before(Holder.MAIN, day + after) for after in (0, 1)] == [(0, None), (1, day)]
    assert case.index.kept_before(Holder.DLQ, -(2**63) + 1) == (0, None)  # the longest retention that Kafka knows
    case.write((A, 2, letter(LetterStatus.DISCARDED, place=dlq)), (B, 1, letter(failed=9, place=dlq)), (C, 1, None))
    assert case.index.kept_before(Holder.DLQ, 10) == (2, 6)
    assert case.index.kept_before(Holder.MAIN, 2**62) == (0, None)


def test_values_that_expire_are_counted_in_an_index_alone(case: Case) -> None:
    asked: list[tuple[str, object]] = []
    rows = case.store.rows
    case.store.rows = lambda *query: asked.append(query) or rows(*query)  # type: ignore[method-assign,assignment,func-returns-value]
    case.index.kept_before(Holder.DLQ, 5)
    [(statement, values)] = asked
    plan = [line[3] for line in rows(f"EXPLAIN QUERY PLAN {statement}", values)]  # type: ignore[arg-type]
    assert plan == ["SEARCH letters USING COVERING INDEX letters_kept (status=? AND holder=? AND kept_since<?)"]


# The record that counts
def test_the_highest_epoch_counts_whatever_arrives_last(case: Case) -> None:
    case.write((A, 3, letter(failed=7)), (A, 2, letter(LetterStatus.SETTLED)))
    assert case.index.record(A) == (3, letter(failed=7))
    assert case.index.other_keys(A) == (letter_key(A, 2),)
    case.write((A, 4, letter(LetterStatus.DISCARDED)))
    assert case.index.record(A) == (4, letter(LetterStatus.DISCARDED))
    assert case.index.other_keys(A) == (letter_key(A, 2), letter_key(A, 3))


def test_a_record_that_is_read_again_does_not_replace_a_later_one(case: Case) -> None:
    case.write((A, 3, letter(failed=6)), (A, 3, letter(failed=7)), (A, 2, letter(failed=4)), (A, 2, letter(failed=5)))
    batch = ReadBatch(PIPELINE)
    batch.add(LETTERS, 0, 0, letter_key(A, 3), letter(failed=6).encode())
    batch.add(LETTERS, 0, 0, letter_key(A, 2), letter(failed=4).encode())
    case.store.apply(batch)
    assert case.index.record(A) == (3, letter(failed=7))
    case.write((A, 3, None))
    assert case.index.record(A) == (2, letter(failed=5))


def test_a_tombstone_removes_its_own_epoch_only(case: Case) -> None:
    case.write((A, 3, letter(failed=7)), (A, 2, letter(LetterStatus.SETTLED)))
    case.write((A, 2, None))
    assert (case.index.record(A), case.index.other_keys(A)) == ((3, letter(failed=7)), ())
    case.write((A, 3, None))
    assert (case.index.record(A), case.index.count()) == (None, 0)


def test_when_the_record_that_counts_goes_the_next_lower_one_counts_as_after_a_rebuild(case: Case) -> None:
    case.write((A, 2, letter(failed=6)), (A, 3, letter(LetterStatus.SETTLED)), (A, 3, None))
    assert case.index.record(A) == (2, letter(failed=6))
    assert case.index.count() == 1


def test_foreign_records_have_names_of_their_own(case: Case) -> None:
    foreign = LetterId(0, 1, foreign=True)
    case.write((A, 1, letter(event="ours")), (foreign, 1, letter(event="theirs")))
    assert case.index.open_after(0, -1, LetterFilter(), 9) == [(A, 1, letter(event="ours"))]
    assert case.index.open_after(0, -1, LetterFilter(), 9, foreign=True) == [(foreign, 1, letter(event="theirs"))]
    assert [one.id for text in ("0-1", "dlq-0-1", "theirs") for one in case.index.find(text)] == [A, foreign, foreign]


# What the owner asks
def test_an_owner_is_told_nothing_while_its_dead_letters_are_being_read_in(case: Case) -> None:
    case.progress.build([LETTERS], {(LETTERS, 0): 5, (LETTERS, 1): 0})
    case.progress.moved({(LETTERS, 1): 0})
    for ask in (
        lambda: case.index.record(A),
        lambda: case.index.open_after(0, -1, LetterFilter(), 1),
        lambda: case.index.open_of(0, "C-1", 9, 1),
        lambda: case.index.open_number(0),
        lambda: case.index.forgettable(0, 9, 1),
    ):
        with pytest.raises(ReadModelUnavailable, match="partition 0"):
            ask()
    assert case.index.record(C) is None


def test_an_owner_finds_a_consumers_older_open_dead_letters_lowest_first(case: Case) -> None:
    ids = [LetterId(0, offset) for offset in (9, 2, 5, 7)]
    case.write(*((one, 1, letter()) for one in ids), (LetterId(0, 1), 1, letter(LetterStatus.SETTLED)))
    case.write((LetterId(0, 3), 1, letter(consumer="C-2")), (LetterId(1, 4), 1, letter()))
    assert [one.offset for one, _, _ in case.index.open_of(0, "C-1", 9, 2)] == [2, 5]
    assert [one.offset for one, _, _ in case.index.open_of(0, "C-1", 9, 9)] == [2, 5, 7]
    assert case.index.open_of(0, "C-1", 2, 9) == []
    assert case.index.open_number(0) == len(case.index.open_after(0, -1, LetterFilter(), 99))


def test_closed_dead_letters_can_be_forgotten_with_all_their_keys_the_one_that_counts_last(case: Case) -> None:
    closed = letter(LetterStatus.SETTLED, changed_ms=10)
    case.write((A, 1, letter()), (A, 3, closed), (A, 2, letter()), (B, 1, letter()))
    case.write((LetterId(0, 8), 1, letter(LetterStatus.DISCARDED, changed_ms=20)))
    found = case.index.forgettable(0, 20, 9)
    assert [(one.id, one.keys) for one in found] == [(A, tuple(letter_key(A, epoch) for epoch in (1, 2, 3)))]
    for epoch in (1, 2, 3):
        case.write((A, epoch, None))
        assert case.index.record(A) in ((3, closed), None)
    assert case.index.get(A) is None


# What people ask
def test_what_is_readmitted_is_shown_as_redriving(case: Case) -> None:
    case.write((A, 1, letter()), (B, 1, letter()), (C, 1, letter(LetterStatus.SETTLED)))
    case.readmit(B, C)
    shown = {one.id: one.status for one in case.index.page().items}
    assert shown == {A: ShownStatus.OPEN, B: ShownStatus.REDRIVING, C: ShownStatus.SETTLED}
    for status, ids in ((ShownStatus.OPEN, [A]), (ShownStatus.REDRIVING, [B]), (ShownStatus.SETTLED, [C])):
        assert [one.id for one in case.index.page(statuses={status}).items] == ids
        assert case.index.count(statuses={status}) == 1
    assert case.index.count(statuses=OPEN_ONES) == 2
    assert case.index.count(statuses=set(ShownStatus)) == 3


def test_groups_show_the_largest_kind_first(case: Case) -> None:
    other = Fingerprint("CMT-ROW-INVALID", "consumer", "UPDATE")
    case.write(
        (A, 1, letter(failed=9)),
        (B, 1, letter(failed=4, market="FR")),
        (C, 1, letter(failed=6, consumer="C-2")),
        (LetterId(1, 2), 1, letter(kind=other)),
        (LetterId(1, 3), 1, letter(LetterStatus.SETTLED, failed=1)),
    )
    first, second = case.index.groups()
    assert (first.fingerprint, first.open, first.consumers) == (Fingerprint("CMT-TIMEOUT", "pet", "NEW"), 3, 2)
    assert (first.oldest_ms, first.newest_ms, first.example) == (4, 9, A)
    assert (second.fingerprint, second.open, second.consumers) == (other, 1, 1)
    assert [(one.open, one.consumers) for one in case.index.groups(LetterFilter(market="DE"))] == [(2, 2), (1, 1)]
    assert [(one.open, one.consumers) for one in case.index.groups(LetterFilter(market="FR"))] == [(1, 1)]
    assert case.index.count_by_partition(Selection()) == {0: 2, 1: 2}
    assert case.index.count_by_partition(Selection((A, A, C, LetterId(1, 3)))) == {0: 1, 1: 1}
    assert case.index.consumers_with_open() == [("C-1", 3), ("C-2", 1)]
    assert case.index.oldest_open()[0].id == B


def test_a_kind_fails_since_the_first_failure_of_what_is_open_also_after_a_failed_redrive(case: Case) -> None:
    case.write(
        (A, 1, letter(failed=900, first_failed_ms=300)),
        (B, 1, letter(failed=500, first_failed_ms=400, market="FR")),
        (C, 1, letter(LetterStatus.SETTLED, failed=200, first_failed_ms=100)),
    )
    for chosen in (LetterFilter(), LetterFilter(consumer="C-1")):
        [group] = case.index.groups(chosen)
        assert (group.since_ms, group.oldest_ms, group.newest_ms) == (300, 500, 900)
    assert [one.since_ms for one in case.index.groups(LetterFilter(market="FR"))] == [400]
    case.write((A, 1, letter(LetterStatus.SETTLED, failed=900, first_failed_ms=300)))
    assert [one.since_ms for one in case.index.groups()] == [400]


def test_pages_of_failures_at_the_same_moment_repeat_and_miss_none(case: Case) -> None:
    ids = [
        LetterId(partition, offset, foreign) for partition in (0, 1) for offset in (1, 2) for foreign in (False, True)
    ]
    case.write(*((one, 1, letter()) for one in ids))
    for statuses in (set(ShownStatus), {ShownStatus.OPEN}):
        seen, cursor = [], None
        for _ in ids:
            page = case.index.page(statuses=statuses, limit=1, cursor=cursor)
            seen += [one.id for one in page.items]
            cursor = page.next
        assert cursor is None
        assert sorted(seen) == sorted(ids)


def test_a_time_range_takes_its_first_moment_and_not_its_last(case: Case) -> None:
    case.write((A, 1, letter(failed=4)), (B, 1, letter(failed=5)), (C, 1, letter(failed=6)))
    chosen = LetterFilter(since_ms=4, until_ms=6)
    assert [one.id for one in case.index.page(chosen).items] == [B, A]
    assert case.index.count(chosen) == 2
    assert [group.open for group in case.index.groups(chosen)] == [2]


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "WzFd", "\udcff"])
def test_a_cursor_that_was_not_given_is_refused(case: Case, cursor: str) -> None:
    with pytest.raises(CursorError, match="not a cursor"):
        case.index.page(cursor=cursor)


def test_the_next_page_of_an_age_is_the_next_page_although_the_time_has_moved(case: Case) -> None:
    case.write((A, 1, letter(failed=7)), (C, 1, letter(failed=9)))
    first = case.index.page(LetterFilter(since_ms=5), limit=1)
    second = case.index.page(LetterFilter(since_ms=6), limit=1, cursor=first.next)
    assert [one.id for one in (*first.items, *second.items)] == [C, A]


def test_a_cursor_is_of_use_for_its_own_filter_only(case: Case) -> None:
    case.write((A, 1, letter()), (B, 1, letter()))
    cursor = case.index.page(limit=1).next
    assert cursor is not None
    with pytest.raises(CursorError, match="another filter"):
        case.index.page(LetterFilter(market="DE"), cursor=cursor)


def test_nothing_is_called_by_half_a_surrogate_pair(case: Case) -> None:
    case.write((A, 1, letter()))
    odd = "C-\udcff"
    assert case.index.find(odd) == []
    assert case.index.of_consumer(odd) == []
    assert case.index.page(LetterFilter(consumer=odd)).items == ()
    assert case.index.groups(LetterFilter(reason=odd)) == []


# Any records
_kinds = st.sampled_from(
    [Fingerprint("R-1", "pet", "NEW"), Fingerprint("R-1", "cat", "NEW"), Fingerprint("a,b", "", "D")]
)
_history = st.lists(
    st.builds(
        lambda task, outcome: HistoryLine(1, "redrive", outcome, task=task),
        st.sampled_from(["", "t-1", "t-2"]),
        st.sampled_from(["", "synced", "failed"]),
    ),
    max_size=3,
)
_letters = st.builds(
    lambda status, failed, consumer, market, operation, kind, event, history: letter(
        status, failed=failed, consumer=consumer, market=market, operation=operation, kind=kind, event=event,
        history=tuple(history), changed_ms=failed,
    ),
    st.sampled_from(LetterStatus),
    st.integers(0, 3),
    st.sampled_from([None, "", "C-1", "C-2"]),
    st.sampled_from(["DE", "FR", "-"]),
    st.sampled_from(["NEW", "UPDATE"]),
    _kinds,
    st.sampled_from(["e-1", "e-2", "0-1"]),
    _history,
)  # fmt: skip
_ids = st.builds(LetterId, st.integers(0, 1), st.integers(0, 3), st.booleans())
_records = st.lists(
    st.lists(st.tuples(_ids, st.integers(0, 3), st.none() | _letters | _letters), min_size=1, max_size=6), max_size=8
)
# A filter that asks for much means nothing, so most ask for one thing.
_MOSTLY_ANY = ("",) * 5
_filters = st.builds(
    LetterFilter,
    st.sampled_from([*_MOSTLY_ANY, "R-1:pet:NEW", "a_b:-:D", "none"]),
    st.sampled_from([*_MOSTLY_ANY, "R-1", "a,b"]),
    st.sampled_from([*_MOSTLY_ANY, "DE"]),
    st.sampled_from([*_MOSTLY_ANY, "NEW"]),
    st.sampled_from([*_MOSTLY_ANY, "pet"]),
    st.sampled_from([*_MOSTLY_ANY, "C-1"]),
    st.sampled_from([None, None, 0, 2]),
    st.sampled_from([None, None, 2, 3, 9]),
)

Counting = dict[LetterId, tuple[int, DeadLetter]]


def _written(case: Case, batches: list[list[tuple[LetterId, int, DeadLetter | None]]]) -> Counting:
    """Writes the batches; what a reader of the compacted topic must find."""
    topic: dict[tuple[LetterId, int], DeadLetter] = {}
    for batch in batches:
        case.write(*batch)
        for letter_id, epoch, content in batch:
            if content is None:
                topic.pop((letter_id, epoch), None)
            else:
                topic[letter_id, epoch] = content
    counting: Counting = {}
    for (letter_id, epoch), content in topic.items():
        if letter_id not in counting or epoch > counting[letter_id][0]:
            counting[letter_id] = epoch, content
    return counting


def _kept(case: Case) -> dict[str, Any]:
    read = case.store.rows
    counts = read(
        "SELECT partition, status, fingerprint, reason, entity, operation, market, letters"
        " FROM letter_counts JOIN facets USING (facet) JOIN kinds USING (kind)"
    )
    failing = read("SELECT fingerprint, consumer, letters FROM failing JOIN kinds USING (kind)")
    return {
        "counts": {tuple(key): n for *key, n in counts},
        "failing": {tuple(key): n for *key, n in failing},
        "consumers": dict(read("SELECT fingerprint, consumers FROM kinds WHERE consumers > 0")),
        "handled": {tuple(key): n for *key, n in read("SELECT * FROM handled")},
        "facets": read("SELECT count(*) FROM facets")[0][0],
        "kinds": read("SELECT count(*) FROM kinds")[0][0],
    }


def _recounted(counting: Mapping[LetterId, tuple[int, DeadLetter]]) -> dict[str, Any]:
    counts: Counter[tuple[Any, ...]] = Counter()
    failing: Counter[tuple[str, str]] = Counter()
    handled: Counter[tuple[Any, ...]] = Counter()
    for letter_id, (_, one) in counting.items():
        number = list(LetterStatus).index(one.status)
        kind = (str(one.fingerprint), one.fingerprint.reason, one.fingerprint.entity)
        counts[letter_id.partition, number, *kind, one.settlement.operation, one.settlement.market] += 1
        if one.status is LetterStatus.OPEN and one.settlement.consumer_id is not None:
            failing[str(one.fingerprint), one.settlement.consumer_id] += 1
        for task in {line.task for line in one.history} - {""}:
            last = [line.outcome for line in one.history if line.task == task][-1]
            handled[task, letter_id.partition, last or "open", int(one.status is LetterStatus.OPEN)] += 1
    return {
        "counts": counts,
        "failing": failing,
        "consumers": dict(Counter(kind for kind, _ in failing)),
        "handled": handled,
        "facets": len({key[2:] for key in counts}),
        "kinds": len({key[2] for key in counts}),
    }


@tried
@given(_records)
def test_the_index_holds_what_the_topic_holds_and_the_kept_numbers_are_those_of_a_recount(batches: list[Any]) -> None:
    with opened() as case:
        counting = _written(case, batches)
        assert {one: case.index.record(one) for one in counting} == counting
        assert case.index.count(statuses=set(ShownStatus)) == len(counting)
        assert _kept(case) == _recounted(counting)


@tried
@given(_records, _filters, st.sets(st.sampled_from(ShownStatus)), st.sets(_ids), st.integers(1, 4))
def test_filters_pages_and_counts_mean_what_the_filter_says(
    batches: list[Any], chosen: LetterFilter, statuses: set[ShownStatus], again: set[LetterId], limit: int
) -> None:
    with opened() as case:
        counting = _written(case, batches)
        case.readmit(*(one for one in again if not one.foreign))

        def shown(letter_id: LetterId, one: DeadLetter) -> ShownStatus:
            if one.status is LetterStatus.OPEN and letter_id in again and not letter_id.foreign:
                return ShownStatus.REDRIVING
            return ShownStatus(one.status.value)

        found = {one: content for one, (_, content) in counting.items() if chosen.matches(content)}
        wanted = [one for one, content in found.items() if shown(one, content) in statuses]
        wanted.sort(key=lambda one: (found[one].last_failed_ms, one.partition, one.foreign, one.offset), reverse=True)
        listed, cursor, more = [], None, True
        while more:
            page = case.index.page(chosen, statuses, limit=limit, cursor=cursor)
            assert len(page.items) == limit or page.next is None
            listed += page.items
            cursor, more = page.next, page.next is not None
        assert [one.id for one in listed] == wanted
        assert all(one.status is shown(one.id, one.letter) and one.letter == found[one.id] for one in listed)
        assert case.index.count(chosen, statuses) == len(wanted)
        still_open = {one: content for one, content in found.items() if content.status is LetterStatus.OPEN}
        by_partition = Counter(one.partition for one in still_open)
        assert case.index.count_by_partition(Selection(filter=chosen)) == by_partition
        for partition, foreign in ((0, False), (1, True)):
            mine = sorted(one for one in still_open if (one.partition, one.foreign) == (partition, foreign))
            after = case.index.open_after(partition, -1, chosen, 99, foreign=foreign)
            assert after == [(one, counting[one][0], still_open[one]) for one in mine]
            assert (
                case.index.open_after(partition, 1, chosen, 1, foreign=foreign)
                == [one for one in after if one[0].offset > 1][:1]
            )
        _check_groups(case, chosen, still_open)
        consumers = Counter(one.settlement.consumer_id for one in still_open.values() if one.settlement.consumer_id)
        assert dict(case.index.consumers_with_open(chosen)) == consumers


def _check_groups(case: Case, chosen: LetterFilter, still_open: Mapping[LetterId, DeadLetter]) -> None:
    def place(one: LetterId) -> Any:
        return still_open[one].last_failed_ms, one.partition, one.foreign, one.offset

    by_kind: dict[str, list[LetterId]] = {}
    for one in still_open:
        by_kind.setdefault(str(still_open[one].fingerprint), []).append(one)
    groups = {str(group.fingerprint): group for group in case.index.groups(chosen)}
    assert groups.keys() == by_kind.keys()
    for kind, ids in by_kind.items():
        names = {still_open[one].settlement.consumer_id for one in ids} - {None}
        times = [still_open[one].last_failed_ms for one in ids]
        found = groups[kind]
        assert (found.open, found.consumers) == (len(ids), len(names))
        assert (found.oldest_ms, found.newest_ms) == (min(times), max(times))
        assert found.since_ms == min(still_open[one].first_failed_ms for one in ids)
        assert found.example == max(ids, key=place)
