"""The consumers whose last event ended with one outcome: the record that counts, the order, the pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.delivery.consumer_record import ConsumerState, RecentEvent, consumer_key
from app.delivery.outcome import Outcome
from app.delivery.pipeline import Pipeline
from app.readmodels.batch import ReadBatch
from app.readmodels.consumer_index import ConsumerIndex, EndedConsumer
from app.readmodels.consumers import consumer_view
from app.readmodels.cursors import CursorError, encode_place
from app.readmodels.store import Store
from tests.support.examples import examples

PIPELINE = Pipeline("consumers", "main", "group")
CONSUMERS = PIPELINE.consumers_topic
FEW = (Outcome.SYNCED, Outcome.PARTIAL)


class Case:
    """A store that is written as the follower writes it, and the index over it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "r.sqlite", PIPELINE)
        self.index = ConsumerIndex(lambda query: query(self.store))
        self._offsets: Counter[int] = Counter()

    def write(self, consumer: str, state: ConsumerState | None, *, partition: int = 0, epoch: int = 1) -> None:
        batch = ReadBatch(PIPELINE)
        self._offsets[partition] += 1
        value = None if state is None else state.encode()
        batch.add(CONSUMERS, partition, self._offsets[partition], consumer_key(partition, epoch, consumer), value)
        assert batch.unreadable == []
        self.store.apply(batch)

    def partial(self, since_ms: int | None = None) -> list[str]:
        return [one.consumer_id for one in self.index.ended(Outcome.PARTIAL, since_ms).items]


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


def event(outcome: Outcome = Outcome.PARTIAL, at_ms: int = 1_000, event_id: str = "e-1") -> RecentEvent:
    return RecentEvent(event_id, "UPDATE", outcome.value, "CMT-COLUMN", 1, at_ms, "pet")


def ended(*events: tuple[Outcome, int]) -> ConsumerState:
    """A record with these events, the last one first."""
    return ConsumerState(5, "DE", tuple(event(*one, event_id=f"e-{n}") for n, one in enumerate(events)))


PARTIAL, SYNCED = ended((Outcome.PARTIAL, 1_000)), ended((Outcome.SYNCED, 1_000))


def test_a_consumer_is_listed_with_the_entity_and_the_reason_of_its_last_event(case: Case) -> None:
    case.write("C-1", PARTIAL)
    case.write("C-2", SYNCED)
    [one] = case.index.ended(Outcome.PARTIAL).items
    assert one == EndedConsumer("C-1", "DE", event(event_id="e-0"))
    assert (one.last.entity, one.last.reason) == ("pet", "CMT-COLUMN")
    assert [other.consumer_id for other in case.index.ended(Outcome.SYNCED).items] == ["C-2"]


def test_an_event_that_ends_otherwise_takes_the_consumer_off_the_list(case: Case) -> None:
    case.write("C-1", PARTIAL)
    case.write("C-1", ended((Outcome.SYNCED, 2_000), (Outcome.PARTIAL, 1_000)))
    assert case.partial() == []
    case.write("C-1", ended((Outcome.PARTIAL, 3_000), (Outcome.SYNCED, 2_000)))
    assert case.partial() == ["C-1"]


def test_a_consumer_that_was_repaired_is_not_listed_until_its_next_event_is_partial_too(case: Case) -> None:
    case.write("C-1", replace(PARTIAL, mended_ms=2_000))
    case.write("C-2", replace(SYNCED, mended_ms=2_000))
    assert case.partial() == []
    assert [one.consumer_id for one in case.index.ended(Outcome.SYNCED).items] == ["C-2"]
    case.write("C-1", ended((Outcome.PARTIAL, 3_000)))
    assert case.partial() == ["C-1"]


def test_a_consumer_that_is_forgotten_is_not_listed(case: Case) -> None:
    case.write("C-1", PARTIAL)
    case.write("C-1", None)
    assert case.partial() == []


def test_a_consumer_without_a_settled_event_is_not_listed(case: Case) -> None:
    case.write("C-1", ConsumerState(5, "DE"))
    assert [case.index.ended(outcome).items for outcome in Outcome] == [()] * len(Outcome)


def test_the_newest_event_is_first_and_since_leaves_out_what_is_older(case: Case) -> None:
    for consumer, at_ms in (("C-1", 2_000), ("C-2", 1_000), ("C-3", 3_000)):
        case.write(consumer, ended((Outcome.PARTIAL, at_ms)))
    assert case.partial() == ["C-3", "C-1", "C-2"]
    assert case.partial(since_ms=2_000) == ["C-3", "C-1"]


def test_the_record_of_the_highest_epoch_counts_whatever_arrives_last(case: Case) -> None:
    case.write("C-1", SYNCED, epoch=3)
    case.write("C-1", PARTIAL, epoch=2)
    assert case.partial() == []
    case.write("C-1", None, epoch=3)
    assert case.partial() == ["C-1"]


def test_the_newest_event_of_all_partitions_counts(case: Case) -> None:
    case.write("C-1", ended((Outcome.PARTIAL, 1_000)), partition=1)
    case.write("C-1", ended((Outcome.SYNCED, 2_000)), partition=2)
    assert case.partial() == []
    # A frozen owner's record of partition 2 hides nothing.
    case.write("C-1", ended((Outcome.SYNCED, 500)), partition=2, epoch=2)
    assert case.partial() == ["C-1"]


def test_pages_go_on_where_the_page_before_ended(case: Case) -> None:
    for number in range(7):
        case.write(f"C-{number}", PARTIAL, partition=number % 3)
    seen: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor is not None:
        page = case.index.ended(Outcome.PARTIAL, limit=3, cursor=cursor)
        seen += [one.consumer_id for one in page.items]
        cursor, pages = page.next, pages + 1
        # A consumer that fails meanwhile belongs to the first page, and moves nobody.
        case.write(f"D-{pages}", ended((Outcome.PARTIAL, 9_000)))
    assert (pages, len(seen), set(seen)) == (3, 7, {f"C-{number}" for number in range(7)})


def test_a_page_that_just_holds_the_rest_is_the_last_one(case: Case) -> None:
    for number in range(2):
        case.write(f"C-{number}", PARTIAL)
    assert case.index.ended(Outcome.PARTIAL, limit=2).next is None


def test_all_names_are_listed_across_pages(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.readmodels.consumer_index.MOST_LISTED", 2)
    for number in range(5):
        case.write(f"C-{number}", ended((Outcome.PARTIAL, number)))
    assert case.index.ended_names(Outcome.PARTIAL) == [f"C-{number}" for number in (4, 3, 2, 1, 0)]
    assert case.index.ended_names(Outcome.PARTIAL, 3) == ["C-4", "C-3"]


def test_the_consumer_of_a_recent_event_is_found_by_the_whole_event_id(case: Case) -> None:
    for consumer, event_id in (("C-1", 'e-"1"'), ("C-2", 'e-"1"'), ("C-3", 'e-"12"'), ("UPDATE", "e-9")):
        case.write(consumer, ConsumerState(5, "DE", (event(), event(event_id=event_id))))
    assert case.index.of_event('e-"1"') == ["C-1", "C-2"]
    assert case.index.of_event("UPDATE") == []  # an operation, not an event ID
    assert case.index.of_event("\ud800") == []


@pytest.mark.parametrize(
    "cursor", ["", "no", "WzFd", encode_place((1, 2), "partial"), encode_place((1,) * 4, "partial")]
)
def test_a_text_that_is_no_cursor_is_refused(case: Case, cursor: str) -> None:
    with pytest.raises(CursorError, match="not a cursor"):
        case.index.ended(Outcome.PARTIAL, cursor=cursor)


def test_the_cursor_of_another_outcome_is_refused_and_that_of_another_time_is_not(case: Case) -> None:
    for number in range(2):
        case.write(f"C-{number}", PARTIAL)
    cursor = case.index.ended(Outcome.PARTIAL, 5, limit=1).next
    assert len(case.index.ended(Outcome.PARTIAL, 6, cursor=cursor).items) == 1
    with pytest.raises(CursorError, match="another filter"):
        case.index.ended(Outcome.SYNCED, cursor=cursor)


def test_a_page_reads_no_more_of_a_large_table_than_it_shows(case: Case) -> None:
    asked: list[tuple[str, object]] = []
    rows = case.store.rows
    case.store.rows = lambda *query: asked.append(query) or rows(*query)  # type: ignore[method-assign,assignment,func-returns-value]
    case.index.ended(Outcome.SYNCED, 5)
    [(statement, values)] = asked
    plan = [line[3] for line in rows(f"EXPLAIN QUERY PLAN {statement}", values)]  # type: ignore[arg-type]
    assert plan[0].startswith("SEARCH mine USING INDEX consumers_ended (outcome=? AND settled")
    assert [line for line in plan if "SCAN" in line or "TEMP B-TREE" in line] == []
    assert [line for line in plan if "SEARCH" in line and "consumer_id=?" not in line] == plan[:1]


records = st.tuples(
    st.sampled_from(["C-1", "C-2"]),
    st.integers(0, 2),  # partition
    st.integers(1, 3),  # epoch
    st.none() | st.lists(st.tuples(st.sampled_from(FEW), st.integers(1, 4)), max_size=3),
)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(written=st.lists(records, max_size=14))
def test_the_list_says_of_every_consumer_what_its_own_view_says(
    written: list[tuple[str, int, int, list[tuple[Outcome, int]] | None]],
) -> None:
    with opened() as case:
        for consumer, partition, epoch, events in written:
            case.write(consumer, None if events is None else ended(*events), partition=partition, epoch=epoch)
        for outcome in FEW:
            listed = {one.consumer_id: one.last.event_id for one in case.index.ended(outcome).items}
            expected = {}
            for consumer in ("C-1", "C-2"):
                known = [(p, ConsumerState.decode(value)) for p, _, value in case.store.consumer_values(consumer)]
                view = consumer_view(consumer, known, {})
                if view is not None and view["lastOutcome"] == outcome:
                    expected[consumer] = view["lastEventId"]
            assert listed == expected
