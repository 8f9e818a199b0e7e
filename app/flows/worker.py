"""One worker: makes its parts, runs them, and takes them down in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import structlog
import uvloop
from aiokafka.errors import KafkaError

from app import __version__
from app.delivery.counts import Settlement
from app.delivery.readmitted import Readmitted
from app.delivery.record import SourceRecord
from app.engine.context import EngineStopped
from app.engine.lease import Lease
from app.engine.stream import Stream
from app.flows.cut_off import CutOffReports
from app.flows.descriptors import TooFewDescriptors, allow_descriptors, descriptors_needed
from app.flows.engine_parts import engine_context, engine_stream, measure, outage_watches
from app.flows.group_check import check_group
from app.flows.kafka_absence import KafkaAbsence
from app.flows.letter_sources import ValuesByPosition
from app.flows.open_letters import IndexedLetters
from app.flows.own_status import OwnStatus
from app.flows.recipe import Recipe
from app.flows.recipes import RECIPES
from app.flows.topic_preparation import prepare_topics
from app.flows.web_operations import WebOperations
from app.flows.worker_end import WorkerFailed, say_cannot_go_on
from app.flows.worker_readiness import WorkerReadiness
from app.incidents.open_desk import open_desk
from app.kafka.admin import KafkaAccessError
from app.kafka.clients import aiokafka_producer_config, bootstrap_servers, faust_connection
from app.kafka.durable_producer import DurableProducer
from app.kafka.limits import copy_bytes
from app.kafka.refusals import what_to_do
from app.observe.freed_memory import limit_arenas, returning_free_memory, spare_the_collector
from app.observe.health import Reason, ReasonKind
from app.observe.logging import configure_logging
from app.observe.metrics import Metrics
from app.readmodels import ReadModels
from app.settings import WorkerSettings, warnings
from app.settings.loading import ConfigurationError, session_problems
from app.web.server import WebServer
from app.web.state import WebState

log = structlog.get_logger(__name__)

# Between two tries to reach a broker that does not answer.
KAFKA_RETRY_SECONDS = 2.0


class Worker:
    """Everything that runs in one worker process.

    Args:
        recipe: makes the pipeline that it runs.

    Raises:
        ConfigurationError: the settings of Kafka or of the target cannot be used, or a call may take longer than the
            group's session.
    """

    def __init__(self, settings: WorkerSettings, recipe: Callable[[WorkerSettings, Metrics], Recipe]) -> None:
        self._settings = settings
        self._metrics = Metrics(dry_run=settings.sync.dry_run)
        # Both ends are made here, so that whatever is wrong with their settings is said before anything starts.
        self._connection = faust_connection(settings.kafka)
        self._recipe = recipe(settings, self._metrics)
        self._pipeline = self._recipe.pipeline
        longest = f"the longest call of the pipeline {self._pipeline.name}"
        if problems := session_problems(settings.kafka, longest, self._recipe.call_seconds):
            raise ConfigurationError(problems)
        self._read_models = ReadModels(
            settings.kafka,
            self._pipeline,
            settings.general.data_dir,
            unreadable=self._metrics.unreadable_state_record,
        )
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._stream: Stream | None = None
        self._cut_off: CutOffReports | None = None
        self._readiness = WorkerReadiness(self._read_models)
        self._status = OwnStatus(settings, self._recipe, self._readiness.now)
        self._absence = KafkaAbsence(", ".join(bootstrap_servers(settings.kafka)))

    async def run(self) -> None:
        """Work until asked to stop.

        Raises:
            WorkerFailed: it could not start, or a bug of the engine ended it.
        """
        try:
            allow_descriptors(descriptors_needed(self._settings, len(list(self._recipe.accounts))))
        except TooFewDescriptors as error:
            raise WorkerFailed(str(error)) from error
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        self._say_what_will_be_done()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(returning_free_memory())
            self._read_models.start()
            stack.callback(self._read_models.stop)
            dry_run = self._settings.sync.dry_run
            state = WebState(
                self._read_models,
                self._metrics,
                self._readiness.now,
                self._status.judgement,
                dry_run,
                WebOperations(self._settings.kafka, self._pipeline, self._read_models, self._recipe.catalog),
            )
            web = WebServer(state, self._settings.web)
            await web.start()
            stack.push_async_callback(web.stop)
            try:
                while await self._until_kafka_is_there():
                    if await self._work():
                        break
            except WorkerFailed as failed:
                self._status.ends(str(failed))
                await self._status.tell_end()
                raise
        if isinstance(self._failure, EngineStopped):
            raise WorkerFailed(str(self._failure), told=True) from self._failure
        if self._failure is not None:
            raise WorkerFailed(
                f"stopped by an unexpected {type(self._failure).__name__} ({self._failure}); nothing is lost: what was "
                "under way is done again after a restart. Please report it with the log."
            ) from self._failure

    def _say_what_will_be_done(self) -> None:
        pipeline, sync = self._pipeline, self._settings.sync
        log.info(
            "starting a DRY RUN: nothing is written to the target" if sync.dry_run else "starting",
            version=__version__,
            pipeline=pipeline.name,
            topic=pipeline.topic,
            own_topics=[pipeline.retry_topic, pipeline.dlq_topic, pipeline.alerts_topic, pipeline.status_topic],
            group=pipeline.group,
            target=self._recipe.target,
            strategy=sync.strategy,
            worker=self._status.worker,
        )

    async def _work(self) -> bool:
        """Start, and work until asked to stop; False: Kafka went away before all was started."""
        async with AsyncExitStack() as stack:
            try:
                await self._start(stack)
            except KafkaError as error:
                reason = what_to_do(error, "") or f"Kafka went away during the start ({type(error).__name__})"
                self._readiness.waiting_for = Reason(ReasonKind.KAFKA, reason)
                log.warning("starting again", reason=reason, error=type(error).__name__)
                await self._stopped_within(KAFKA_RETRY_SECONDS)
                return False
            await self._stop.wait()
            self._status.ends("")
            self._readiness.waiting_for = Reason(ReasonKind.STATE, "stopping")
        return True

    async def _start(self, stack: AsyncExitStack) -> None:
        settings, recipe, pipeline, dry_run = self._settings, self._recipe, self._pipeline, self._settings.sync.dry_run
        await stack.enter_async_context(recipe.accounts)
        largest = dict.fromkeys((pipeline.retry_topic, pipeline.dlq_topic), copy_bytes(settings.kafka))
        producer = DurableProducer(aiokafka_producer_config(settings.kafka), largest)
        await producer.start()
        self._readiness.closed_topics = lambda: producer.writability.reasons().values()
        stack.push_async_callback(producer.stop)
        self._cut_off = CutOffReports(pipeline, self._metrics, None if dry_run else producer)
        board = await stack.enter_async_context(self._status.board(producer))
        desk = await stack.enter_async_context(
            open_desk(
                settings.servicenow,
                pipeline.group,
                where=f"group {pipeline.group}, main topic {pipeline.topic}, dead letters in {pipeline.dlq_topic}",
                page=settings.web.public_url,
                letters=IndexedLetters(self._read_models),
                memory=board,
                owns=self._owns_alerts,
                still_on=board.still_on,
                on_result=self._metrics.incident,
            )
        )
        values = ValuesByPosition(settings.kafka, pipeline)
        stack.push_async_callback(values.close)
        context = engine_context(settings, recipe, self._read_models, producer, values, self, self._crash)
        watches = outage_watches(settings, recipe, context)
        checks = [self._read_models.check, board.check, desk.check, lambda: self._look_for_kafka(context.lease)]
        checks += [watch.check for watch in watches]
        stream = engine_stream(settings, recipe, context, self._connection, desk.handle_record, checks)
        self._stream = self._readiness.stream = stream
        measure(self._metrics, stream, context, recipe.accounts, self._read_models)
        self._status.watch(stream, watches)
        for watch in watches:
            await stack.enter_async_context(watch)
        stack.push_async_callback(stream.stop)
        self._readiness.waiting_for = Reason(ReasonKind.STATE, "the state is being recovered")
        await check_group(
            self._read_models, context.topics, pipeline, dry_run=dry_run, stopped_within=self._stopped_within
        )
        if not self._stop.is_set() and await self._done_before_stop(stream.start()):
            self._readiness.waiting_for = None
            spare_the_collector()

    async def _until_kafka_is_there(self) -> bool:
        """Prepare the topics, again and again while Kafka does not answer; False when asked to stop meanwhile.

        Raises:
            WorkerFailed: a worker cannot run with these topics.
        """
        while not self._stop.is_set():
            try:
                if not await self._done_before_stop(prepare_topics(self._settings.kafka, self._pipeline)):
                    return False
            except KafkaAccessError as error:
                self._readiness.waiting_for = Reason(ReasonKind.KAFKA, str(error))
                self._absence.away(str(error), refused=error.refused)
                await self._stopped_within(KAFKA_RETRY_SECONDS)
                continue
            self._absence.back()
            return True
        return False

    async def _done_before_stop(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work ended before the worker was asked to stop; if not, it is cancelled."""
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            working.result()
            return True
        working.cancel()
        return False

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def settled(self, settlement: Settlement, record: SourceRecord) -> None:
        """The engine's observer."""
        self._status.settled(settlement)
        # A timestamp that cannot be right says nothing of how long it took.
        seconds = None if record.counted_day else time.time() - record.timestamp_ms / 1000
        self._metrics.event_settled(settlement.outcome.value, settlement.market, seconds)

    def handled(self, settlement: Settlement, again: Readmitted) -> None:
        """The engine's observer."""
        self._status.handled(settlement)
        self._metrics.letter_handled(again.handling.value, settlement.outcome.value)

    def foreign(self, letter: str) -> None:
        """The engine's observer."""
        self._metrics.foreign_letter()

    def cut_off(self, partition: int, first: int, begin: int, events: int) -> None:
        """The engine's observer."""
        if self._cut_off is not None:
            self._cut_off.report(partition, first, begin, events)

    def _owns_alerts(self, partition: int) -> bool:
        stream = self._stream
        return stream is not None and (self._pipeline.alerts_topic, partition) in stream.ownership.gate

    def _look_for_kafka(self, lease: Lease) -> None:
        trouble = None if self._read_models.trouble_is_own else self._read_models.trouble()
        self._absence.look(trouble, lease.silent_seconds())

    def _crash(self, error: BaseException) -> None:
        if isinstance(error, EngineStopped):
            if self._failure is None:  # of several partitions each may say it
                say_cannot_go_on(str(error))
        else:
            log.error("unexpected error, stopping", exc_info=error)
        self._status.ends(str(error) if isinstance(error, EngineStopped) else f"unexpected {type(error).__name__}")
        self._failure = self._failure or error
        self._stop.set()

    def _on_signal(self, number: int) -> None:
        if self._stop.is_set():
            log.warning("second signal, quitting at once", signal=signal.Signals(number).name)
            os._exit(128 + number)
        log.info("stopping", signal=signal.Signals(number).name)
        self._stop.set()


def run_worker(settings: WorkerSettings, flow: str) -> None:
    """Run one worker of a pipeline in this process until a signal ends it.

    The caller reports why it ended, then calls ``say_stopped``.

    Raises:
        WorkerFailed, ConfigurationError: see ``Worker``.
    """
    limit_arenas()
    os.umask(0o077)  # what a worker writes names consumers: for its user alone
    configure_logging(settings.general, dry_run=settings.sync.dry_run)
    for line in warnings():
        log.warning("an environment variable has no effect", problem=line)

    async def run() -> None:
        await Worker(settings, RECIPES[flow]).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
