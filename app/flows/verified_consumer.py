"""A consumer as a verification sees it: its newest record, and what was found."""

from __future__ import annotations

from dataclasses import dataclass

from app.delivery.consumer_record import ConsumerState
from app.profile.event import Operation
from app.profile.holdings.findings import DriftFinding, Status
from app.readmodels import ReadModels


@dataclass(frozen=True, slots=True)
class VerifiedConsumer:
    """One consumer and its newest record."""

    consumer_id: str
    partition: int
    state: ConsumerState

    @property
    def market(self) -> str:
        """The market of the last full state, if it is known."""
        full = self.state.full
        return self.state.market if full is None else full.market or self.state.market

    @property
    def is_gone(self) -> bool:
        """Whether its last full state is a delete of the profile."""
        return self.state.full is not None and self.state.full.operation == Operation.DELETE

    @property
    def offset(self) -> int:
        """The offset of the last full state; -1: there is none."""
        return -1 if self.state.full is None else self.state.full.offset

    def found(self, status: Status, note: str | None = None, *, in_part: bool = False) -> DriftFinding:
        """A finding about this consumer."""
        event = None if self.state.full is None else self.state.full.event_id
        return DriftFinding(self.consumer_id, self.partition, event, status, note, in_part)


def newest_record(models: ReadModels, consumer_id: str) -> VerifiedConsumer | None:
    """The consumer with its newest record; None: it was never seen.

    A consumer lives on one partition, unless producers disagree about partitioning. Then the newest record counts.
    """
    records = models.consumer(consumer_id)
    if not records:
        return None
    partition, state = max(records, key=lambda record: settled_ms(record[1]))
    return VerifiedConsumer(consumer_id, partition, state)


def settled_ms(state: ConsumerState) -> int:
    """When the last event of a consumer was settled, in ms since 1970; 0: not known."""
    return max((event.settled_ms for event in state.recent), default=0)
