"""Repairs what Marketing Cloud holds of one consumer, in the consumer's lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from app.cmt.errors import CallFailed
from app.delivery.consumer_record import ConsumerState
from app.delivery.permit import Permit
from app.delivery.record import SourceRecord
from app.flows.consumer_verification import ConsumerVerification, Home, Repair
from app.flows.verified_consumer import VerifiedConsumer
from app.observe.redaction import hash_consumer
from app.profile.entities import Catalog
from app.profile.holdings.findings import Status

log = structlog.get_logger(__name__)

UNKNOWN = "unknown"  # no event of the consumer was settled


@dataclass(frozen=True, slots=True)
class Mending:
    """Compares a consumer with its last settled state and writes what differs.

    Args:
        homes: where the rows of a market are; None: the market is not known.
    """

    catalog: Catalog
    homes: Callable[[str], Home | None]
    repair: Repair

    async def mend(
        self, consumer: str, partition: int, state: ConsumerState | None, record: SourceRecord | None, permit: Permit
    ) -> str:
        """What came of it: a status of a verification, or ``unknown``. Raises only what ``permit`` raises."""
        if state is None:
            return UNKNOWN
        subject = VerifiedConsumer(consumer, partition, state)
        one = ConsumerVerification(self.catalog, self.repair, permit=permit)
        event, _ = one.event(subject, record)
        home = self.homes(subject.market if event is None else event.market)
        if home is None:
            return Status.NO_HOME.value
        told = {"partition": partition, "consumer": hash_consumer(consumer)}
        try:
            finding = await one.verify(subject, record, home)
        except CallFailed as failed:
            log.warning("a consumer could not be compared", reason=failed.error.code, detail=str(failed), **told)
            return Status.ERROR.value
        if finding.status not in (Status.OK, Status.PARTIAL):
            log.info("a consumer was compared", status=finding.status.value, note=finding.note, **told)
        return finding.status.value
