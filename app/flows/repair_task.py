"""A repair as an operator's task: the owner of each partition carries it out in the consumers' lanes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from app.delivery.headers import cut
from app.delivery.operator_task import BY_BYTES, Action, OperatorTask, Selection, new_task_id
from app.profile.holdings.findings import DriftFinding, Status

# Bytes of the consumer IDs in one task: its record must fit into a topic that takes 1 MB, Kafka's default.
MOST_BYTES = 500_000

STILL_DIFFERS = "still differs after the repair: see the log of the workers"
PENDING = "an event of it is under way, so it was not repaired: verify it again later"


def repair_tasks(findings: Iterable[DriftFinding], *, by: str, now_ms: int) -> Iterator[OperatorTask]:
    """The tasks that repair the consumers that differ."""
    wanted = [finding for finding in findings if finding.status is Status.DRIFTED and finding.writes]
    for part in _parts(wanted):
        consumers: dict[int, list[str]] = {}
        for finding in part:
            consumers.setdefault(finding.partition, []).append(finding.consumer_id)
        yield OperatorTask(
            id=new_task_id(Action.REPAIR, now_ms),
            action=Action.REPAIR,
            selection=Selection(),
            created_ms=now_ms,
            by=cut(by, BY_BYTES),
            consumers={partition: tuple(names) for partition, names in consumers.items()},
        )


def _parts(findings: Sequence[DriftFinding]) -> Iterator[Sequence[DriftFinding]]:
    start = size = 0
    for number, finding in enumerate(findings):
        needs = len(json.dumps(finding.consumer_id)) + len(",")
        if size and size + needs > MOST_BYTES:
            yield findings[start:number]
            start, size = number, 0
        size += needs
    if findings:
        yield findings[start:]


def after_repair(before: Sequence[DriftFinding], again: Iterable[DriftFinding]) -> list[DriftFinding]:
    """The findings before a repair, with what a second look says of the consumers that differed.

    >>> before = [DriftFinding("c", 0, None, Status.DRIFTED), DriftFinding("d", 0, None, Status.OK)]
    >>> [one.status.value for one in after_repair(before, [DriftFinding("c", 0, None, Status.OK)])]
    ['repaired', 'ok']
    """
    found: Mapping[str, DriftFinding] = {finding.consumer_id: finding for finding in again}
    return [_after(one, found.get(one.consumer_id)) for one in before]


def _after(before: DriftFinding, now: DriftFinding | None) -> DriftFinding:
    if now is None:
        return before
    if now.status in (Status.OK, Status.PARTIAL):
        writes = tuple(replace(write, problem=None) for write in before.writes)
        return replace(before, status=Status.REPAIRED, writes=writes)
    if now.status is Status.DRIFTED:
        note = "; ".join(note for note in (before.note, STILL_DIFFERS) if note)
        return replace(before, note=note, writes=())
    return replace(now, note=PENDING if now.status is Status.PENDING else now.note)
