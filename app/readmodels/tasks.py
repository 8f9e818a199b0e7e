"""Operators' tasks: which are running, and how far each has come.

The tasks are few, so their decoded records are kept in memory, and looked at again when the follower says that there is
something new.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.delivery.letter_id import LetterId
from app.delivery.operator_task import (
    EditKey,
    Note,
    OperatorTask,
    TaskEnd,
    TaskKey,
    decode_end,
    decode_note,
    decode_task,
)
from app.readmodels.letter_table import place_of
from app.readmodels.progress import Progress
from app.readmodels.store import Store
from app.readmodels.unavailable import ReadModelUnavailable


class TaskState(StrEnum):
    """*Waiting*: no worker has begun. *Done*: every partition that the task names has ended it."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class KnownTask:
    """A task with everything that was said about it."""

    task: OperatorTask
    pause: Note | None = None
    cancel: Note | None = None
    ends: Mapping[int, TaskEnd] = field(default_factory=dict)

    @property
    def named(self) -> frozenset[int]:
        """The partitions that the task is about, as far as was known when it was made."""
        return frozenset(self.task.matched) | frozenset(self.task.consumers)

    @property
    def ended(self) -> bool:
        """Whether every partition that it names has ended it."""
        return self.named <= self.ends.keys()

    @property
    def ended_ms(self) -> int | None:
        """When the last partition ended it; None: not all have."""
        return max((end.at_ms for end in self.ends.values()), default=None) if self.ended else None

    @property
    def paused(self) -> bool:
        """Whether it pauses."""
        return self.pause is not None and self.pause.on

    def concerns(self, partition: int) -> bool:
        """Whether a partition may have something to do for it. A filter is asked everywhere."""
        if not self.task.action.is_about_letters:
            return partition in self.task.consumers
        ids = self.task.selection.ids
        return not ids or any(one.partition == partition for one in ids)

    def runs_on(self, partition: int) -> bool:
        """Whether the partition's owner has to work on it."""
        return self.cancel is None and not self.paused and partition not in self.ends and self.concerns(partition)

    def last_ms(self) -> int:
        """When the last thing was said about it."""
        times = [self.task.created_ms, *(end.at_ms for end in self.ends.values())]
        return max([*times, *(note.at_ms for note in (self.pause, self.cancel) if note is not None)])

    def keys(self) -> tuple[bytes, ...]:
        """The keys of all its records, the task itself last, so that none is left without a task."""
        parts = [TaskKey(self.task.id, "end", partition) for partition in self.ends]
        parts += [TaskKey(self.task.id, "pause")] if self.pause is not None else []
        parts += [TaskKey(self.task.id, "cancel")] if self.cancel is not None else []
        return tuple(key.encode() for key in (*parts, TaskKey(self.task.id)))


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """How far a task has come.

    ``matched``: dead letters or consumers that it was about when it was made. ``done``: those that were handled.
    ``outcomes``: what came of them; "open" if nothing did. ``open``: those that are still open, handled or not.
    """

    matched: int
    done: int
    outcomes: Mapping[str, int]
    open: int


@dataclass(frozen=True, slots=True)
class LetterEdit:
    """The newest edit of a dead letter. ``offset``: where the new bytes stand in the dead-letter topic."""

    offset: int
    note: Note


class TaskIndex:
    """Every method raises ``ReadModelUnavailable`` while the file is being replaced. Asked from any thread."""

    def __init__(self, topic: str, progress: Progress, ask: Callable[[Callable[[Store], Any]], Any]) -> None:
        self._topic = topic
        self._progress = progress
        self._ask = ask
        self._lock = threading.Lock()
        self._seen: tuple[Store | None, int] = (None, -1)
        self._decoded: dict[tuple[str, str, int], tuple[int, Any]] = {}
        self._known: dict[str, KnownTask] = {}
        self._running: dict[int, list[OperatorTask]] = {}

    def building(self) -> bool:
        """Whether the tasks are being read in."""
        return self._progress.building(self._topic, 0)

    async def wait_until(self, offset: int, timeout: float) -> bool:  # noqa: ASYNC109
        """Whether everything below ``offset`` of the topic was applied within ``timeout`` seconds."""
        return await self._progress.wait_until(self._topic, 0, offset, timeout)

    def position(self) -> int:
        """The offset of the topic below which everything was applied."""
        return self._progress.position(self._topic, 0)

    def running(self, partition: int) -> list[OperatorTask]:
        """The tasks that a partition's owner has to work on, oldest first: neither paused, cancelled nor ended there.

        Raises:
            ReadModelUnavailable: the tasks are being read in.
        """
        self._check()
        known = self._all()
        with self._lock:
            if (found := self._running.get(partition)) is None:
                found = [one.task for one in known.values() if one.runs_on(partition)]
                self._running[partition] = found
            return list(found)

    def known(self, task_id: str) -> KnownTask | None:
        """A task with everything that was said about it."""
        return self._all().get(task_id)

    def task(self, task_id: str) -> OperatorTask | None:
        """A task."""
        known = self.known(task_id)
        return known.task if known else None

    def state(self, task_id: str) -> TaskState | None:
        """What a task is doing; None: there is no such task."""
        known = self.known(task_id)
        if known is None:
            return None
        if known.ended:
            return TaskState.DONE
        if known.cancel is not None:
            return TaskState.CANCELLED
        if known.paused:
            return TaskState.PAUSED
        return TaskState.RUNNING if known.ends or self._handled(task_id) else TaskState.WAITING

    def progress(self, task_id: str) -> TaskProgress | None:
        """How far a task has come; None: there is no such task."""
        known = self.known(task_id)
        if known is None:
            return None
        matched: Counter[int] = Counter(known.task.matched)
        if known.task.consumers:
            matched = Counter({partition: len(names) for partition, names in known.task.consumers.items()})
        outcomes: Counter[str] = Counter()
        by_partition: Counter[int] = Counter()
        still_open = 0
        told = {partition for partition, end in known.ends.items() if end.done}
        for partition, outcome, is_open, number in self._handled(task_id):
            still_open += number if is_open else 0
            if partition not in told:
                outcomes[outcome] += number
                by_partition[partition] += number
        for end in known.ends.values():
            outcomes.update(end.done)
        waiting = sum(max(0, matched[p] - by_partition[p]) for p in matched if p not in known.ends)
        done = sum(outcomes.values())
        return TaskProgress(max(sum(matched.values()), done), done, dict(outcomes), still_open + waiting)

    def all(self, limit: int) -> list[KnownTask]:
        """Tasks, newest first."""
        return list(reversed(self._all().values()))[:limit]

    def edit(self, letter_id: LetterId) -> LetterEdit | None:
        """The edit of a dead letter that counts: the one with the highest offset. None: it was not edited."""
        rows = self._rows(
            "SELECT edited, value FROM edits WHERE partition = ? AND is_foreign = ? AND place = ?"
            " ORDER BY edited DESC LIMIT 1",
            place_of(letter_id),
        )
        return LetterEdit(rows[0][0], decode_note(rows[0][1])) if rows else None

    def edit_keys(self, letter_id: LetterId) -> tuple[bytes, ...]:
        """The keys of all edits of a dead letter, oldest first."""
        rows = self._rows(
            "SELECT edited FROM edits WHERE partition = ? AND is_foreign = ? AND place = ? ORDER BY edited",
            place_of(letter_id),
        )
        return tuple(EditKey(letter_id, offset).encode() for (offset,) in rows)

    def ended_before(self, ms: int) -> list[KnownTask]:
        """Tasks that were done or cancelled, and of which nothing was said since a time; oldest first."""
        return [one for one in self._all().values() if (one.ended or one.cancel is not None) and one.last_ms() < ms]

    def _handled(self, task_id: str) -> list[tuple[int, str, int, int]]:
        """(partition, outcome, is open, dead letters) of what a task did."""
        return self._rows("SELECT partition, outcome, is_open, letters FROM handled WHERE task = ?", (task_id,))

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            found: list[Any] = self._ask(lambda store: store.rows(statement, values))
        except UnicodeEncodeError:  # half a surrogate pair: nothing is called so
            return []
        return found

    def _check(self) -> None:
        if self.building():
            raise ReadModelUnavailable("operators' tasks are being read in; wait_until first")

    def _all(self) -> dict[str, KnownTask]:
        """Every task by ID, oldest first."""

        def look(store: Store) -> dict[str, KnownTask]:
            with self._lock:
                now = (store, store.tasks_version)
                if self._seen != now:
                    self._read(store)
                    self._seen = now
                return self._known

        known: dict[str, KnownTask] = self._ask(look)
        return known

    def _read(self, store: Store) -> None:
        if self._seen[0] is not store:
            self._decoded.clear()
        rows = store.rows("SELECT task, part, partition, version FROM tasks")
        decoded: dict[tuple[str, str, int], tuple[int, Any]] = {}
        for task, part, partition, version in rows:
            key = task, part, partition
            before = self._decoded.get(key)
            if before is None or before[0] != version:
                value = store.rows("SELECT value FROM tasks WHERE task = ? AND part = ? AND partition = ?", key)
                if not value:  # removed in between
                    continue
                before = version, _decode(key, value[0][0])
            decoded[key] = before
        parts: dict[str, dict[tuple[str, int], Any]] = {}
        for (task, part, partition), (_, content) in decoded.items():
            parts.setdefault(task, {})[part, partition] = content
        found = [_known(records) for records in parts.values() if ("", -1) in records]
        found.sort(key=lambda one: (one.task.created_ms, one.task.id))
        self._decoded, self._running = decoded, {}
        self._known = {one.task.id: one for one in found}


def _decode(key: tuple[str, str, int], value: bytes) -> Any:
    task, part, _ = key
    if part == "end":
        return decode_end(value)
    return decode_note(value) if part else decode_task(task, value)


def _known(records: Mapping[tuple[str, int], Any]) -> KnownTask:
    return KnownTask(
        records["", -1],
        records.get(("pause", -1)),
        records.get(("cancel", -1)),
        {partition: end for (part, partition), end in records.items() if part == "end"},
    )
