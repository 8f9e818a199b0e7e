"""One worker: puts the rooms together, runs them, and takes them down in order."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack

import structlog
import uvloop
from aiokafka.errors import KafkaError

from app import __version__
from app.delivery.counts import Settlement
from app.delivery.dry_run import refusal_of_group
from app.delivery.pipeline import Pipeline
from app.delivery.pipeline_identity import Difference, PipelineIdentity, compare
from app.delivery.record import SourceRecord
from app.engine.backpressure import Room
from app.engine.context import EngineContext, EngineStopped
from app.engine.figures import Figures
from app.engine.flow import Topics, TopicsUnknown
from app.engine.gates import Gates
from app.engine.lease import Lease
from app.engine.ledger import Ledger
from app.engine.stream import Stream
from app.flows.cut_off import CutOffReports
from app.flows.descriptors import TooFewDescriptors, allow_descriptors, descriptors_needed
from app.flows.identity import GONE, creation_problems, state_gone
from app.flows.kafka_absence import KafkaAbsence
from app.flows.outage import OutageWatch
from app.flows.own_status import OwnStatus
from app.flows.pipeline_topics import PipelineTopics
from app.flows.recipe import Recipe
from app.flows.recipes import RECIPES
from app.flows.states import ReadModelStates
from app.incidents.desk import open_desk
from app.kafka import topics
from app.kafka.admin import Admin, KafkaAccessError
from app.kafka.clients import aiokafka_producer_config, bootstrap_servers, faust_connection
from app.kafka.durable_producer import DurableProducer
from app.kafka.limits import copy_bytes
from app.kafka.refusals import what_to_do
from app.kafka.start_offsets import place_group
from app.kafka.topic_specs import Problem, in_words
from app.observe.freed_memory import limit_arenas, returning_free_memory
from app.observe.health import Readiness, Reason, ReasonKind
from app.observe.logging import configure_logging
from app.observe.metrics import Gauges, Metrics
from app.readmodels import ReadModels, ReadModelUnavailable
from app.settings import KafkaSettings, WorkerSettings, warnings
from app.web.server import WebServer
from app.web.state import WebState

log = structlog.get_logger(__name__)

# After the longest call there is this much left of the session for the worker to notice that it lost it.
LEASE_SLACK_SECONDS = 1.0
# A take-over waits for one heartbeat; several must fit into the lease.
HEARTBEAT_SECONDS = 1.0
# Events taken and not settled yet, per event that may be worked on at a time: enough of them are ready to run while
# others wait for their outcome to be durable.
TAKEN_PER_SLOT = 16
# Of so many events that are worked on one more may be, whose call is ready to go out when another one's is answered.
READY_PER_SLOT = 4
# New objects before a collection, and collections before one of the next generation (Python: 700, 10, 10).
COLLECT_AFTER = (20_000, 20, 20)
# A group's records are looked at before it is joined; a state that takes longer to read is looked at by the claim only.
LOOK_AT_STATE_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.05
# Between two tries to reach a broker that is not there.
KAFKA_RETRY_SECONDS = 2.0


class WorkerFailed(Exception):
    """The worker cannot go on; the text says why and what to do.

    Args:
        configuration: it was started with settings that do not fit the group.
        told: the log has it already.
    """

    def __init__(self, text: str, *, configuration: bool = False, told: bool = False) -> None:
        super().__init__(text)
        self.configuration = configuration
        self.told = told


class Worker:
    """Everything that runs in one worker process.

    Args:
        recipe: makes the pipeline that it runs.

    Raises:
        ConfigurationError: the settings of either end cannot be used.
    """

    def __init__(self, settings: WorkerSettings, recipe: Callable[[WorkerSettings, Metrics], Recipe]) -> None:
        self._settings = settings
        self._metrics = Metrics(dry_run=settings.sync.dry_run)
        # Both ends are made here, so that whatever is wrong with their settings is told before anything starts.
        self._connection = faust_connection(settings.kafka)
        self._recipe = recipe(settings, self._metrics)
        self._pipeline = self._recipe.pipeline
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
        self._status = OwnStatus(settings, self._recipe, self._readiness)
        self._closed_topics: Callable[[], Iterable[str]] = tuple  # why topics of ours do not take writes
        self._waiting_for: Reason | None = Reason(ReasonKind.KAFKA, "starting")
        self._absence = KafkaAbsence(", ".join(bootstrap_servers(settings.kafka)))

    async def run(self) -> None:
        """Work until asked to stop.

        Raises:
            WorkerFailed: it could not start, or met a bug that must not be passed over.
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
            state = WebState(self._read_models, self._metrics, self._readiness, self._status.judgement, dry_run)
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
                self._waiting_for = Reason(ReasonKind.KAFKA, reason)
                log.warning("starting again", reason=reason, error=type(error).__name__)
                await self._stopped_within(KAFKA_RETRY_SECONDS)
                return False
            await self._stop.wait()
            self._status.ends("")
            self._waiting_for = Reason(ReasonKind.STATE, "stopping")
        return True

    async def _start(self, stack: AsyncExitStack) -> None:
        settings, kafka, sync = self._settings, self._settings.kafka, self._settings.sync
        pipeline = self._pipeline
        accounts = self._recipe.accounts
        await stack.enter_async_context(accounts)
        largest = dict.fromkeys((pipeline.retry_topic, pipeline.dlq_topic), copy_bytes(kafka))
        producer = DurableProducer(aiokafka_producer_config(kafka), largest)
        await producer.start()
        self._closed_topics = lambda: producer.writability.reasons().values()
        stack.push_async_callback(producer.stop)
        self._cut_off = CutOffReports(pipeline, self._metrics, None if sync.dry_run else producer)
        board = await stack.enter_async_context(self._status.board(producer))
        desk = await stack.enter_async_context(
            open_desk(
                settings.servicenow,
                pipeline.group,
                where=f"group {pipeline.group}, main topic {pipeline.topic}, dead letters in {pipeline.dlq_topic}",
                memory=board,
                owns=self._owns_alerts,
                still_on=board.still_on,
                on_result=self._metrics.incident,
            )
        )
        lease_seconds = kafka.session_timeout_seconds - self._recipe.call_seconds - LEASE_SLACK_SECONDS
        context = EngineContext(
            pipeline=pipeline,
            kafka=kafka,
            sync=sync,
            flow=self._recipe.flow,
            producer=producer,
            ledger=Ledger(),
            lease=Lease(lease_seconds),
            states=ReadModelStates(pipeline, self._read_models),
            observer=self,
            topics=PipelineTopics(kafka, pipeline, self._read_models),
            breakers=accounts.breakers,
            slots=asyncio.Semaphore(sync.concurrency + sync.concurrency // READY_PER_SLOT),
            room=Room(TAKEN_PER_SLOT * sync.concurrency, sync.max_parked),
            crash=self._crash,
            kpi_keep_days=settings.general.kpi_keep_days,
            gates=Gates(sync.breaker_probe_seconds),
        )
        connection = self._connection
        checks = [self._read_models.check, board.check, desk.check, lambda: self._look_for_kafka(context.lease)]
        self._stream = stream = Stream(
            context,
            connection={"broker": connection.broker, "broker_credentials": connection.credentials},
            heartbeat_seconds=min(HEARTBEAT_SECONDS, lease_seconds / 4),
            drain_seconds=kafka.session_timeout_seconds / 3,
            on_alert=desk.handle_record,
            data_dir=settings.general.data_dir / "faust",
            checks=checks,
        )
        figures = Figures(stream.ownership)
        self._metrics.watch(
            Gauges(
                parked_consumers=figures.parked_consumers,
                oldest_parked=figures.oldest_parked_seconds,
                in_flight=lambda: float(context.in_flight),
                commit_stall=lambda: stream.ownership.healing.stalled_seconds,
                consumer_lag=stream.lag,
                breaker_open=lambda: {account.name: float(account.breaker.is_open) for account in accounts},
                dead_letters_open=figures.open_dead_letters,
                readmodel_behind=self._read_models.behind_seconds,
                calls_allowed=lambda: accounts.calls_allowed,
                throttled=lambda: {account.name: float(account.is_throttled) for account in accounts},
            )
        )
        # A dry run makes no incidents: it may run beside a group that works on the same topics in earnest.
        alert_seconds = math.inf if sync.dry_run else sync.breaker_alert_seconds
        watches = [
            OutageWatch(
                account.name,
                account.health,
                producer,
                pipeline,
                alert_seconds,
                context.room.waiting,
                context.gates.shut_since,
            )
            for account in accounts
        ]
        self._status.watch(stream, watches)
        for watch in watches:
            await stack.enter_async_context(watch)
        checks.extend(watch.check for watch in watches)
        stack.push_async_callback(stream.stop)
        self._waiting_for = Reason(ReasonKind.STATE, "the state is being recovered")
        await self._refuse_to_join(context.topics)
        if self._stop.is_set():
            return
        started = asyncio.ensure_future(stream.start())
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((started, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if started.done():
            started.result()
            self._waiting_for = None
            _spare_the_collector()
        else:
            started.cancel()

    async def _refuse_to_join(self, topics: Topics) -> None:
        """Look at the group's records before joining it, so that its workers are not disturbed for nothing. The claim
        looks again: others may write meanwhile.

        Raises:
            WorkerFailed: the group works on another topic, or one of the two does a dry run.
        """
        deadline = time.monotonic() + LOOK_AT_STATE_SECONDS
        while not self._read_models.caught_up() and time.monotonic() < deadline:
            if await self._stopped_within(LOOK_AGAIN_SECONDS):
                return
        try:
            records = self._read_models.partitions()
            seen = await topics.look()
        except (ReadModelUnavailable, TopicsUnknown):
            return
        pipeline = self._pipeline
        running = PipelineIdentity(pipeline.name, pipeline.topic, seen.ids)
        if why := refusal_of_group(
            records.values(), running, dry_run=self._settings.sync.dry_run, group=pipeline.group
        ):
            found = {compare(state.identity, running).difference for state in records.values()}
            raise WorkerFailed(why, configuration=not found & {Difference.RECREATED, Difference.CONSUMERS_LOST})

    async def _until_kafka_is_there(self) -> bool:
        """Create missing topics, check the others; False when asked to stop meanwhile.

        Raises:
            WorkerFailed: the topics cannot be worked with.
        """
        kafka, pipeline = self._settings.kafka, self._pipeline
        while not self._stop.is_set():
            try:
                # Before anything is made: an empty state topic would look like that of a new group.
                if why := await asyncio.to_thread(_not_to_be_made, kafka, pipeline):
                    text, configuration = why
                    raise WorkerFailed(text, configuration=configuration)
                report = await asyncio.to_thread(topics.create, kafka, pipeline)
                placed = await asyncio.to_thread(place_group, kafka, pipeline)
            except KafkaAccessError as error:
                self._waiting_for = Reason(ReasonKind.KAFKA, str(error))
                self._absence.away(str(error), refused=error.refused)
                if await self._stopped_within(KAFKA_RETRY_SECONDS):
                    return False
                continue
            self._absence.back()
            if report.created:
                log.info("created topics", topics=list(report.created))
            if placed:
                log.info("a new group starts", start=kafka.start, offsets=placed)
            fatal = [problem for problem in report.problems if _is_fatal(problem, pipeline)]
            for text in in_words([problem for problem in report.problems if problem not in fatal]):
                log.warning("a topic is not as it must be", problem=text)
            if fatal:
                raise WorkerFailed(" ".join(in_words(fatal)))
            return True
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

    def cut_off(self, partition: int, first: int, begin: int, events: int) -> None:
        """The engine's observer."""
        if self._cut_off is not None:
            self._cut_off.report(partition, first, begin, events)

    def _owns_alerts(self, partition: int) -> bool:
        stream = self._stream
        return stream is not None and (self._pipeline.alerts_topic, partition) in stream.ownership.gate

    def _readiness(self) -> Readiness:
        stream = self._stream
        owned = stream is not None and stream.ownership.ready
        return Readiness.of(
            self._waiting_for,
            None if owned else Reason(ReasonKind.KAFKA, "partitions are not taken over yet"),
            *(Reason(ReasonKind.KAFKA, text) for text in (stream.watch.reasons() if stream is not None else ())),
            *(Reason(ReasonKind.KAFKA, text) for text in self._closed_topics()),
            self._read_model_trouble(),
        )

    def _read_model_trouble(self) -> Reason | None:
        trouble = self._read_models.trouble()
        kind = ReasonKind.STATE if self._read_models.trouble_is_own else ReasonKind.KAFKA
        return None if trouble is None else Reason(kind, trouble)

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


def _not_to_be_made(kafka: KafkaSettings, pipeline: Pipeline) -> tuple[str, bool] | None:
    """Why topics that are missing must not be made, and whether that is for the settings; None: they may."""
    with Admin(kafka) as admin:
        if gone := state_gone(kafka, pipeline, admin):
            return gone.message, False
        for problem in creation_problems(kafka, pipeline, admin):
            return problem.remedy, problem.found != GONE
        return None


def _spare_the_collector() -> None:
    """What is there after the start stays; looking through it for garbage again and again cost a tenth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _is_fatal(problem: Problem, pipeline: Pipeline) -> bool:
    """Whether a worker cannot work with a topic like this. The main topic's size limit is its owner's affair: what does
    not fit into ours becomes a dead letter without its value; ours must take what we write (see DurableProducer)."""
    if problem.topic == pipeline.status_topic:
        return False  # events come first
    too_small = problem.setting == "max.message.bytes" and problem.topic != pipeline.topic
    return too_small or problem.setting in ("topic", "partitions", "cleanup.policy", "compression.type")


def run_worker(settings: WorkerSettings, flow: str) -> None:
    """Run one worker of a pipeline in this process until a signal ends it. Whoever calls it says why it ended, then
    ``say_stopped``.

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


def say_cannot_go_on(reason: str) -> None:
    """Why the worker ends, for whoever reads its log; once."""
    log.error("cannot go on", reason=reason)


def say_stopped() -> None:
    """The last line of the log: whoever reads it sees that nothing was cut off."""
    log.info("stopped")
