"""The parts of the engine as a worker needs them, made of its settings and its recipe."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from app.engine.backpressure import Room
from app.engine.context import EngineContext
from app.engine.figures import Figures
from app.engine.flow import Observer
from app.engine.gates import Gates
from app.engine.intake import AlertHandler
from app.engine.lease import Lease
from app.engine.ledger import Ledger
from app.engine.letter_sources import LetterValues
from app.engine.stream import Stream
from app.flows.letter_sources import FollowedLetters, FollowedTasks
from app.flows.outage import OutageWatch
from app.flows.pipeline_topics import PipelineTopics
from app.flows.recipe import Recipe, TargetAccounts
from app.flows.states import ReadModelStates
from app.kafka.clients import FaustConnection
from app.kafka.durable_producer import DurableProducer
from app.observe.metrics import Gauges, Metrics
from app.readmodels import ReadModels
from app.settings import WorkerSettings

# What is left of the session after the longest call, so that the worker notices in time that it has lost it.
LEASE_SLACK_SECONDS = 1.0
# A take-over waits for one heartbeat; several must fit into the lease.
HEARTBEAT_SECONDS = 1.0
# Events read but not settled yet, for each event that may be in progress: enough of them are ready to run while others
# wait for their outcome to be durable.
READ_PER_SLOT = 16
# For every READY_PER_SLOT events in progress, one more is admitted, so that its call can start as soon as another is
# answered.
READY_PER_SLOT = 4


def engine_context(
    settings: WorkerSettings,
    recipe: Recipe,
    read_models: ReadModels,
    producer: DurableProducer,
    letter_values: LetterValues,
    observer: Observer,
    crash: Callable[[BaseException], None],
) -> EngineContext:
    """What the partitions of the worker share; the accounts of the recipe are open."""
    sync = settings.sync
    return EngineContext(
        pipeline=recipe.pipeline,
        kafka=settings.kafka,
        sync=sync,
        flow=recipe.flow,
        producer=producer,
        ledger=Ledger(),
        lease=Lease(_lease_seconds(settings, recipe)),
        states=ReadModelStates(recipe.pipeline, read_models),
        observer=observer,
        topics=PipelineTopics(settings.kafka, recipe.pipeline, read_models),
        breakers=recipe.accounts.breakers,
        slots=asyncio.Semaphore(sync.concurrency + sync.concurrency // READY_PER_SLOT),
        room=Room(READ_PER_SLOT * sync.concurrency, sync.max_parked),
        crash=crash,
        kpi_keep_days=settings.general.kpi_keep_days,
        dlq_keep_days=settings.general.dlq_keep_days,
        gates=Gates(sync.breaker_probe_seconds),
        letters=FollowedLetters(recipe.pipeline, read_models),
        operator_tasks=FollowedTasks(recipe.pipeline, read_models),
        letter_values=letter_values,
    )


def engine_stream(
    settings: WorkerSettings,
    recipe: Recipe,
    context: EngineContext,
    connection: FaustConnection,
    on_alert: AlertHandler,
    checks: Sequence[Callable[[], None]],
) -> Stream:
    """The stream that reads the pipeline's topics; it is not started."""
    return Stream(
        context,
        connection={"broker": connection.broker, "broker_credentials": connection.credentials},
        heartbeat_seconds=min(HEARTBEAT_SECONDS, _lease_seconds(settings, recipe) / 4),
        drain_seconds=settings.kafka.session_timeout_seconds / 3,
        on_alert=on_alert,
        data_dir=settings.general.data_dir / "faust",
        checks=checks,
    )


def outage_watches(settings: WorkerSettings, recipe: Recipe, context: EngineContext) -> list[OutageWatch]:
    """One for each account."""
    # A dry run opens no incidents: it may run beside a group that works on the same topic in earnest.
    alert_seconds = math.inf if settings.sync.dry_run else settings.sync.breaker_alert_seconds
    return [
        OutageWatch(
            account.name,
            account.health,
            context.producer,
            recipe.pipeline,
            alert_seconds,
            context.room.waiting,
            context.gates.shut_since,
        )
        for account in recipe.accounts
    ]


def measure(
    metrics: Metrics, stream: Stream, context: EngineContext, accounts: TargetAccounts, read_models: ReadModels
) -> None:
    """Have the gauges ask the parts."""
    figures = Figures(stream.ownership)
    metrics.watch(
        Gauges(
            parked_consumers=figures.parked_consumers,
            oldest_parked=figures.oldest_parked_seconds,
            in_flight=lambda: float(context.in_flight),
            commit_stall=lambda: stream.ownership.healing.stalled_seconds,
            consumer_lag=stream.lag,
            breaker_open=lambda: {account.name: float(account.breaker.is_open) for account in accounts},
            dead_letters_open=figures.open_dead_letters,
            readmodel_behind=read_models.behind_seconds,
            calls_allowed=lambda: accounts.calls_allowed,
            throttled=lambda: {account.name: float(account.is_throttled) for account in accounts},
        )
    )


def _lease_seconds(settings: WorkerSettings, recipe: Recipe) -> float:
    return settings.kafka.session_timeout_seconds - recipe.call_seconds - LEASE_SLACK_SECONDS
