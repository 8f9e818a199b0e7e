"""What persons have done over the API of a worker: the functions that the commands use, with the worker's read models.

Kafka's client blocks, so each operation runs in a thread of its own. Few run side by side, and each has a time limit
that is shorter than that of the request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import TaskChange, TaskRequest, check_note
from app.delivery.operator_task import Action, Note
from app.delivery.pipeline import Pipeline
from app.flows.letter_editing import WrittenEdit, open_for_edit, write_edit
from app.flows.letter_export import read_shown_values
from app.flows.letter_values import LetterValues, edits_of
from app.flows.redrive_dry_run import dry_run
from app.flows.task_changes import change_task
from app.flows.task_requests import WrittenTask, carry_out, foresee, look, topics_of
from app.kafka.admin import KafkaAccessError
from app.kafka.daemon_threads import in_daemon_thread
from app.profile.edited_value import checked_edit
from app.profile.entities import Catalog
from app.readmodels import Followed, ReadModels
from app.readmodels.forecast_texts import dry_run_view
from app.readmodels.letter_value_texts import ShownValue
from app.readmodels.letters import ListedLetter
from app.settings import KafkaSettings
from app.web.operations import EditedLetter, MadeTask, OperationsUnavailable

log = structlog.stdlib.get_logger(__name__)

# Operations that run side by side. Another one waits this long for its turn.
AT_ONCE = 4
TURN_SECONDS = 5.0
# One answer of Kafka, and a whole operation, which needs several. A request has 60 s.
ANSWER_SECONDS = 8.0
OPERATION_SECONDS = 40.0
# Until this worker has read back what it wrote. Later is no error: the answer is only not seen yet.
READ_BACK_SECONDS = 5.0

T = TypeVar("T")


class WebOperations:
    """``Operations`` of the web server."""

    def __init__(self, kafka: KafkaSettings, pipeline: Pipeline, models: ReadModels, catalog: Catalog | None) -> None:
        self._kafka = kafka
        self._pipeline = pipeline
        self._models = models
        self._catalog = catalog
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def make_task(self, request: TaskRequest, by: str) -> MadeTask:
        """Have dead letters redriven or discarded."""

        def make() -> tuple[MadeTask, WrittenTask | None]:
            found = foresee(self._models, request)
            if not found.seen.total:
                return MadeTask(None, 0, found.superseded), None
            written = carry_out(
                self._kafka, self._pipeline, request, found.seen, by=by, now_ms=_now_ms(), seconds=ANSWER_SECONDS
            )
            return MadeTask(written.task.id, found.seen.total, found.superseded), written

        made, written = await self._run("make a task", topics_of(request.action), make)
        if written is not None:
            log.info("a task was made over the API", task=written.task.id, by=by, matched=made.matched)
            await self._read_back(written.offset)
        return made

    async def dry_run(self, request: TaskRequest) -> dict[str, Any]:
        """What a task would do."""

        def try_it() -> dict[str, Any]:
            catalog = self._catalog
            if request.action is not Action.REDRIVE or catalog is None:
                return {"matched": look(self._models, request).total, "superseded": None}
            with LetterValues(
                self._kafka, self._pipeline, edits_of(self._models), patience_seconds=ANSWER_SECONDS
            ) as values:
                seen = look(self._models, request)
                would = dry_run(self._models, values, catalog, seen, force=request.force)
            return dry_run_view(would.matched, would.superseded, would.items, would.estimate)

        return await self._run("try a task", topics_of(request.action), try_it)

    async def change_task(self, task: str, change: TaskChange, by: str, note: str) -> None:
        """Pause, resume or cancel a task."""

        def tell() -> int | None:
            return change_task(
                self._kafka,
                self._pipeline,
                self._models,
                task,
                change,
                by=by,
                now_ms=_now_ms(),
                note=note,
                seconds=ANSWER_SECONDS,
            )

        offset = await self._run("change a task", (Followed.TASKS, Followed.LETTERS, Followed.STATE), tell)
        if offset is not None:
            log.info("a task was changed over the API", task=task, change=change.value, by=by)
            await self._read_back(offset)

    async def edit(self, letter: str, value: bytes, by: str, note: str) -> EditedLetter:
        """Give a dead letter another value."""
        catalog = self._catalog
        if catalog is None:
            raise OperationsUnavailable("the events of this pipeline cannot be edited")

        def write() -> tuple[LetterId, WrittenEdit]:
            check_note(note)
            opened = open_for_edit(self._kafka, self._pipeline, self._models, letter, patience_seconds=ANSWER_SECONDS)
            checked_edit(opened.event, value, opened.state, catalog, largest=self._kafka.max_message_bytes)
            said = Note(by, _now_ms(), note)
            written = write_edit(self._kafka, self._pipeline, opened, value, said, seconds=ANSWER_SECONDS)
            return opened.listed.id, written

        found, written = await self._run("edit a dead letter", topics_of(Action.REDRIVE), write)
        log.info("a dead letter was edited over the API", dead_letter=str(found), by=by)
        await self._read_back(written.said_at)
        return EditedLetter(str(found), self._pipeline.dlq_topic, written.offset)

    async def shown_value(self, listed: ListedLetter, seen_by: str | None) -> ShownValue:
        """The bytes of a dead letter."""

        def read() -> ShownValue:
            return read_shown_values(
                self._kafka,
                self._pipeline,
                self._models,
                listed,
                seen_by=seen_by,
                patience_seconds=ANSWER_SECONDS,
                write_seconds=ANSWER_SECONDS,
            )

        # A value is shown only by a worker that would know if the profile had been deleted.
        about = () if seen_by is None else topics_of(Action.REDRIVE)
        shown = await self._run("read a dead letter", about, read, writes=False)
        if seen_by is not None and shown.event is not None:
            log.info("values were shown over the API", by=seen_by, dead_letter=str(listed.id))
        return shown

    async def _run(self, what: str, about: tuple[Followed, ...], work: Callable[[], T], *, writes: bool = True) -> T:
        """Do it, if everything that was written before has been read, and Kafka answers."""
        why = self._models.trouble()
        if not why and about and not self._models.caught_up(*about):
            why = "this worker is still catching up with the cluster's state"
        if why:
            raise OperationsUnavailable(f"{why.rstrip('.')}; nothing was done, try again")
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise OperationsUnavailable("too many operations are under way; nothing was done, try again") from None
        try:
            return await in_daemon_thread(what, work, OPERATION_SECONDS)
        except KafkaAccessError as error:
            doubt = " It may have been written all the same: look before you try again." if writes else ""
            raise OperationsUnavailable(f"{error}{doubt}") from error
        finally:
            self._turns.release()

    async def _read_back(self, offset: int) -> None:
        await self._models.tasks.wait_until(offset + 1, READ_BACK_SECONDS)


def _now_ms() -> int:
    return int(time.time() * 1000)
