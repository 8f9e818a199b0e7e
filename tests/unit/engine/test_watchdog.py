"""What counts as a standstill: records that can be read, nothing fetched for a minute, and no reason that is known."""

from __future__ import annotations

import pytest

from app.engine.watchdog import (
    LAST_CALL_SECONDS,
    NO_ANSWER,
    QUIET_SECONDS,
    TRANSACTION,
    UNKNOWN,
    PartitionLook,
    Standstill,
    Watchdog,
)

TP = ("main", 0)
HELD = "as many events are being worked on as may be"


class Setup:
    """A watchdog that looks at one partition, once a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.dog = Watchdog(lambda: self.now)

    def watch(self, seen: PartitionLook, seconds: float) -> list[Standstill]:
        """What it says in the end."""
        said: list[Standstill] = []
        for _ in range(int(seconds) + 1):
            said = self.dog.look({TP: seen})
            self.now += 1
        return said


def test_records_that_wait_and_are_not_fetched_are_a_standstill_after_a_minute_and_hopeless_a_little_later() -> None:
    setup = Setup()
    waiting = PartitionLook(position=5, stable_end=9, end=9)
    assert setup.watch(waiting, QUIET_SECONDS - 1) == []
    [found] = setup.watch(waiting, 1)
    assert (found.tp, found.why, found.known, found.hopeless) == (TP, UNKNOWN, False, False)
    [found] = setup.watch(waiting, LAST_CALL_SECONDS)
    assert found.hopeless
    assert "partition 0 of main" in str(found)


def test_what_moves_is_no_standstill() -> None:
    setup = Setup()
    for position in range(200):
        assert setup.watch(PartitionLook(position, stable_end=1000, end=1000), QUIET_SECONDS / 2) == []


@pytest.mark.parametrize("seen", [PartitionLook(9, 9, 9), PartitionLook(9, 9, 9, HELD), PartitionLook(10, 9, 9)])
def test_a_partition_that_is_read_to_its_end_is_never_one(seen: PartitionLook) -> None:
    assert Setup().watch(seen, 10 * QUIET_SECONDS) == []


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (PartitionLook(5, 9, 9, HELD), HELD),
        (PartitionLook(5, None, None), NO_ANSWER),
        (PartitionLook(5, 5, 9), TRANSACTION),
        (PartitionLook(-1, None, None, HELD), HELD),
    ],
)
def test_a_known_reason_is_named_and_ends_nobody(seen: PartitionLook, why: str) -> None:
    [found] = Setup().watch(seen, 100 * QUIET_SECONDS)
    assert (found.why, found.known, found.hopeless) == (why, True, False)


def test_after_a_known_reason_has_passed_there_is_a_minute_again() -> None:
    setup = Setup()
    assert setup.watch(PartitionLook(5, 9, 9, HELD), 10 * QUIET_SECONDS)
    assert setup.watch(PartitionLook(5, 9, 9), QUIET_SECONDS - 1) == []
    assert setup.watch(PartitionLook(5, 9, 9), 2) != []


def test_a_rebalance_begins_anew() -> None:
    setup = Setup()
    setup.watch(PartitionLook(5, 9, 9), QUIET_SECONDS)
    setup.dog.forget()
    assert setup.watch(PartitionLook(5, 9, 9), 1) == []


def test_partitions_are_told_apart() -> None:
    now = [0.0]
    dog = Watchdog(lambda: now[0])
    stuck, moving = ("main", 0), ("main", 1)
    found: list[Standstill] = []
    for second in range(int(QUIET_SECONDS) + 1):
        found = dog.look({stuck: PartitionLook(5, 9, 9), moving: PartitionLook(second, 999, 999)})
        now[0] += 1
    assert [one.tp for one in found] == [stuck]
