"""How far the read models have come, and when an answer may be called complete."""

from __future__ import annotations

import asyncio
import threading
import time

from app.readmodels.progress import Progress
from app.readmodels.state_topics import TopicFacts

T = "topic"


def test_nothing_is_complete_before_a_look_at_the_end_was_reached() -> None:
    progress = Progress()
    assert not progress.caught_up(5)
    progress.looked({(T, 0): 3, (T, 1): 0}, time.monotonic())
    progress.moved({(T, 0): 2, (T, 1): 0})
    assert not progress.caught_up(5)
    progress.moved({(T, 0): 3})
    assert progress.caught_up(5)


def test_what_is_written_after_the_look_does_not_make_it_incomplete() -> None:
    progress = Progress()
    progress.looked({(T, 0): 3}, time.monotonic())
    progress.moved({(T, 0): 3})
    progress.looked({(T, 0): 1000}, time.monotonic())
    assert progress.caught_up(5)
    assert progress.open_looks == {T}


def test_an_old_look_is_not_fresh() -> None:
    progress = Progress()
    progress.looked({(T, 0): 3}, time.monotonic() - 60)
    progress.moved({(T, 0): 3})
    assert not progress.caught_up(5)
    assert progress.behind_seconds() >= 60


def test_data_being_built_answers_nothing_until_its_end_is_reached() -> None:
    progress = Progress()
    progress.build([T])
    assert progress.building(T, 0)
    assert progress.end_unknown(T)
    progress.build([T], {(T, 0): 5, (T, 1): 2, ("other", 0): 9})
    progress.looked({(T, 0): 5, (T, 1): 2}, time.monotonic())
    assert not progress.end_unknown(T)
    progress.moved({(T, 1): 2})
    assert not progress.building(T, 1)
    assert progress.building(T, 0)
    assert not progress.caught_up(5)
    progress.moved({(T, 0): 5})
    assert not progress.building(T, 0)
    assert progress.caught_up(5)


def test_building_anew_takes_the_positions_back() -> None:
    progress = Progress()
    progress.moved({(T, 0): 5, ("other", 0): 7})
    progress.build([T])
    assert progress.position(T, 0) == 0
    assert progress.position("other", 0) == 7


def test_an_empty_topic_is_built_at_once() -> None:
    progress = Progress()
    progress.build([T], {(T, 0): 0})
    progress.moved({(T, 0): 0})
    assert not progress.building(T, 0)


async def test_a_waiter_wakes_when_its_offset_was_applied_by_another_thread() -> None:
    progress = Progress()
    waiting = asyncio.create_task(progress.wait_until(T, 0, 3, timeout=30))
    await asyncio.sleep(0)  # registered
    threading.Thread(target=progress.moved, args=({(T, 0): 2},)).start()
    threading.Thread(target=progress.moved, args=({(T, 0): 3},)).start()
    assert await waiting


async def test_whoever_waited_gets_an_answer_though_the_data_is_being_built() -> None:
    progress = Progress()
    progress.build([T], {(T, 0): 5})
    waiting = asyncio.create_task(progress.wait_until(T, 0, 3, timeout=30))
    await asyncio.sleep(0)
    progress.moved({(T, 0): 4})
    assert not await progress.wait_until(T, 0, 3, timeout=0)
    progress.moved({(T, 0): 5})
    assert await waiting
    assert not progress.building(T, 0)


async def test_it_is_waited_for_while_somebody_waits_or_all_is_being_read_in() -> None:
    progress = Progress()
    assert not progress.has_waiters
    waiting = asyncio.create_task(progress.wait_until(T, 0, 5, timeout=30))
    await asyncio.sleep(0)
    assert progress.has_waiters
    progress.moved({(T, 0): 5})
    assert await waiting
    assert not progress.has_waiters
    progress.build([T], {(T, 0): 9})
    assert progress.has_waiters
    progress.moved({(T, 0): 9})
    assert not progress.has_waiters


async def test_a_waiter_gives_up_at_its_time() -> None:
    progress = Progress()
    progress.moved({(T, 0): 2})
    assert not await progress.wait_until(T, 0, 3, timeout=0.01)
    assert await progress.wait_until(T, 0, 2, timeout=0)


async def test_a_cancelled_waiter_is_forgotten() -> None:
    progress = Progress()
    waiting = asyncio.create_task(progress.wait_until(T, 0, 3, timeout=30))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    progress.moved({(T, 0): 3})  # wakes no waiter and raises no error
    assert progress._waiters == []


def test_reading_on_is_right_only_within_what_the_topic_still_holds() -> None:
    facts = TopicFacts(T, "id", begin={0: 5, 1: 0}, end={0: 9, 1: 0})
    assert facts.continues({0: 5, 1: 0})
    assert facts.continues({0: 9})
    assert not facts.continues({0: 4})
    assert not facts.continues({0: 10})
    assert not facts.continues({2: 0})
