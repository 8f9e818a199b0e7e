"""What the demo reports about an outage, and when. Pure: it gets one look after the other.

    flowing --LEAD_SECONDS, events under way--> down --the outage's length--> back --all seen below--> over
       '--everything settled before that: missed----------------------------------------------------------'

The reports come in this order, even if looks observe them in another: breakers open, the incident is open, the target
is back, breakers close, the incident has its resolve note, the backlog is worked off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.demo.outage_plan import LEAD_SECONDS, OutagePlan

# For the resolve note: workers check twice a second whether the outage is over, and the note goes through Kafka. A busy
# machine needs longer.
NOTE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class OutageIncident:
    """An incident about the outage. ``resolved``: it has a note that the outage is over."""

    number: str
    resolved: bool


@dataclass(frozen=True, slots=True)
class OutageLook:
    """What is observed at one time.

    ``now``: seconds since events began to flow. ``waiting``: events that are published and not settled. ``breakers``:
    worker -> whether its breaker is open, None if it did not answer. ``dead_letters``: their number since the start.
    """

    now: float
    settled: int
    waiting: int
    all_settled: bool
    breakers: Mapping[str, bool | None]
    dead_letters: int
    incidents: Sequence[OutageIncident]


@dataclass(slots=True)
class OutageStory:
    """The outage so far. Times are those of the looks. ``missed``: all events were settled before it could begin."""

    plan: OutagePlan
    pace: float  # events published a second
    began_at: float | None = None
    ended_at: float | None = None
    opened_at: float | None = None
    closed_at: float | None = None
    recovered_at: float | None = None
    resolved: bool = False
    missed: bool = False
    over: bool = False
    _open: set[str] = field(default_factory=set)
    _incident: str = ""
    _letters_before: int = 0
    _waiting_before: int = 0
    _note_told: bool = False

    def due_to_begin(self, look: OutageLook) -> bool:
        """Whether it is time to take the target down."""
        flowing = look.settled > 0 and not look.all_settled
        return self.began_at is None and not self.missed and look.now >= LEAD_SECONDS and flowing

    def due_to_end(self, look: OutageLook) -> bool:
        """Whether it is time for the target to come back."""
        return self.began_at is not None and self.ended_at is None and look.now >= self.began_at + self.plan.seconds

    def begin(self, look: OutageLook) -> str:
        """Note that the target is down from this look on; returns the report."""
        self.began_at, self._letters_before, self._waiting_before = look.now, look.dead_letters, look.waiting
        return f"Marketing Cloud goes down for {self.plan.seconds:g} s: calls and tokens get no answer"

    def end(self, look: OutageLook) -> str:
        """Note that the target answers again from this look on; returns the report."""
        self.ended_at = look.now
        return f"Marketing Cloud is back; {look.waiting:,} events wait"

    def observe(self, look: OutageLook) -> list[str]:
        """The new reports after this look."""
        if self.over:
            return []
        if self.began_at is None:
            self.missed = self.over = look.all_settled
            return ["All events were settled before the outage could begin"] if self.missed else []
        told = [*self._breakers_that_opened(look), *self._first_incident(look)]
        if self.ended_at is not None:
            told += self._breakers_that_closed(look)
            self._notice_recovery(look)
            if self.closed_at is not None:
                told += self._note(look, self.closed_at)
            told += self._end(look)
        return told

    def _breakers_that_opened(self, look: OutageLook) -> list[str]:
        if self.ended_at is not None and look.now > self.ended_at:
            return []
        found = sorted(name for name, is_open in look.breakers.items() if is_open and name not in self._open)
        self._open.update(found)
        if found and self.opened_at is None:
            self.opened_at = look.now
        waiting = f"consumption pauses; {look.waiting:,} events wait"
        return [f"{name}: circuit breaker opens, {waiting}" for name in found]

    def _first_incident(self, look: OutageLook) -> list[str]:
        if self._incident or not look.incidents:
            return []
        self._incident = look.incidents[0].number
        return [f"ServiceNow: {self._incident} is open; {self._standing(look)}"]

    def _breakers_that_closed(self, look: OutageLook) -> list[str]:
        # The breaker of a worker that has ended counts as closed.
        found = sorted(name for name in self._open if look.breakers.get(name, False) is False)
        self._open.difference_update(found)
        told = [f"{name}: its probe got an answer, circuit breaker closes" for name in found]
        if found and not self._open:
            self.closed_at = look.now
            told.append(f"Work resumes: {self._standing(look)}")
        return told

    def _standing(self, look: OutageLook) -> str:
        letters = look.dead_letters - self._letters_before
        return f"{look.waiting:,} events wait, {letters:,} dead letter{'' if letters == 1 else 's'}"

    def _notice_recovery(self, look: OutageLook) -> None:
        # The usual number of waiting events: as many as before the outage, or as are published within a second.
        usual = max(self._waiting_before, self.pace)
        if self.closed_at is not None and self.recovered_at is None and (look.all_settled or look.waiting <= usual):
            self.recovered_at = look.now

    def _note(self, look: OutageLook, closed_at: float) -> list[str]:
        if self._note_told:
            return []
        self.resolved = any(incident.resolved for incident in look.incidents)
        self._note_told = self.resolved or look.now > closed_at + NOTE_SECONDS
        if not self._note_told:
            return []
        if not self.resolved:
            return ["No incident has a resolve note"]
        return [f"ServiceNow: {self._incident} has its resolve note"]

    def _end(self, look: OutageLook) -> list[str]:
        if self.opened_at is None:
            self.over = look.all_settled
            return ["No circuit breaker opened"] if self.over else []
        if self.recovered_at is None or self.ended_at is None or not self._note_told:
            return []
        self.over = True
        return [f"The backlog is worked off, {self.recovered_at - self.ended_at:.1f} s after the return"]
