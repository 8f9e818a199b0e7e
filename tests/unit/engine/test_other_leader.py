"""A partition gets another leader: what came before is noted before the next record is handed over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from app.delivery.record_digest import RecordDigest
from app.engine.consumer import LedgerConsumer
from app.engine.consumer_thread import LedgerConsumerThread
from app.engine.continuity import Continuity
from app.engine.fetching import Fetching
from app.engine.ledger import Ledger
from app.engine.rights import Rights
from app.engine.unreadable import Unreadable

MAIN, RETRY = TP("main", 0), TP("retry", 0)


class Group(LedgerConsumer):
    """A consumer whose thread brings what a test puts there: leader epochs of an answer, and its records.

    ``noted``: what was highest when another leader was noticed; ``handed_over`` counts what had been by then.
    """

    def __init__(self) -> None:
        self._asked, self._committed_offset = {}, {}
        self._not_accepted: set[TP] = set()
        self._ledger = Ledger()
        self.noted: list[tuple[int, RecordDigest | None, int]] = []
        self.session = object()
        self._ownership: Any = SimpleNamespace(
            context=SimpleNamespace(pipeline=SimpleNamespace(topic=MAIN.topic)),
            healing=SimpleNamespace(rewinds=dict),
            fetchable=lambda tps: tps,
            logs=SimpleNamespace(other_leader=lambda number, last: self.noted.append((number, last, len(self.came)))),
            look_back=lambda fetched_upto: None,
            session=self.session,
        )
        self._thread = thread = LedgerConsumerThread.__new__(LedgerConsumerThread)
        thread.fetching = Fetching(Rights(), Unreadable(), lambda tp: False)
        thread.getmany = self._answers
        self._continuity = Continuity(self._ownership, {}, thread.fetching.other_leader, self._undo)
        self.came: list[int] = []

    async def _answers(self, active: set[TP], timeout: float) -> dict[TP, list[Any]]:
        tp, epochs, offsets = self.next
        if epochs:
            self._thread.fetching.written_under(tp, epochs)
        return {tp: [SimpleNamespace(offset=offset, key=b"C-1", value=b"%d" % offset) for offset in offsets]}

    async def fetch(self, tp: TP, epochs: list[int], *offsets: int) -> None:
        """``epochs``: none when it is the rest of an answer."""
        self.next = tp, epochs, offsets
        for records in (await self._getmany({tp}, 0.0)).values():
            self.came += [record.offset for record in records]

    def _is_changelog_tp(self, tp: TP) -> bool:
        return False

    async def _undo(self, tp: TP, first: int) -> None:
        pass


def noted(offset: int) -> RecordDigest:
    return RecordDigest.of(offset, b"C-1", b"%d" % offset)


async def test_the_highest_record_before_is_noted_at_the_first_batch_and_at_another_leader() -> None:
    group = Group()
    await group.fetch(MAIN, [3], 7, 8)
    await group.fetch(MAIN, [], 9)
    await group.fetch(MAIN, [3], 10)
    assert group.noted == [(0, None, 0)]
    await group.fetch(MAIN, [4], 11)
    await group.fetch(MAIN, [4, 5], 12)
    await group.fetch(MAIN, [5], 13)
    assert group.noted == [(0, None, 0), (0, noted(10), 4), (0, noted(11), 5)]


async def test_the_highest_record_counts_also_when_the_work_has_gone_back() -> None:
    group = Group()
    await group.fetch(MAIN, [3], 7, 8, 9)
    await group.fetch(MAIN, [3], 4)
    await group.fetch(MAIN, [4], 5)
    assert group.noted[1:] == [(0, noted(9), 4)]


async def test_a_fetch_that_is_dropped_notes_nothing_and_the_next_one_does() -> None:
    group = Group()
    await group.fetch(MAIN, [3], 7)
    answers = group._answers

    async def straddles(active: set[TP], timeout: float) -> dict[TP, list[Any]]:
        group._ownership.session = object()
        return await answers(active, timeout)

    group._thread.getmany = straddles
    await group.fetch(MAIN, [4], 8)
    assert len(group.noted) == 1
    group._thread.getmany = answers
    await group.fetch(MAIN, [4], 8)
    assert group.noted[1:] == [(0, noted(7), 1)]


async def test_a_new_generation_begins_anew() -> None:
    group = Group()
    await group.fetch(MAIN, [3], 7)
    group._forget()
    await group.fetch(MAIN, [3], 5)
    assert group.noted == [(0, None, 0), (0, None, 1)]


@pytest.mark.parametrize("epochs", [[3], [4]])
async def test_only_the_main_topic_is_looked_at(epochs: list[int]) -> None:
    group = Group()
    await group.fetch(RETRY, [3], 7)
    await group.fetch(RETRY, epochs, 8)
    assert group.noted == []
