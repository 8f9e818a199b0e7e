"""Where the work on a partition goes on: the record says so, and every undecided offset is read or told as lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.resume import resume

_offsets = st.integers(0, 60)
states = st.builds(
    PartitionState,
    upto=st.integers(-1, 40),
    decided_above=st.sets(_offsets),
    parked=st.dictionaries(_offsets, st.just(ParkedEvent("c")), max_size=3),
)


@given(state=states, group=st.none() | _offsets, begin=_offsets, lost=st.booleans(), end=st.integers(60, 90))
def test_every_undecided_offset_is_read_or_counted_as_cut_off(
    state: PartitionState, group: int | None, begin: int, lost: bool, end: int
) -> None:
    undecided = [offset for offset in range(end) if not state.decided(offset)]
    go_on = resume(state, group, begin, copies_lost=lost)
    assert go_on.position >= begin
    unread = [offset for offset in undecided if offset < go_on.position]
    assert len(unread) == go_on.cut_off == len([offset for offset in undecided if offset < begin])
    if group is not None:
        assert go_on.skipped == len([offset for offset in undecided if offset < group])
        assert list(go_on.settled) == [o for o in range(max(group, begin), end) if o <= state.upto]
    if lost:
        assert all(go_on.position <= max(offset, begin) for offset in state.parked)


def test_expired_offsets_that_start_at_the_end_skip_nothing() -> None:
    assert resume(PartitionState(upto=9), group=30, begin=0).position == 10


def test_what_was_settled_above_the_rest_is_not_counted_as_skipped() -> None:
    assert resume(PartitionState(upto=9, decided_above={10, 12}), group=14, begin=0).skipped == 2
