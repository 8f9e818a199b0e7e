"""A worker's use of ``<group>.status``: it writes its own status, reads the others', and remembers incidents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import structlog

from app.delivery.cluster_facts import OpenIncident
from app.delivery.cluster_status import FORGOTTEN_MS, live_workers
from app.delivery.errors import CMT_NOT_ALLOWED, CMT_OUTAGE, CMT_PERMISSION, CMT_RATE_LIMITED
from app.delivery.pipeline import Pipeline
from app.delivery.worker_status import LAST_END_KEY, WorkerEnd, WorkerStatus
from app.flows.status_records import INCIDENT_PREFIX, open_incidents, read_incidents, read_last_end, read_workers
from app.incidents.memory import Remembered
from app.kafka.durable_producer import DurableProducer, Write
from app.observe.background import BackgroundTask
from app.observe.reminder import Reminder
from app.readmodels.status_topic import StatusFollower

log = structlog.get_logger(__name__)

# Reasons of incidents that workers open and close themselves (app/flows/outage.py).
TOLD_BY_WORKERS = {entry.code for entry in (CMT_OUTAGE, CMT_RATE_LIMITED, CMT_NOT_ALLOWED, CMT_PERMISSION)}
# How often a worker checks whether its status has changed, and how often it writes it in any case.
LOOK_SECONDS = 1.0
SPEAK_SECONDS = 10.0
# How long a write may take; in an outage of Kafka the next one follows then.
WRITE_SECONDS = 10.0
GOODBYE_SECONDS = 2.0
# Between two searches for workers that ended without deleting their status.
CLEAN_SECONDS = 600.0


class StatusBoard:
    """One worker's access to the topic. Use as an async context manager; it is also an ``IncidentMemory``.

    Args:
        describe: the status of this worker, asked for once a second.
        looked: called every second with the other live workers.
        end: why this worker ends; None: it does not end (Kafka went away during the start).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        producer: DurableProducer,
        follower: StatusFollower,
        describe: Callable[[], WorkerStatus],
        looked: Callable[[list[WorkerStatus]], object] = lambda others: None,
        end: Callable[[], WorkerEnd | None] = lambda: None,
    ) -> None:
        self._topic = pipeline.status_topic
        self._producer = producer
        self._follower = follower
        self._describe = describe
        self._looked = looked
        self._end = end
        self._unheard = Reminder()
        self._task = BackgroundTask("status")
        self._said: WorkerStatus | None = None
        self._said_at = self._cleaned_at = float("-inf")

    async def __aenter__(self) -> Self:
        self._task.start(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._task.stop()
        goodbye = [self._write(self._describe().key.decode(), None, GOODBYE_SECONDS)]
        if (end := self._end()) is not None:
            goodbye.append(self._write(LAST_END_KEY, end.to_bytes(), GOODBYE_SECONDS))
        await asyncio.gather(*goodbye)

    def check(self) -> None:
        """Raise ``BackgroundTaskEnded`` if its task has ended."""
        self._task.check()

    def workers(self) -> list[WorkerStatus]:
        """The last status of every other worker, and the present status of this one."""
        own = self._describe()
        others = read_workers(self._follower.records())
        return [own, *(status for name, status in others.items() if name != own.worker)]

    def last_end(self) -> WorkerEnd | None:
        """The worker that ended last, and why."""
        return read_last_end(self._follower.records())

    def incidents(self) -> list[OpenIncident]:
        """The incidents that are known to be open."""
        return open_incidents(self._follower.records())

    def all(self) -> Mapping[str, Remembered]:
        """The remembered incidents, by fingerprint."""
        return read_incidents(self._follower.records())

    async def put(self, fingerprint: str, remembered: Remembered | None) -> None:
        """Remember an incident, or forget it."""
        value = None if remembered is None else remembered.to_bytes()
        await self._write(INCIDENT_PREFIX + fingerprint, value, WRITE_SECONDS)

    def still_on(self, fingerprint: str) -> bool | None:
        """Whether a live worker reports that the cause of an incident persists; None: workers report no such causes."""
        if fingerprint.partition(":")[0] not in TOLD_BY_WORKERS:
            return None
        return any(fingerprint in worker.causes for worker in live_workers(self.workers(), _now_ms()))

    async def look(self) -> None:
        """Write the status if it has changed or is due."""
        status, now = self._describe(), time.monotonic()
        changed = self._said is None or status.essence != self._said.essence
        if changed or now - self._said_at >= SPEAK_SECONDS:
            await self._write(status.key.decode(), status.to_bytes(), WRITE_SECONDS)
            self._said, self._said_at = status, now
        others = [one for one in read_workers(self._follower.records()).values() if one.worker != status.worker]
        self._looked(live_workers(others, _now_ms()))
        if now - self._cleaned_at >= CLEAN_SECONDS:
            self._cleaned_at = now
            for other in others:
                if _now_ms() - other.at > FORGOTTEN_MS:
                    await self._write(other.key.decode(), None, WRITE_SECONDS)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:
                # A worker does not stop because its status cannot be written.
                log.error("the worker's status could not be told", exc_info=error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _write(self, key: str, value: bytes | None, seconds: float) -> None:
        self._follower.put(key, value)
        try:
            async with asyncio.timeout(seconds):
                await self._producer.write_one(Write(self._topic, 0, key.encode(), value))
            self._unheard.over()
        except TimeoutError:
            if self._unheard.due():
                log.info("the broker has not taken a record of the status topic yet", topic=self._topic)
        except Exception as error:  # noqa: BLE001 - whatever Kafka says: status is not worth an event
            log.warning("a record of the status topic could not be written", topic=self._topic, problem=str(error))


def _now_ms() -> int:
    return int(time.time() * 1000)
