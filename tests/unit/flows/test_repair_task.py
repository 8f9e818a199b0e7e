"""Repairs as tasks: which consumers they name, and what is said when they have ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.delivery.operator_task import Action
from app.flows.repair_task import PENDING, STILL_DIFFERS, after_repair, repair_tasks
from app.profile.entities import EntityType
from app.profile.holdings.findings import DriftFinding, RepairWrite, Status

WRITE = RepairWrite(EntityType.PET, "upsert", ("c", "P-1"), "not sent: SYNC_DRY_RUN")


def found(consumer: str, status: Status = Status.DRIFTED, partition: int = 0) -> DriftFinding:
    writes = (WRITE,) if status is Status.DRIFTED else ()
    return DriftFinding(consumer, partition, None, status, writes=writes)


def test_a_task_names_the_consumers_that_differ_by_their_partitions() -> None:
    findings = [found("a"), found("b", Status.OK), found("c", partition=3), found("d")]
    (task,) = repair_tasks(findings, by="anna@host", now_ms=7)
    assert (task.action, task.by, task.created_ms) == (Action.REPAIR, "anna@host", 7)
    assert task.consumers == {0: ("a", "d"), 3: ("c",)}


def test_nothing_that_differs_is_no_task() -> None:
    unknown = DriftFinding("c", 0, None, Status.DRIFTED)  # what to write is not known
    assert list(repair_tasks([found("b", Status.OK), unknown], by="x", now_ms=7)) == []


@pytest.mark.parametrize(
    "name", [lambda n: f"{n:0250}", lambda n: "\x00" * 200 + str(n), lambda n: "\U0001f600" * 60 + str(n)]
)
def test_many_consumers_are_several_records_that_fit(name: Callable[[int], str]) -> None:
    names = [name(number) for number in range(5000)]
    tasks = list(repair_tasks([found(one, partition=number % 7) for number, one in enumerate(names)], by="x", now_ms=7))
    assert len(tasks) > 1
    assert all(len(task.encode()) < 900_000 for task in tasks)
    assert sorted(one for task in tasks for part in task.consumers.values() for one in part) == sorted(names)
    assert len({task.id for task in tasks}) == len(tasks)


def test_what_still_differs_or_waits_says_so() -> None:
    before = [found("mended"), found("partly"), found("still"), found("waits"), found("fine", Status.OK)]
    again = [
        found("mended", Status.OK),
        found("partly", Status.PARTIAL),
        found("still"),
        found("waits", Status.PENDING),
    ]
    after = {one.consumer_id: one for one in after_repair(before, again)}
    assert [after[name].status for name in ("mended", "partly", "still", "waits", "fine")] == [
        Status.REPAIRED,
        Status.REPAIRED,
        Status.DRIFTED,
        Status.PENDING,
        Status.OK,
    ]
    assert (after["still"].note, after["waits"].note) == (STILL_DIFFERS, PENDING)
    assert [write.problem for write in after["mended"].writes] == [None]
