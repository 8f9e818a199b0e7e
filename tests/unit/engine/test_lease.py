"""The lease: calls start only while the partitions are certainly ours."""

from __future__ import annotations

from app.engine.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_no_heartbeat_no_lease() -> None:
    assert not Lease(5.0, Clock()).holds(1)


def test_holds_until_its_time_counted_from_when_the_heartbeat_was_sent() -> None:
    clock = Clock()
    lease = Lease(5.0, clock)
    clock.now += 2.0  # the answer took two seconds
    lease.renew(7, 1000.0)
    assert lease.holds(7)
    clock.now = 1004.9
    assert lease.holds(7)
    clock.now = 1005.0
    assert not lease.holds(7)


def test_a_heartbeat_of_another_generation_is_no_lease() -> None:
    clock = Clock()
    lease = Lease(5.0, clock)
    lease.renew(8, clock.now)
    assert not lease.holds(7)
    assert not lease.holds(9)


def test_a_take_over_needs_a_heartbeat_that_was_sent_after_the_table_was_read() -> None:
    clock = Clock()
    lease = Lease(5.0, clock)
    read_at = lease.now()
    lease.renew(3, 999.0)
    assert not lease.renewed_since(3, read_at)
    lease.renew(3, 1000.1)
    assert lease.renewed_since(3, read_at)
    assert not lease.renewed_since(4, read_at)
