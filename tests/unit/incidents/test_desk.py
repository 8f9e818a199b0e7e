"""One open incident for each fingerprint, one note every so often, and no alert is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from app.delivery.alert import Alert, AlertKind, Severity
from app.delivery.errors import SYNC_CUT_OFF
from app.incidents.desk import CHECK_SECONDS, IncidentDesk
from app.incidents.ending import UNREADABLE_MS
from app.incidents.log_only import LogOnly
from app.incidents.memory import ProcessMemory
from app.incidents.open_letters import INDEX_LAG_MS, OpenCount
from app.incidents.pacing import AlertAction, HeldAlerts, decide
from app.incidents.rest import BACKOFF_MOST
from app.incidents.ticket_text import TicketOrigin
from app.incidents.tickets import Incident, TicketError

EVERY = 300.0
GROUP = "profile-sync"
ALERT = Alert("CMT-TIMEOUT", "consumer", "UPDATE", "DE", "3-17", "1f0a2b", "no answer for '***'", 1_763_000_000_000)
NOW = ALERT.at_ms / 1000
RESOLVE = replace(ALERT, kind=AlertKind.RESOLVE, event_id="", message="answers again")


@dataclass
class Tickets:
    """A ticket system in memory that can be in trouble. ``readable``: whether we have the role to see incidents."""

    open: dict[str, Incident] = field(default_factory=dict)
    created: list[Mapping[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    troubles: list[TicketError] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    readable: bool = True
    refusing_notes: bool = False
    requests: int = 0

    async def find_open(self, correlation_id: str) -> Incident | None:
        self._stumble()
        return self.open.get(correlation_id) if self.readable else None

    async def is_open(self, incident: Incident) -> bool | None:
        self._stumble()
        return incident in self.open.values() if self.readable else None

    async def create(self, fields: Mapping[str, str]) -> Incident:
        self._stumble()
        self.created.append(fields)
        incident = Incident(f"id{len(self.created)}", f"INC{len(self.created)}")
        self.open[fields["correlation_id"]] = incident
        return incident

    async def add_work_note(self, incident: Incident, text: str) -> None:
        self._stumble()
        if self.refusing_notes:
            raise TicketError("HTTP 403", refused=True)
        self.notes.append(text)

    async def resolve(self, incident: Incident, text: str) -> bool:
        await self.add_work_note(incident, text)
        self.resolved.append(incident.number)
        self.open = {key: one for key, one in self.open.items() if one != incident}
        return True

    def _stumble(self) -> None:
        self.requests += 1
        if self.troubles:
            raise self.troubles.pop(0)


@dataclass
class Index:
    """The index of dead letters: what it knows of each fingerprint; ``otherwise``: of all others."""

    counts: dict[str, OpenCount | None] = field(default_factory=dict)
    otherwise: OpenCount | None = None

    async def of(self, fingerprint: str) -> OpenCount | None:
        return self.counts.get(fingerprint, self.otherwise)


class Desk(IncidentDesk):
    """A desk whose clock the test moves and that does not really sleep."""

    def __init__(
        self,
        tickets: Tickets,
        note_every: float = EVERY,
        memory: ProcessMemory | None = None,
        now: float = NOW,
        index: Index | None = None,
    ) -> None:
        self.now = now
        self.index = index or Index()
        self.on: bool | None = None
        self.slept: list[float] = []
        self.results: list[str] = []
        super().__init__(
            tickets,
            GROUP,
            note_every_seconds=note_every,
            origin=TicketOrigin("Campaign Support", "here", "https://sync.example.com", 30),
            letters=self.index,
            memory=memory,
            still_on=lambda fingerprint: self.on,
            now_ms=lambda: int(self.now * 1000),
            on_result=self.results.append,
            clock=lambda: self.now,
            sleep=self._pass_time,
        )

    async def _pass_time(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def tickets() -> Tickets:
    return Tickets()


@pytest.fixture
def desk(tickets: Tickets) -> Desk:
    return Desk(tickets)


@pytest.mark.parametrize(
    ("known", "alert", "step"),
    [
        (None, ALERT, AlertAction.REPORT),
        (HeldAlerts(1000.0), ALERT, AlertAction.HOLD),
        (HeldAlerts(1000.0 - EVERY + 0.001, held=9), ALERT, AlertAction.HOLD),
        (HeldAlerts(1000.0 - EVERY), ALERT, AlertAction.REPORT),
        (None, RESOLVE, AlertAction.REPORT),
        (HeldAlerts(1000.0), RESOLVE, AlertAction.REPORT),
    ],
)
def test_what_an_alert_leads_to(known: HeldAlerts | None, alert: Alert, step: AlertAction) -> None:
    assert decide(known, alert, 1000.0, EVERY) is step


async def test_the_first_alert_opens_an_incident_that_says_what_to_do(desk: Desk, tickets: Tickets) -> None:
    await desk.handle(ALERT)
    (fields,) = tickets.created
    assert fields["correlation_id"] == f"{GROUP}:{ALERT.fingerprint}"
    assert fields["assignment_group"] == "Campaign Support"
    assert "CMT-TIMEOUT" in fields["short_description"]
    for part in ("No answer in time", "the call is repeated", "3-17", "profile-sync errors CMT-TIMEOUT", "2025-11-13"):
        assert part in fields["description"]


async def test_impact_and_urgency_come_from_the_severity(desk: Desk, tickets: Tickets) -> None:
    for number, severity in enumerate(Severity):
        await desk.handle(replace(ALERT, entity=f"e{number}", severity=severity))
    priorities = [(fields["impact"], fields["urgency"]) for fields in tickets.created]
    assert priorities == [("1", "1"), ("2", "1"), ("2", "2"), ("3", "2")]


async def test_a_thousand_alerts_make_one_incident_and_one_note_per_interval(desk: Desk, tickets: Tickets) -> None:
    for number in range(1000):
        await desk.handle(replace(ALERT, event_id=f"0-{number}"))
        desk.now += 1
    assert len(tickets.created) == 1
    assert [note.split(" ", 1)[0] for note in tickets.notes] == ["300", "300", "300"]
    assert desk.results.count("held") == 1000 - 1 - 3
    assert "0-1," in tickets.notes[0]
    assert "0-50" not in tickets.notes[0]


async def test_counted_alerts_are_reported_when_their_time_has_come(desk: Desk, tickets: Tickets) -> None:
    await desk.handle(ALERT)
    await desk.handle(ALERT)
    await desk.flush_due()
    assert tickets.notes == []
    desk.now += EVERY
    await desk.flush_due()
    await desk.flush_due()
    assert [note.splitlines()[0] for note in tickets.notes] == ["1 more alert of CMT-TIMEOUT since the last note."]


async def test_what_is_counted_is_reported_when_the_desk_closes(desk: Desk, tickets: Tickets) -> None:
    async with desk:
        await desk.handle(ALERT)
        await desk.handle(ALERT)
    assert len(tickets.notes) == 1


async def test_the_desk_reports_by_itself(tickets: Tickets) -> None:
    async with asyncio.timeout(10):
        async with IncidentDesk(tickets, GROUP, note_every_seconds=0.1) as desk:
            await desk.handle(ALERT)
            await desk.handle(ALERT)
            while not tickets.notes:
                await asyncio.sleep(0.01)


async def test_a_restarted_desk_finds_the_open_incident(tickets: Tickets) -> None:
    await Desk(tickets).handle(ALERT)
    await Desk(tickets).handle(ALERT)
    assert len(tickets.created) == 1
    assert len(tickets.notes) == 1


async def test_an_incident_that_was_closed_is_followed_by_a_new_one(desk: Desk, tickets: Tickets) -> None:
    await desk.handle(ALERT)
    tickets.open.clear()
    await desk.handle(ALERT)
    assert len(tickets.created) == 1
    desk.now += EVERY
    await desk.handle(ALERT)
    assert len(tickets.created) == 2
    assert "; 2 alerts so far" in tickets.created[1]["description"]


async def test_each_fingerprint_has_its_own_incident(desk: Desk, tickets: Tickets) -> None:
    for entity in ("consumer", "pet"):
        await desk.handle(replace(ALERT, entity=entity))
    assert len(tickets.created) == 2


async def test_alerts_that_come_together_open_one_incident(desk: Desk, tickets: Tickets) -> None:
    await asyncio.gather(*(desk.handle(ALERT) for _ in range(20)))
    assert len(tickets.created) == 1


async def test_good_news_resolves_at_once_and_what_follows_is_news_again(desk: Desk, tickets: Tickets) -> None:
    await desk.handle(replace(ALERT, since_ms=ALERT.at_ms - 3_600_000))
    await desk.handle(ALERT)
    await desk.handle(RESOLVE)
    await desk.handle(ALERT)
    assert [fields["correlation_id"] for fields in tickets.created] == [f"{GROUP}:{ALERT.fingerprint}"] * 2
    (note,) = tickets.notes
    assert note.startswith("Over since 2025-11-13T02:13:20")
    assert "It began 2025-11-13T01:13:20" in note
    assert "Alerts since the last note: 1." in note
    assert tickets.resolved == ["INC1"]
    assert desk.results == ["created", "held", "resolved", "created"]


async def test_good_news_without_an_incident_opens_none(desk: Desk, tickets: Tickets) -> None:
    await desk.handle(RESOLVE)
    assert (tickets.created, tickets.notes, desk.results) == ([], [], ["nothing-open"])


async def test_trouble_is_waited_out_with_growing_pauses(desk: Desk, tickets: Tickets) -> None:
    tickets.troubles = [TicketError("down") for _ in range(12)]
    await desk.handle(ALERT)
    assert len(tickets.created) == 1
    assert desk.results == ["failed"] * 12 + ["created"]
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(desk.slept[:6]))
    assert max(desk.slept) <= BACKOFF_MOST


async def test_a_ticket_system_that_asks_for_a_pause_gets_it(desk: Desk, tickets: Tickets) -> None:
    tickets.troubles = [TicketError("slow down", retry_after=120.0)]
    await desk.handle(ALERT)
    assert desk.slept == [120.0]


async def test_a_creation_whose_answer_was_lost_is_not_repeated(desk: Desk, tickets: Tickets) -> None:
    create = tickets.create

    async def lost(fields: Mapping[str, str]) -> Incident:
        await create(fields)
        raise TicketError("no answer")

    tickets.create = lost  # type: ignore[method-assign]
    await desk.handle(ALERT)
    assert len(tickets.created) == 1


async def test_only_cancelling_ends_an_alert_that_cannot_be_reported(tickets: Tickets) -> None:
    tickets.troubles = [TicketError("down") for _ in range(10_000)]
    handling = asyncio.create_task(Desk(tickets).handle(ALERT))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not handling.done()
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling


async def test_a_note_that_cannot_be_written_stays_counted(desk: Desk, tickets: Tickets) -> None:
    await desk.handle(ALERT)
    await desk.handle(ALERT)
    desk.now += EVERY
    tickets.troubles = [TicketError("down")]
    await desk.flush_due()
    desk.now += BACKOFF_MOST
    await desk.flush_due()
    assert len(tickets.notes) == 1
    assert desk.results == ["created", "held", "failed", "noted"]


async def test_a_record_that_is_no_alert_stops_nothing(desk: Desk, tickets: Tickets) -> None:
    await desk.handle_record(b"key", b"not an alert")
    await desk.handle_record(None, None)
    await desk.handle_record(ALERT.fingerprint.encode(), ALERT.to_bytes())
    assert desk.results == ["unreadable", "unreadable", "created"]


async def test_tickets_hold_no_personal_data(desk: Desk, tickets: Tickets) -> None:
    alert = replace(ALERT, message="value 'Ann' of ann.lee@example.com, +49 151 2345678, born 1990-12-31")
    await desk.handle(alert)
    desk.now += EVERY
    await desk.handle(alert)
    await desk.handle(replace(alert, kind=AlertKind.RESOLVE))
    assert len(tickets.notes) == 2
    for text in (*tickets.notes, *tickets.created[0].values()):
        for value in ("Ann", "ann.lee", "2345678", "1990"):
            assert value not in text


async def test_without_a_ticket_system_the_log_is_told_as_rarely(capsys: pytest.CaptureFixture[str]) -> None:
    results: list[str] = []
    desk = IncidentDesk(LogOnly(), GROUP, note_every_seconds=EVERY, on_result=results.append)
    for _ in range(50):
        await desk.handle(ALERT)
    await desk.handle(RESOLVE)
    assert results == ["created", *["held"] * 49, "resolved"]


async def test_it_says_since_when_and_how_many_events_wait(desk: Desk, tickets: Tickets) -> None:
    outage = replace(ALERT, severity=Severity.OUTAGE, since_ms=ALERT.at_ms - 90_000, waiting=41)
    await desk.handle(outage)
    first = tickets.created[0]["description"].splitlines()[0]
    assert first == "CMT-TIMEOUT, since 2025-11-13T02:11:50Z; 41 events waiting."
    desk.now += EVERY
    await desk.handle(replace(outage, since_ms=ALERT.at_ms, waiting=1234))
    assert "Since: 2025-11-13T02:11:50" in tickets.notes[0], "the first failure, not the latest flicker"
    assert "Waiting events: 1,234" in tickets.notes[0]


async def test_searches_that_come_back_empty_open_no_second_incident(tickets: Tickets) -> None:
    tickets.readable = False
    memory = ProcessMemory()
    desk = Desk(tickets, memory=memory)
    for _ in range(5):
        await desk.handle(ALERT)
        desk.now += EVERY
    restarted = Desk(tickets, memory=memory, now=desk.now)
    await restarted.handle(ALERT)
    assert len(tickets.created) == 1
    assert len(tickets.notes) == 5
    await restarted.handle(RESOLVE)
    assert tickets.resolved == ["INC1"]
    await restarted.handle(ALERT)
    assert len(tickets.created) == 2


async def test_an_incident_that_may_not_be_read_counts_as_open_for_a_day_at_most(tickets: Tickets) -> None:
    tickets.readable = False
    desk = Desk(tickets)
    await desk.handle(ALERT)
    desk.now += UNREADABLE_MS / 1000
    await desk.handle(ALERT)
    assert len(tickets.created) == 2


async def test_a_remembered_incident_that_a_person_closed_is_followed_by_a_new_one(tickets: Tickets) -> None:
    memory = ProcessMemory()
    await Desk(tickets, memory=memory).handle(ALERT)
    tickets.open.clear()
    await Desk(tickets, memory=memory).handle(ALERT)
    assert len(tickets.created) == 2


async def test_a_refused_note_is_not_repeated_for_ever(desk: Desk, tickets: Tickets) -> None:
    await desk.handle(ALERT)
    tickets.refusing_notes = True
    desk.now += EVERY
    await desk.handle(ALERT)
    await desk.handle(RESOLVE)
    assert desk.slept == []
    assert desk.results == ["created", "refused", "refused"]


async def test_a_bug_on_the_way_to_a_ticket_ends_neither_the_desk_nor_the_sync(desk: Desk, tickets: Tickets) -> None:
    find_open = tickets.find_open

    async def bug(correlation_id: str) -> Incident | None:
        if ":pet:" in correlation_id:
            raise OverflowError("a date of the year 99999999999")
        return await find_open(correlation_id)

    tickets.find_open = bug  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        await desk.handle(replace(ALERT, entity="pet"))
        await desk.handle(ALERT)
    assert desk.results[-2:] == ["dropped", "created"]


async def test_an_outage_that_is_over_for_one_worker_only_is_not_over(desk: Desk, tickets: Tickets) -> None:
    outage = replace(ALERT, severity=Severity.OUTAGE)
    await desk.handle(outage)
    desk.on = True
    await desk.handle(replace(outage, kind=AlertKind.RESOLVE))
    await desk.look_after()
    assert tickets.resolved == []
    desk.on = False
    await desk.look_after()
    assert tickets.resolved == ["INC1"]
    assert tickets.notes[0].startswith("Over since ")


NONE = OpenCount(0, 0)


@pytest.mark.parametrize(
    ("severity", "on", "letters", "resolved"),
    [
        (Severity.OUTAGE, False, None, True),  # the worker that could have said so was killed
        (Severity.OUTAGE, True, None, False),
        (Severity.OUTAGE, None, None, False),
        (Severity.OUTAGE, False, OpenCount(5, 5, 1, 2), True),  # an outage has no dead letters
        (Severity.THROTTLING, False, None, True),
        (Severity.INVALID, None, NONE, True),
        (Severity.INVALID, None, OpenCount(1, 1, 1, 2), False),
        (Severity.FAILED, None, NONE, True),
        (Severity.FAILED, None, OpenCount(1, 1, 1, 2), False),  # its dead letters need a person
        (Severity.FAILED, None, None, False),  # not known
        (Severity.FAILED, True, NONE, False),  # a right is still missing
    ],
)
async def test_what_half_an_hour_without_a_sign_of_the_cause_ends(
    desk: Desk, tickets: Tickets, severity: Severity, on: bool | None, letters: OpenCount | None, resolved: bool
) -> None:
    desk.index.otherwise = letters
    await desk.handle(replace(ALERT, severity=severity))
    desk.on = on
    desk.now += 29 * 60
    await desk.look_after()
    assert tickets.resolved == []
    await desk.handle(replace(ALERT, severity=severity))
    desk.now += 29 * 60
    await desk.look_after()
    assert tickets.resolved == []
    desk.now += 60
    await desk.look_after()
    assert bool(tickets.resolved) is resolved


async def test_an_incident_about_failed_events_ends_when_the_last_dead_letter_is_closed(
    desk: Desk, tickets: Tickets
) -> None:
    desk.index.otherwise = OpenCount(2, 1, ALERT.at_ms, ALERT.at_ms)
    await desk.handle(ALERT)
    desk.now += 3 * 3600
    await desk.look_after()
    assert tickets.resolved == []
    desk.index.otherwise = NONE
    await desk.look_after()
    assert tickets.resolved == ["INC1"]
    assert tickets.notes[-1] == (
        "Over: the last alert came at 2025-11-13T02:13:20Z, and no dead letter of this kind is open. "
        "It began 2025-11-13T02:13:20Z."
    )
    await desk.handle(ALERT)
    assert len(tickets.created) == 2, "what fails later is a new incident"


async def test_events_that_retention_deleted_have_no_dead_letters_and_need_a_person(
    desk: Desk, tickets: Tickets
) -> None:
    desk.index.otherwise = NONE
    await desk.handle(replace(ALERT, reason=SYNC_CUT_OFF.code, entity="event", operation="-"))
    desk.now += 24 * 3600
    await desk.look_after()
    assert tickets.resolved == []
    text = tickets.created[0]["description"]
    assert "The program does not resolve this incident" in text
    assert "profile-sync dlq" not in text


async def test_a_cause_that_is_over_while_its_dead_letters_are_open_is_noted_and_resolved_with_the_last_of_them(
    desk: Desk, tickets: Tickets
) -> None:
    right = replace(ALERT, reason="CMT-PERMISSION", entity="pet", operation="-")
    desk.index.otherwise = OpenCount(3, 2, ALERT.at_ms, ALERT.at_ms)
    await desk.handle(right)
    desk.on = False
    for _ in range(2):  # each worker says so
        await desk.handle(replace(right, kind=AlertKind.RESOLVE, message="the right is there again"))
    (note,) = tickets.notes
    assert "the right is there again" in note
    assert "Now: 3 dead letters of this kind are open, on 2 consumers" in note
    assert "profile-sync dlq list --reason CMT-PERMISSION --entity pet" in note.splitlines()
    await desk.look_after()
    assert tickets.resolved == []
    desk.index.otherwise = NONE
    await desk.look_after()
    assert tickets.resolved == ["INC1"]


async def test_tickets_give_the_numbers_of_the_index(desk: Desk, tickets: Tickets) -> None:
    began = ALERT.at_ms
    desk.index.otherwise = OpenCount(1, 1, began, began)
    await desk.handle(ALERT)
    assert tickets.created[0]["description"].splitlines()[0] == (
        "UPDATE failed at entity consumer: 1 dead letter is open, on 1 consumer, "
        "from 2025-11-13T02:13:20Z to 2025-11-13T02:13:20Z."
    )
    await desk.handle(ALERT)
    desk.index.otherwise = OpenCount(10_000, 9_812, began, began + 60_000)
    desk.now += EVERY
    await desk.flush_due()
    assert tickets.notes[0].splitlines()[:2] == [
        "Now: 10,000 dead letters of this kind are open, on 9,812 consumers, "
        "from 2025-11-13T02:13:20Z to 2025-11-13T02:14:20Z.",
        "1 more alert of CMT-TIMEOUT since the last note.",
    ]


async def test_a_crash_loses_no_count_for_good(tickets: Tickets) -> None:
    memory, began = ProcessMemory(), ALERT.at_ms
    index = Index(otherwise=OpenCount(1, 1, began, began))
    crashed = Desk(tickets, memory=memory, index=index)
    for _ in range(10_000):
        await crashed.handle(ALERT)
    index.otherwise = OpenCount(10_000, 10_000, began, began)
    restarted = Desk(tickets, memory=memory, index=index, now=crashed.now + EVERY - 1)
    await restarted.look_after()
    assert tickets.notes == [], "notes are paced over a restart"
    restarted.now += 1
    for _ in range(5):
        await restarted.look_after()
    (note,) = tickets.notes
    assert note.startswith("Now: 10,000 dead letters of this kind are open, on 10,000 consumers")
    restarted.now += EVERY
    index.otherwise = OpenCount(9_000, 9_000, began, began)
    await restarted.look_after()
    assert len(tickets.notes) == 1, "fewer are no news"
    index.otherwise = OpenCount(9_000, 9_000, began, began + 1)
    await restarted.look_after()
    assert len(tickets.notes) == 2, "some were closed, others failed"


async def test_an_index_that_is_behind_the_alerts_is_not_quoted(desk: Desk, tickets: Tickets) -> None:
    desk.index.otherwise = NONE
    await desk.handle(ALERT)
    assert tickets.created[0]["description"].startswith("UPDATE failed at entity consumer, since 2025-11-13T02:13:20Z.")
    desk.now += EVERY
    desk.index.otherwise = None
    await desk.handle(ALERT)
    assert tickets.notes[0].startswith("1 more alert of CMT-TIMEOUT")
    desk.now += EVERY
    desk.index.otherwise = OpenCount(2, 1, ALERT.at_ms, ALERT.at_ms)
    await desk.look_after()
    assert len(tickets.notes) == 1, "the ticket knows both"
    desk.index.otherwise = NONE
    desk.now += INDEX_LAG_MS
    await desk.handle(ALERT)
    assert tickets.notes[1].splitlines()[0] == "Now: no dead letter of this kind is open."


async def test_what_was_not_told_because_the_index_was_not_known_is_told_later(desk: Desk, tickets: Tickets) -> None:
    await desk.handle(ALERT)
    desk.now += EVERY
    await desk.look_after()
    assert tickets.notes == []
    desk.index.otherwise = OpenCount(7, 6, ALERT.at_ms, ALERT.at_ms)
    await desk.look_after()
    await desk.look_after()
    (note,) = tickets.notes
    assert note.startswith("Now: 7 dead letters of this kind are open, on 6 consumers")


async def test_dead_letters_of_a_ticket_that_a_person_closed_open_no_other_one(tickets: Tickets) -> None:
    memory, index = ProcessMemory(), Index(otherwise=OpenCount(7, 6, 1, 2))
    await Desk(tickets, memory=memory).handle(ALERT)
    tickets.open.clear()
    desk = Desk(tickets, memory=memory, index=index, now=NOW + EVERY)
    await desk.look_after()
    assert (len(tickets.created), tickets.notes, dict(memory.all())) == (1, [], {})


async def test_while_the_ticket_system_is_down_it_is_asked_ever_more_rarely(desk: Desk, tickets: Tickets) -> None:
    for entity in ("consumer", "pet", "child"):
        for _ in range(2):
            await desk.handle(replace(ALERT, entity=entity))
    desk.now += EVERY
    before, end = tickets.requests, desk.now + 3600
    tickets.troubles = [TicketError("down") for _ in range(10_000)]
    while desk.now < end:
        await desk.flush_due()
        await desk.look_after()
        desk.now += 10
    assert tickets.requests - before <= 3600 / (BACKOFF_MOST / 2) + 10
    tickets.troubles.clear()
    desk.now += BACKOFF_MOST
    before = tickets.requests
    await desk.flush_due()
    await desk.look_after()
    assert len(tickets.notes) == 3
    assert tickets.requests - before == 2 * 3, "a search and a note for each"


async def test_a_new_owner_of_many_incidents_asks_once_while_the_ticket_system_is_down(tickets: Tickets) -> None:
    memory = ProcessMemory()
    before = Desk(tickets, memory=memory)
    for number in range(20):
        await before.handle(replace(ALERT, entity=f"e{number}"))
    tickets.troubles = [TicketError("down") for _ in range(100)]
    asked = tickets.requests
    await Desk(tickets, memory=memory).look_after()
    assert tickets.requests - asked == 1


async def test_an_hour_without_the_ticket_system_is_no_storm_afterwards(desk: Desk, tickets: Tickets) -> None:
    tickets.troubles = [TicketError("down") for _ in range(80)]
    kinds = [replace(ALERT, entity=entity) for entity in ("consumer", "pet")]
    for alert in kinds * 5_000:
        await desk.handle(alert)
    assert desk.now - NOW >= 3600 / 2
    assert len(tickets.created) == 2
    assert tickets.requests == 80 + 2 * 2, "a search and a creation for each"
    desk.now += EVERY
    await desk.flush_due()
    assert [note.split()[0] for note in tickets.notes] == ["4,999", "4,999"]
    assert tickets.requests == 80 + 4 * 2


async def test_what_a_person_closed_is_forgotten(tickets: Tickets) -> None:
    memory = ProcessMemory()
    desk = Desk(tickets, memory=memory)
    await desk.handle(ALERT)
    tickets.open.clear()
    await desk.look_after()
    assert memory.all()
    desk.now += CHECK_SECONDS
    await desk.look_after()
    assert not memory.all()
