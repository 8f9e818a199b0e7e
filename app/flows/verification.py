"""Compares what Marketing Cloud holds with the last settled full state of each consumer, and repairs it on request.

1. A consumer with an event that is not settled (in the main topic, parked, about to become a dead letter) is *pending*:
   it is not judged. The same holds after a later event that failed, because it may have written a part. A consumer that
   has only failed events and no parent row is *missing*.
2. The last full state is read from the main topic, at the offset in the consumer record. If it is no longer there, the
   keys and digests in the record say what should be held; see ``app/profile/holdings/expected_state.py``.
3. All rows are retrieved and compared. If they differ, the record and the end of the main topic are read once more. If
   an event has arrived meanwhile, the consumer is pending.
4. Marketing Cloud takes IDs that differ only in case or trailing blanks for one consumer. Such consumers are not
   compared, because their rows cannot be told apart.
5. A repair is a task: the owner of the consumer's partition compares again in the consumer's lane, where no event of it
   runs, and writes what differs (``consumer_verification.py``). Here it is only shown what would be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from app.cmt.errors import CallFailed
from app.delivery.pipeline import Pipeline
from app.delivery.record import SourceRecord
from app.flows.consumer_verification import ConsumerVerification, Repair
from app.flows.market_clients import AccountUnavailable, AskedMarket, MarketClients
from app.flows.unsettled_events import Places, UnsettledEvents
from app.flows.verified_consumer import VerifiedConsumer, newest_record, settled_ms
from app.kafka.admin import KafkaAccessError
from app.kafka.topic_reader import SettledEvents
from app.profile.entities import Catalog
from app.profile.event_reader import unknown_market
from app.profile.holdings.findings import DriftFinding, Status
from app.profile.keys import folded, same_key_text, spellings
from app.readmodels import ReadModels, ReadModelUnavailable
from app.settings import CmtSettings, KafkaSettings

ONE_FOR_ANOTHER = (
    "Marketing Cloud takes it for the same consumer as {}: the IDs differ in case or trailing blanks alone, so one "
    "overwrites the rows of the other. Have the producer use one spelling, or give one of them another ID."
)

CONSUMERS_AT_ONCE = 8
CALLS_AT_ONCE = 32
# Consumers whose events are read together.
CHUNK = 200


async def verify(
    kafka: KafkaSettings,
    pipeline: Pipeline,
    cmt: CmtSettings,
    catalog: Catalog,
    models: ReadModels,
    *,
    consumer_id: str | None = None,
    only: Collection[str] | None = None,
    since_ms: int | None = None,
    repair: Repair | None = None,
    on_total: Callable[[int], object] = lambda number: None,
    on_finding: Callable[[DriftFinding], object] = lambda finding: None,
) -> list[DriftFinding]:
    """Verify one consumer, or some (``only``), or all, or those with an event settled since a time (ms since 1970);
    repair with ``repair``.

    Consumers that were never seen have no finding.

    Raises:
        ConfigurationError: no client can be made of the settings.
        KafkaAccessError: the main topic cannot be read, from the first on.
        ReadModelUnavailable: the records cannot be read, from the first on.
        AccountUnavailable: the only account there is gives no token.
    """
    async with MarketClients(cmt, catalog, concurrency=CALLS_AT_ONCE) as markets:
        with SettledEvents(kafka, pipeline) as events:
            known = models.consumer_ids()
            if consumer_id is not None:
                known = [name for name in known if same_key_text(name, consumer_id)]
            run = Verifier(catalog, models, events, markets, repair, spellings(known))
            await run.look_at_unsettled()
            await markets.learn_types()
            wanted = [consumer_id] if consumer_id is not None else known if only is None else only
            places = run.places(wanted, since_ms)
            on_total(len(places))
            findings: list[DriftFinding] = []
            for start in range(0, len(places), CHUNK):
                try:
                    findings += await run.chunk(places[start : start + CHUNK], on_finding)
                except (KafkaAccessError, ReadModelUnavailable) as error:
                    if not findings:
                        raise
                    # What was found and written so far must still be reported.
                    rest = [DriftFinding(name, p, None, Status.ERROR, str(error)) for p, _, name in places[start:]]
                    return findings + rest
            return findings


@dataclass(slots=True)
class Verifier:
    """One run. First ``look_at_unsettled``, then ``places``, then each ``chunk`` of them.

    ``spelled``: consumer IDs that are one to Marketing Cloud, by ``keys.folded``.
    """

    catalog: Catalog
    models: ReadModels
    events: SettledEvents
    markets: MarketClients
    repair: Repair | None
    spelled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _unsettled: UnsettledEvents = field(init=False)
    _one: ConsumerVerification = field(init=False)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONSUMERS_AT_ONCE))

    def __post_init__(self) -> None:
        self._unsettled = UnsettledEvents(self.models, self.events)
        self._one = ConsumerVerification(self.catalog, self.repair, self._unsettled.moved_on)

    async def look_at_unsettled(self) -> None:
        """Note whose events are not settled."""
        await self._unsettled.look()

    def places(self, consumer_ids: Iterable[str], since_ms: int | None) -> list[tuple[int, int, str]]:
        """(partition, offset of the last full state, consumer ID), in reading order."""
        subjects = (subject for subject in map(self._newest, consumer_ids) if subject is not None)
        return sorted(
            (subject.partition, subject.offset, subject.consumer_id)
            for subject in subjects
            if since_ms is None or settled_ms(subject.state) >= since_ms
        )

    async def chunk(
        self, places: list[tuple[int, int, str]], on_finding: Callable[[DriftFinding], object]
    ) -> list[DriftFinding]:
        """Verify some consumers whose events lie near each other."""
        # Read again: a consumer may have new events since the places were listed.
        subjects = [subject for subject in (self._newest(name) for _, _, name in places) if subject is not None]
        offsets: dict[int, list[int]] = {}
        for subject in subjects:
            offsets.setdefault(subject.partition, []).append(subject.offset)
        records: dict[tuple[int, int], SourceRecord] = {}
        for partition, wanted in offsets.items():
            found = await self._unsettled.records(partition, wanted)
            records |= {(partition, offset): record for offset, record in found.items()}
        parked = self._unsettled.parked()

        async def one(subject: VerifiedConsumer) -> DriftFinding:
            async with self._slots:
                finding = await self._verify(subject, records.get((subject.partition, subject.offset)), parked)
            on_finding(finding)
            return finding

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(subject)) for subject in subjects]
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _verify(self, subject: VerifiedConsumer, record: SourceRecord | None, parked: Places) -> DriftFinding:
        if why := self._unsettled.pending(subject, parked):
            return subject.found(Status.PENDING, why)
        event, _ = self._one.event(subject, record)
        name = subject.market if event is None else event.market
        market = self.markets.of(name)
        if market is None:
            return subject.found(Status.NO_HOME, unknown_market(name))
        if others := self._taken_for(subject, market):
            return subject.found(Status.ERROR, ONE_FOR_ANOTHER.format(", ".join(others)))
        try:
            await market.account.ready()
            finding = await self._one.verify(subject, record, market)
            market.account.answered()
        except AccountUnavailable as unavailable:
            if self.markets.one_account and not market.account.reached:
                raise
            return subject.found(Status.ERROR, str(unavailable))
        except CallFailed as failed:
            market.account.failed(failed)
            return subject.found(Status.ERROR, str(failed))
        return finding

    def _taken_for(self, subject: VerifiedConsumer, market: AskedMarket) -> list[str]:
        """Other consumers whose rows Marketing Cloud takes for this one's."""
        found = []
        for name in self.spelled.get(folded(subject.consumer_id), ()):
            other = self._newest(name) if name != subject.consumer_id else None
            if other is None or subject.is_gone or other.is_gone:
                continue
            place = self.markets.of(other.market)
            if place is not None and place.client is market.client:
                found.append(name)
        return found

    def _newest(self, consumer_id: str) -> VerifiedConsumer | None:
        return newest_record(self.models, consumer_id)
