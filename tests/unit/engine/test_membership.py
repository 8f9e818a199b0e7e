"""Which acknowledged heartbeats renew the lease: a broker that reads its groups in says yes to everybody's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupLoadInProgressError, KafkaError, UnknownMemberIdError
from faust.types import TP

from app.engine.heartbeat import Heartbeat
from app.engine.lease import Lease

MAIN = TP("main", 0)


class Coordinator:
    """A group coordinator that notes commits, and refuses them if told so."""

    def __init__(self, generation: int = 3, refusal: KafkaError | None = None) -> None:
        self.generation = generation
        self.member_id = "member"
        self.refusal = refusal
        self.commits: list[dict[TP, int]] = []

    async def _do_commit_offsets(self, assignment: object, offsets: dict[TP, Any]) -> None:
        self.commits.append({tp: offset.offset for tp, offset in offsets.items()})
        if self.refusal is not None:
            raise self.refusal


class Setup:
    """A lease of 3 s and a committed offset."""

    def __init__(self) -> None:
        self.now = 100.0
        self.committed = {MAIN: 17}
        self.lease = Lease(3.0, lambda: self.now)
        self.heartbeat = Heartbeat(self.lease, lambda: self.committed, session_seconds=6.0)
        self.heartbeat._consumer = SimpleNamespace(
            _subscription=SimpleNamespace(subscription=SimpleNamespace(assignment="assignment"))
        )

    async def acknowledged(self, coordinator: Coordinator) -> bool:
        """A heartbeat was; whether the lease was renewed."""
        generation = coordinator.generation
        believed = await self.heartbeat.is_member(coordinator, generation)
        if believed:
            self.lease.renew(generation, self.now)
        return believed


async def test_one_commit_in_a_generation_shows_that_its_heartbeats_may_be_believed() -> None:
    setup, coordinator = Setup(), Coordinator()
    for _ in range(4):
        assert await setup.acknowledged(coordinator)
        setup.now += 1
    assert coordinator.commits == [{MAIN: 17}]
    coordinator.generation = 4
    assert await setup.acknowledged(coordinator)
    assert len(coordinator.commits) == 2


@pytest.mark.parametrize("refusal", [UnknownMemberIdError(), GroupLoadInProgressError()])
async def test_after_a_freeze_a_heartbeat_alone_gives_no_lease(refusal: KafkaError) -> None:
    setup, coordinator = Setup(), Coordinator()
    assert await setup.acknowledged(coordinator)
    setup.now += 10
    coordinator.refusal = refusal
    assert not await setup.acknowledged(coordinator)
    assert not setup.lease.holds(3)
    coordinator.refusal = None
    assert await setup.acknowledged(coordinator)
    assert setup.lease.holds(3)


async def test_a_worker_that_was_expelled_meanwhile_commits_nothing() -> None:
    setup, coordinator = Setup(), Coordinator()
    coordinator.generation, generation = -1, 3
    assert not await setup.heartbeat.is_member(coordinator, generation)
    coordinator.generation, coordinator.member_id = 3, ""
    assert not await setup.heartbeat.is_member(coordinator, generation)
    assert coordinator.commits == []


async def test_in_a_group_without_a_commit_the_heartbeat_has_to_do_until_there_is_one() -> None:
    setup, coordinator = Setup(), Coordinator()
    setup.committed = {}
    assert await setup.acknowledged(coordinator)
    setup.committed = {MAIN: 0}
    assert await setup.acknowledged(coordinator)
    assert coordinator.commits == [{MAIN: 0}]
