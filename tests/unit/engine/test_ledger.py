"""The ledger: nothing that was fetched is committed before it is closed, whatever the order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.engine.ledger import Ledger

TP = ("profiles", 0)


def test_nothing_fetched_nothing_to_commit() -> None:
    ledger = Ledger()
    assert ledger.committable(TP) is None
    assert ledger.settled_upto(TP) is None


def test_the_lowest_open_offset_holds_the_commit_back() -> None:
    ledger = Ledger()
    ledger.fetched(TP, [5, 6, 9, 10, 11])  # 7 and 8 were never received: compacted away
    for offset in (6, 10, 11):
        ledger.close(TP, offset)
    assert ledger.committable(TP) == 5
    ledger.close(TP, 5)
    assert ledger.committable(TP) == 9
    ledger.close(TP, 9)
    assert ledger.committable(TP) == 12


def test_the_first_offset_of_a_fresh_group_is_not_skipped() -> None:
    ledger = Ledger()
    ledger.fetched(TP, list(range(8)))
    for offset in (5, 6, 7):
        ledger.close(TP, offset)
    assert ledger.committable(TP) == 0


def test_an_offset_is_claimed_once_and_a_closed_one_never_again() -> None:
    ledger = Ledger()
    ledger.fetched(TP, [1, 2])
    assert ledger.claim(TP, 1)
    assert not ledger.claim(TP, 1)
    ledger.close(TP, 1)
    ledger.fetched(TP, [1, 2])  # read again after a seek back
    assert not ledger.claim(TP, 1)
    assert ledger.claim(TP, 2)


def test_an_offset_that_was_not_fetched_cannot_be_claimed() -> None:
    ledger = Ledger()
    ledger.fetched(TP, [1])
    assert not ledger.claim(TP, 2)
    assert not ledger.claim(("retry", 0), 1)


def test_a_new_generation_starts_from_nothing() -> None:
    ledger = Ledger()
    ledger.fetched(TP, [1, 2])
    ledger.claim(TP, 1)
    ledger.forget()
    ledger.close(TP, 1)  # late, of the old generation
    assert ledger.committable(TP) is None
    ledger.fetched(TP, [1, 2])
    assert ledger.claim(TP, 1)


def test_a_log_that_was_lost_begins_again_with_other_records_at_the_same_offsets() -> None:
    ledger = Ledger()
    ledger.fetched(TP, [0, 1, 2], [10, 10, 10])
    ledger.claim(TP, 0)
    ledger.begin_again(TP, 0)
    assert (ledger.log(TP), ledger.committable(TP), ledger.open_bytes(TP)) == (1, 0, 0)
    assert (ledger.waiting(TP), ledger.claimed(TP)) == (None, frozenset())
    assert not ledger.claim(TP, 1), "nothing of the new log was fetched yet"
    ledger.fetched(TP, [0, 1])
    assert ledger.claim(TP, 0)
    assert ledger.committable(TP) == 0
    ledger.forget()
    assert ledger.log(TP) == 0


def test_done_offsets_count_as_closed_only_for_the_record() -> None:
    ledger = Ledger()
    ledger.fetched(TP, [3, 4, 5])
    assert ledger.settled_upto(TP, {3, 4}) == 4
    assert ledger.settled_upto(TP, {4, 5}) == 2
    assert ledger.committable(TP) == 3


def test_unclaimed_counts_what_waits_in_buffers_over_all_partitions() -> None:
    ledger = Ledger()
    ledger.fetched(("profiles", 0), [1, 2, 3])
    ledger.fetched(("profiles", 1), [7])
    ledger.fetched(("retry", 0), [1])
    ledger.claim(("profiles", 0), 2)
    assert ledger.unclaimed("profiles") == 3
    ledger.close(("profiles", 0), 2)
    assert ledger.unclaimed("profiles") == 3


@given(st.sets(st.integers(0, 200), min_size=1), st.randoms(use_true_random=False))
def test_every_order_of_closing_ends_at_the_end(offsets: set[int], random: object) -> None:
    ledger, order = Ledger(), list(offsets)
    ledger.fetched(TP, sorted(offsets))
    random.shuffle(order)  # type: ignore[attr-defined]
    for offset in order:
        ledger.close(TP, offset)
    assert ledger.committable(TP) == max(offsets) + 1


class LedgerMachine(RuleBasedStateMachine):
    """Fetches with gaps, claims, closes, seeks back and generations, in any order, against the obvious model."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.next = 0
        self.committed = 0  # what a restart would read from
        self.closed: set[int] = set()
        self.open: set[int] = set()
        self.claimed: set[int] = set()
        self.received: list[int] = []

    @rule(gap=st.integers(0, 3), count=st.integers(1, 5))
    def fetch(self, gap: int, count: int) -> None:
        batch = list(range(self.next + gap, self.next + gap + count))
        self.next = batch[-1] + 1
        self.ledger.fetched(TP, batch)
        self.received += batch
        self.open.update(set(batch) - self.closed)

    @precondition(lambda self: self.received)
    @rule(data=st.data())
    def read_again(self, data: st.DataObject) -> None:
        first = data.draw(st.sampled_from(self.received))
        self.ledger.fetched(TP, [offset for offset in self.received if offset >= first])

    @precondition(lambda self: self.received)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(self.received))
        assert self.ledger.claim(TP, offset) == (offset in self.open and offset not in self.claimed)
        if offset in self.open:
            self.claimed.add(offset)

    @precondition(lambda self: self.claimed & self.open)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.claimed & self.open)))
        self.ledger.close(TP, offset)
        self.open.discard(offset)
        self.closed.add(offset)

    @precondition(lambda self: self.claimed & self.open)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.claimed & self.open)))
        self.ledger.release(TP, offset)
        self.claimed.discard(offset)

    @precondition(lambda self: self.received)
    @rule(data=st.data())
    def lose_the_log(self, data: st.DataObject) -> None:
        self.next = self.committed = data.draw(st.integers(0, self.next - 1))
        self.ledger.begin_again(TP, self.next)
        assert self.ledger.committable(TP) == self.next
        self.open, self.claimed, self.closed, self.received = set(), set(), set(), []
        self.fetch(0, 1)

    @rule()
    def lose_the_partition(self) -> None:
        if (offset := self.ledger.committable(TP)) is not None:
            self.committed = offset
        self.ledger.forget()
        # The next owner reads from the commit; what is closed stays known to the durable record, not to the ledger.
        self.received = [offset for offset in self.received if offset >= self.committed]
        self.open, self.claimed, self.closed = set(self.received), set(), set()
        if self.received:
            self.ledger.fetched(TP, self.received)

    @invariant()
    def nothing_open_is_below_the_commit(self) -> None:
        offset = self.ledger.committable(TP)
        if offset is not None:
            assert all(open_offset >= offset for open_offset in self.open)
            assert offset == (min(self.open) if self.open else max(self.received) + 1)

    @invariant()
    def what_was_overtaken_is_the_lowest_unclaimed_offset_before(self) -> None:
        unclaimed = sorted(self.open - self.claimed)
        assert self.ledger.waiting(TP) == (unclaimed[0] if unclaimed else None)
        assert self.ledger.unclaimed(TP[0]) == len(unclaimed)
        assert self.ledger.claimed(TP) == self.open & self.claimed
        for offset in self.received[-3:]:
            before = [one for one in unclaimed if one < offset]
            assert self.ledger.overtaken(TP, offset) == (before[0] if before else None)


TestLedgerMachine = LedgerMachine.TestCase
