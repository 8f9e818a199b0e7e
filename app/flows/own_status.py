"""The status of this worker: for the status topic, for its page, and for incidents about broken producers."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

from app import __version__
from app.delivery.alert import Alert, Severity
from app.delivery.cluster_facts import Facts, Judgement
from app.delivery.cluster_status import judge
from app.delivery.counts import EVENT_ENTITY, Settlement
from app.delivery.errors import REGISTRY
from app.delivery.invalid_window import WINDOW_MS, InvalidWindow
from app.delivery.outcome import Outcome
from app.delivery.worker_status import LAST_END_KEY, AccountState, AccountStatus, ReasonStatus, WorkerEnd, WorkerStatus
from app.engine.stream import Stream
from app.flows.outage import OutageWatch
from app.flows.recipe import Recipe, TargetAccount
from app.flows.status_board import StatusBoard
from app.flows.status_records import is_ours
from app.kafka.clients import aiokafka_producer_config
from app.kafka.durable_producer import DurableProducer, Write
from app.observe.health import Readiness
from app.readmodels.status_topic import StatusFollower
from app.settings import WorkerSettings

log = structlog.get_logger(__name__)

_TEXT_LENGTH = 1000
# How long a worker that ends waits for the broker to take its last record.
TELL_SECONDS = 5.0


class OwnStatus:
    """Collects the status of this worker from its parts."""

    def __init__(self, settings: WorkerSettings, recipe: Recipe, readiness: Callable[[], Readiness]) -> None:
        self._settings = settings
        self._recipe = recipe
        self._pipeline = recipe.pipeline
        self._readiness = readiness
        self._started_ms = _now_ms()
        self._invalid = InvalidWindow()
        self._last_success_ms: int | None = None
        self._unready_since_ms: int | None = None
        self._stream: Stream | None = None
        self._watches: Sequence[OutageWatch] = ()
        self._board: StatusBoard | None = None
        name = settings.kafka.instance_id or socket.gethostname()
        self._end: WorkerEnd | None = None
        # Two workers of one name, or one worker before and after a restart, must be told apart.
        self.worker = f"{name[:100]}-{secrets.token_hex(2)}"

    def ends(self, reason: str) -> None:
        """This worker ends. ``reason``: empty if it was asked to. The first reason counts."""
        dry_run = self._settings.sync.dry_run
        self._end = self._end or WorkerEnd(
            worker=self.worker, at=_now_ms(), reason=reason[:_TEXT_LENGTH], dry_run=dry_run
        )

    async def tell_end(self) -> None:
        """Write why the worker ends, if it ends before it has a ``board``."""
        if self._end is None:
            return
        producer = DurableProducer(aiokafka_producer_config(self._settings.kafka), {})
        write = Write(self._pipeline.status_topic, 0, LAST_END_KEY.encode(), self._end.to_bytes())
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await producer.start()
                await producer.write_one(write)
        except Exception as error:  # noqa: BLE001 - whatever Kafka says: the log has the reason
            log.info("the reason could not be written to the status topic", problem=str(error) or type(error).__name__)
        finally:
            await producer.stop()

    def settled(self, settlement: Settlement) -> None:
        """An event has its outcome."""
        if settlement.outcome is Outcome.SYNCED or settlement.outcome is Outcome.PARTIAL:
            self._last_success_ms = _now_ms()
        elif settlement.outcome is Outcome.INVALID:
            self._invalid.saw(settlement.reason or "", _now_ms())

    def handled(self, settlement: Settlement) -> None:
        """A dead letter was handled. One that fails again is no new invalid event."""
        if settlement.outcome is Outcome.SYNCED or settlement.outcome is Outcome.PARTIAL:
            self._last_success_ms = _now_ms()

    def watch(self, stream: Stream, watches: Sequence[OutageWatch]) -> None:
        """Ask these for partitions, lag and the trouble of accounts from now on."""
        self._stream = stream
        self._watches = watches

    @asynccontextmanager
    async def board(self, producer: DurableProducer) -> AsyncIterator[StatusBoard]:
        """This worker's access to the status topic, for the length of a ``with`` block."""
        tasks = set[asyncio.Task[None]]()

        def looked(others: list[WorkerStatus]) -> None:
            for task in self._report_invalid(others, producer):
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        follower = StatusFollower(self._settings.kafka, self._pipeline, is_ours)
        follower.start()
        try:
            async with StatusBoard(
                self._pipeline, producer, follower, self.describe, looked, lambda: self._end
            ) as board:
                self._board = board
                yield board
        finally:
            self._board = None
            for task in tasks:
                task.cancel()
            await asyncio.to_thread(follower.stop)

    def describe(self) -> WorkerStatus:
        """The present status of this worker."""
        settings, readiness, stream = self._settings, self._readiness(), self._stream
        pipeline, now = self._pipeline, _now_ms()
        self._unready_since_ms = None if readiness.ready else self._unready_since_ms or now
        return WorkerStatus(
            worker=self.worker,
            at=now,
            started=self._started_ms,
            version=__version__,
            pipeline=pipeline.name,
            topic=pipeline.topic,
            group=pipeline.group,
            target=self._recipe.target,
            strategy=settings.sync.strategy,
            dry_run=settings.sync.dry_run,
            ready=readiness.ready,
            reasons=tuple(
                ReasonStatus(kind=reason.kind.value, text=reason.text[:_TEXT_LENGTH]) for reason in readiness.reasons
            ),
            unready_since=self._unready_since_ms,
            partitions=tuple(sorted(stream.ownership.partitions)) if stream is not None else (),
            lag=int(sum(stream.lag().values())) if stream is not None and stream.ownership.partitions else 0,
            accounts=tuple(self._account(account, now) for account in self._recipe.accounts),
            causes=tuple(sorted(cause for watch in self._watches for cause in watch.causes)),
            last_success=self._last_success_ms,
            invalid=self._invalid.counts(now),
            warnings=tuple(text[:_TEXT_LENGTH] for text in self._recipe.accounts.warnings),
        )

    def _account(self, account: TargetAccount, now_ms: int) -> AccountStatus:
        watch = next((watch for watch in self._watches if watch.account == account.name), None)
        return account_status(account, watch, now_ms)

    def judgement(self, complete: bool, dead_letters: Mapping[str, int]) -> Judgement:
        """The state of the pipeline, as far as this worker knows."""
        board = self._board
        facts = Facts(
            workers=board.workers() if board is not None else [self.describe()],
            partitions=range(self._settings.kafka.partitions),
            incidents=board.incidents() if board is not None else (),
            dead_letters=dead_letters,
            dead_letter_topic=self._pipeline.dlq_topic,
            complete=complete,
            last_end=board.last_end() if board is not None else None,
        )
        return judge(facts, _now_ms())

    def _report_invalid(self, others: list[WorkerStatus], producer: DurableProducer) -> list[asyncio.Task[None]]:
        # A dry run opens no incidents.
        if self._settings.sync.dry_run:
            return []
        now = _now_ms()
        return [
            asyncio.create_task(self._alert(producer, invalid_alert(reason, count.count, count.since, now)))
            for reason, count in self._invalid.to_report(others, now).items()
        ]

    async def _alert(self, producer: DurableProducer, alert: Alert) -> None:
        topic = self._pipeline.alerts_topic
        try:
            await producer.write_one(Write(topic, None, alert.fingerprint.encode(), alert.to_bytes()))
        except Exception as error:  # noqa: BLE001 - whatever Kafka says: it is reported again in a minute
            log.error("an alert could not be written", topic=topic, reason=alert.reason, problem=str(error))


def invalid_alert(reason: str, count: int, since_ms: int, now_ms: int) -> Alert:
    """The alert about a broken producer."""
    remedy = REGISTRY[reason].remedy if reason in REGISTRY else ""
    return Alert(
        reason=reason,
        entity=EVENT_ENTITY,
        operation="-",
        market="-",
        event_id="",
        consumer="",
        message=f"{count} invalid events within {WINDOW_MS // 60_000} minutes: a producer is broken. {remedy}",
        at_ms=now_ms,
        severity=Severity.INVALID,
        since_ms=since_ms,
    )


def account_status(account: TargetAccount, watch: OutageWatch | None, now_ms: int) -> AccountStatus:
    """The status of an account. ``watch``: None: it is not known whether events wait for a right."""
    breaker, health = account.breaker, account.health

    def moment(seconds: float | None) -> int | None:
        return None if seconds is None else now_ms - int(max(0.0, breaker.now() - seconds) * 1000)

    state, cause, since = AccountState.UP, None, None
    if breaker.is_open:
        state, cause, since = AccountState.OUTAGE, health.trouble, breaker.failing_since
    elif account.is_throttled:
        state, cause, since = AccountState.THROTTLED, health.throttled_by, health.throttled_since
    blocked_since = watch.blocked_since if watch is not None else None
    return AccountStatus(
        name=account.name,
        state=state,
        cause=cause.code if cause else "",
        since=moment(since),
        lacks=health.rights.text()[:_TEXT_LENGTH],
        lacks_since=moment(health.rights.since() if blocked_since is None else blocked_since),
        blocked=blocked_since is not None,
        waiting=watch.waiting if watch is not None and blocked_since is not None else 0,
    )


def _now_ms() -> int:
    return int(time.time() * 1000)
