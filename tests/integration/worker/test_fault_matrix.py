"""Every fault of Marketing Cloud at every call of every operation: outcome, attempts, calls, rows, dead letter.

``expected`` computes the result of a case from what a client sees of each kind (``KINDS``) and the outcome table
(``app/profile/outcome_table.py``). The cases run side by side, each with a consumer of its own. Faults that would
affect other cases (throttling, tokens, tickets) run after them.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from app.delivery.outcome import Attempt, Failure, Outcome, Phase, Settle
from app.profile.entities import EntityType
from app.profile.outcome_table import decide, stops_attempt
from app.simulator.faults import FaultKind
from tests.support.deployment import Deployment, Published
from tests.support.profiles import (
    Event,
    contact,
    delete_entities,
    delete_profile,
    fresh_consumer,
    fresh_market,
    new,
    pet,
    update,
)
from tests.support.worker_process import WorkerProcess, wait_for

# As the shared worker is configured.
ATTEMPTS = 3
# The longest cases wait for three timeouts; the rest is what a busy machine needs.
WAVE_SECONDS = 80.0
# Late, but well within the worker's CMT_TIMEOUT_SECONDS.
SLOW_MS = 200

CONSUMER, CONTACT, PET = "CMT_Consumer", "CMT_Contact", "CMT_Pet"
ENTITIES = {CONSUMER: EntityType.CONSUMER, CONTACT: EntityType.CONTACT, PET: EntityType.PET}


# What is done


def _new(consumer: str, market: str) -> Event:
    return new(consumer, market, contact=[contact("k1")], pet=[pet("p1")])


def _update(consumer: str, market: str) -> Event:
    return update(consumer, market, contact=[contact("k1")], pet=[pet("p1")])


def _delete_entities(consumer: str, market: str) -> Event:
    return delete_entities(consumer, market, contact=[contact("k1")], pet=[pet("p1")])


EVENTS: dict[str, Callable[[str, str], Event]] = {
    "NEW": _new,
    "UPDATE": _update,
    "DELETE PROFILE": delete_profile,
    "DELETE ENTITIES": _delete_entities,
}
GETS = [
    f"Retrieve CMT_{name}" for name in ("Contact", "Child", "Pet", "DigitalAsset", "Interest", "OptIn")
]  # fmt: skip
POSTS = [f"Update {table}" for table in (CONSUMER, CONTACT, PET)]
CLEARS = [f"Delete {table}" for table in (CONTACT, PET)]
# All calls of a consumer who has a contact and a pet, in their order.
PLANS = {
    "NEW": POSTS,
    "UPDATE": [*GETS, *CLEARS, *POSTS],
    "DELETE PROFILE": [*GETS, f"Retrieve {CONSUMER}", *CLEARS, f"Delete {CONSUMER}"],
    "DELETE ENTITIES": CLEARS,
}
# Where faults strike: the first call of each phase, so that what follows it shows what the fault keeps from being done.
STRUCK = {
    "NEW": [f"Update {CONSUMER}", f"Update {CONTACT}"],
    "UPDATE": [f"Retrieve {CONTACT}", f"Delete {CONTACT}", f"Update {CONSUMER}", f"Update {CONTACT}"],
    "DELETE PROFILE": [f"Retrieve {CONTACT}", f"Delete {CONTACT}", f"Delete {CONSUMER}"],
    "DELETE ENTITIES": [f"Delete {CONTACT}"],
}


# What a client sees


@dataclass(frozen=True, slots=True)
class Seen:
    """A kind of fault: the call's status in the journal, the registry code, how often the call is repeated at once."""

    status: str
    code: str
    repeats: int = 0


KINDS = {
    FaultKind.RATE_LIMITED: Seen("fault", "CMT-RATE-LIMITED"),
    FaultKind.SERVER_FAULT: Seen("fault", "CMT-SERVER-FAULT"),
    FaultKind.MAINTENANCE: Seen("fault", "CMT-MAINTENANCE"),
    FaultKind.SECURITY_FAULT: Seen("fault", "CMT-AUTH", repeats=1),
    FaultKind.EXPIRE_TOKENS: Seen("fault", "CMT-AUTH", repeats=1),
    FaultKind.ROW_ERROR: Seen("error", "CMT-ROW-INVALID"),
    FaultKind.ROW_ERROR_TRANSIENT: Seen("error", "CMT-ROW-CONTENTION"),
    FaultKind.DEADLOCK_ROW: Seen("error", "CMT-ROW-CONTENTION"),
    FaultKind.RESET: Seen("dropped", "CMT-CONNECTION", repeats=2),
    FaultKind.TIMEOUT: Seen("dropped", "CMT-TIMEOUT"),
    FaultKind.HTTP_503: Seen("fault", "CMT-UNAVAILABLE", repeats=2),
    FaultKind.HTML_500: Seen("fault", "CMT-UNAVAILABLE", repeats=2),
    FaultKind.MALFORMED_XML: Seen("fault", "CMT-MALFORMED", repeats=2),
    FaultKind.SLOW: Seen("ok", ""),
}
ROW_KINDS = (FaultKind.ROW_ERROR, FaultKind.ROW_ERROR_TRANSIENT, FaultKind.DEADLOCK_ROW)


@dataclass(frozen=True, slots=True)
class Case:
    """A fault at one call of an operation: once or for ever, before the call takes effect or after it has."""

    operation: str
    at: str
    kind: FaultKind
    after: bool = False
    passing: bool = False

    def __str__(self) -> str:
        when, often = "after" if self.after else "before", "once" if self.passing else "for ever"
        return f"{self.operation}: {self.kind} {when} {self.at}, {often}"

    def fault(self, consumer: str) -> dict[str, Any]:
        """The rule for the simulator."""
        operation, data_extension = self.at.split()
        return {
            "kind": str(self.kind),
            "operation": operation,
            "dataExtension": data_extension,
            "consumerId": consumer,
            "after": self.after,
            **({"times": 1} if self.passing else {}),
            **({"delayMs": SLOW_MS} if self.kind is FaultKind.SLOW else {}),
        }


def _cases() -> Iterator[Case]:
    for (operation, calls), kind in itertools.product(STRUCK.items(), KINDS):
        for at, after, passing in itertools.product(calls, (False, True), (False, True)):
            # Reads have no rows that could be refused. Tokens that expire again and again expire for everybody.
            impossible = kind in ROW_KINDS and at.startswith("Retrieve")
            if not impossible and (passing or kind is not FaultKind.EXPIRE_TOKENS):
                yield Case(operation, at, kind, after, passing)


CASES = list(_cases())


# What must come of it


@dataclass(frozen=True, slots=True)
class Ending:
    """How an event ended. ``said``: its calls in short; ``rows``: where rows of the consumer are."""

    outcome: str
    reason: str | None
    attempts: int
    said: tuple[str, ...]
    rows: frozenset[str]
    dead_letters: int


class _MarketingCloud:
    """The rows of one consumer, and a fault that its calls meet, as the client experiences it."""

    def __init__(self, case: Case) -> None:
        self.rows = set() if case.operation == "NEW" else {CONSUMER, CONTACT, PET}
        self.said: list[str] = []
        self._case = case
        self._left = 1 if case.passing else ATTEMPTS * 10
        self._token_expired = False

    def call(self, call: str) -> str | None:
        """Makes a call as often as the client does; the code of its failure."""
        case, seen = self._case, KINDS[self._case.kind]
        if self._token_expired:
            self.said.append(f"{call} fault")
            self._token_expired = False
        for _ in range(seen.repeats + 1):
            if call != case.at or not self._left or case.kind is FaultKind.SLOW:
                self._note(call, self._effect(call))
                return None
            self._left -= 1
            status = self._effect(call) if case.after else "ok"
            if case.kind is FaultKind.EXPIRE_TOKENS and case.after:
                self._note(call, status)
                self._token_expired = True
                return None
            if case.kind in ROW_KINDS and status == "error":
                # That the row is gone is told first; a delete does not mind.
                self._note(call, status)
                return None
            self._note(call, seen.status)
        return seen.code

    def _effect(self, call: str) -> str:
        operation, table = call.split()
        if operation == "Delete" and table not in self.rows:
            return "error"
        if operation == "Update":
            self.rows.add(table)
        elif operation == "Delete":
            self.rows.remove(table)
        return "ok"

    def _note(self, call: str, status: str) -> None:
        self.said.append(call if status == "ok" else f"{call} {status}")


def _phase(operation: str, call: str) -> Phase:
    if operation.startswith("DELETE"):
        return Phase.DELETE
    if not call.startswith("Update"):
        return Phase.BEFORE_PARENT
    return Phase.PARENT if call.endswith(CONSUMER) else Phase.CHILD


def _attempt(case: Case, cloud: _MarketingCloud, last: bool) -> Attempt:
    failures: list[Failure] = []
    found: set[str] = set()
    for call in PLANS[case.operation]:
        verb, table = call.split()
        searched = GETS[0] in PLANS[case.operation]
        if verb == "Delete" and searched and table != CONSUMER and table not in found:
            continue
        # The parent's row stays while anything of the consumer may be left.
        if verb == "Delete" and table == CONSUMER and failures:
            continue
        code = cloud.call(call)
        if code is not None:
            failures.append(Failure(code, "", ENTITIES[table], _phase(case.operation, call)))
            if stops_attempt(failures[-1], last_attempt=last):
                break
        elif verb == "Retrieve" and table in cloud.rows:
            found.add(table)
    return Attempt(tuple(failures))


def expected(case: Case) -> Ending:
    """The expected result of a case."""
    cloud = _MarketingCloud(case)
    for number in itertools.count(1):
        last = number == ATTEMPTS
        decision = decide(_attempt(case, cloud, last), attempts_left=not last)
        if isinstance(decision, Settle):
            reason = decision.failure.code if decision.failure else None
            said, rows = tuple(cloud.said), frozenset(cloud.rows)
            return Ending(decision.outcome, reason, number, said, rows, int(decision.dead_letter))
    raise AssertionError("unreachable: the last attempt settles")


# What came of it


@dataclass(frozen=True, slots=True)
class Played:
    """A case that has ended. Calls of the consumer up to ``since`` brought the rows that it needs."""

    case: Case
    consumer: str
    event: Event
    published: Published
    since: int


class Stage:
    """Consumers, each with a case of their own, at the shared worker. ``counted``: all cases by outcome."""

    def __init__(self, shared: Deployment) -> None:
        self.shared = shared
        self.worker: WorkerProcess = shared.workers[0]
        self.counted: Counter[str] = Counter()

    def seed(self, cases: Sequence[Case]) -> dict[Case, str]:
        """A consumer for each case, with the rows that it needs."""
        consumers = {case: fresh_consumer() for case in cases}
        market = fresh_market()
        first = [_new(consumer, market) for case, consumer in consumers.items() if case.operation != "NEW"]
        if first:
            self.shared.publish(*first)
            assert self.counts(market, len(first)) == {"synced": len(first)}
        return consumers

    def renew_token(self) -> None:
        """Run an event of an unrelated consumer, so that the next event finds a valid token."""
        self.seed([plain("UPDATE")])

    def counts(self, market: str, events: int) -> dict[str, int]:
        """The events of a market by outcome, once ``events`` of them are counted."""

        def settled() -> Counter[str]:
            rows = self.worker.get(f"/api/kpi/daily?market={market}")["rows"]
            return Counter({one.value: sum(row[one.value] for row in rows) for one in Outcome})

        wait_for(lambda: settled().total() >= events, lambda: f"{events} settled: {settled()}", WAVE_SECONDS)
        return {outcome: number for outcome, number in settled().items() if number}

    @contextmanager
    def faults(self, rules: Sequence[dict[str, Any]]) -> Iterator[None]:
        """Faults for the length of a ``with`` block."""
        simulator = self.shared.simulator
        own = {simulator.add_fault(**rule) for rule in rules}
        try:
            yield
        finally:
            for fault in simulator.request("GET", "/_sim/faults")["faults"]:
                if fault["id"] in own:
                    simulator.request("DELETE", f"/_sim/faults/{fault['id']}")

    def play(self, cases: Sequence[Case], rules: Sequence[dict[str, Any]] | None = None) -> list[Played]:
        """Run cases side by side, each with its own fault, or all with the fault rules ``rules``."""
        consumers = self.seed(cases)
        since = self.shared.simulator.stats()["calls"]
        market = fresh_market()
        events = [EVENTS[case.operation](consumer, market) for case, consumer in consumers.items()]
        own = [case.fault(consumer) for case, consumer in consumers.items()]
        with self.faults(own if rules is None else rules):
            published = self.shared.publish(*events)
            self.counted.update(self.counts(market, len(events)))
        return [
            Played(case, consumer, event, one, since)
            for (case, consumer), event, one in zip(consumers.items(), events, published, strict=True)
        ]

    def endings(self, played: Sequence[Played]) -> dict[Case, Ending]:
        """How cases ended."""
        simulator = self.shared.simulator
        since = {one.consumer: one.since for one in played}
        said: dict[str, list[str]] = defaultdict(list)
        for call in simulator.calls(since=min(since.values())):
            consumer = call.consumer_id or ""
            if consumer in since and call.seq > since[consumer]:
                said[consumer].append(str(call))
        holding: dict[str, set[str]] = defaultdict(set)
        for table in ENTITIES:
            for row in simulator.request("GET", f"/_sim/rows/{table}")["rows"]:
                holding[row["ConsumerId"]].add(table)
        letters = Counter(
            (record.header("x-sync-source-partition"), record.header("x-sync-source-offset"))
            for record in self.shared.dead_letters()
        )
        endings = {}
        for one in played:
            entry = self.shared.outcome(self.worker, one.event)
            where = (str(one.published.partition).encode(), str(one.published.offset).encode())
            endings[one.case] = Ending(
                entry["outcome"],
                entry["reason"],
                entry["attempts"],
                tuple(said[one.consumer]),
                frozenset(holding[one.consumer]),
                letters[where],
            )
        return endings


@pytest.fixture(scope="module")
def stage(shared: Deployment) -> Stage:
    return Stage(shared)


@pytest.fixture(scope="module")
def endings(stage: Stage) -> dict[Case, Ending]:
    """All cases, played."""
    # Throttled answers make the worker send less at a time, for all consumers: timeouts would then queue up.
    throttled = [case for case in CASES if case.kind is FaultKind.RATE_LIMITED]
    # One after another, because the tokens of all consumers expire and a call is repeated only once for its token.
    alone = [case for case in CASES if case.kind is FaultKind.EXPIRE_TOKENS]
    together = [case for case in CASES if case not in throttled and case not in alone]
    played = stage.play(together) + stage.play(throttled)
    for case in alone:
        played += stage.play([case])
        stage.renew_token()
    endings = stage.endings(played)
    assert stage.counted == Counter(ending.outcome for ending in endings.values())
    return endings


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(endings: dict[Case, Ending], case: Case) -> None:
    assert endings[case] == expected(case)


def test_every_kind_is_played() -> None:
    apart = {FaultKind.TOKEN_500, FaultKind.TOKEN_429, FaultKind.INCIDENT_500, FaultKind.INCIDENT_429}
    # What these come to is shown where answers are read (tests/unit/cmt).
    apart |= {FaultKind.DEADLOCK_FAULT, FaultKind.DUPLICATE_KEY_FAULT, FaultKind.OK_BUT_UNKNOWN, FaultKind.ANSWER}
    assert set(KINDS) | apart == set(FaultKind)
    assert {case.kind for case in CASES} == set(KINDS)
    assert {case.operation for case in CASES} == set(EVENTS)


# What is not about calls of a consumer


def plain(operation: str) -> Case:
    """An operation without a fault of its own."""
    return Case(operation, PLANS[operation][0], FaultKind.SLOW, passing=True)


@pytest.mark.parametrize("passing", [True, False], ids=["once", "for ever"])
@pytest.mark.parametrize(
    ("kind", "reason", "attempts_when_passing"),
    [
        # Asked for again at once.
        ("token_500", "CMT-TOKEN-UNAVAILABLE", 1),
        # Asked for again when Retry-After says so.
        ("token_429", "CMT-TOKEN-THROTTLED", 2),
    ],
)
def test_tokens_that_cannot_be_had(
    stage: Stage, kind: str, reason: str, attempts_when_passing: int, passing: bool
) -> None:
    rule = {"kind": kind, **({"times": 1} if passing else {})}
    played = stage.play([plain(operation) for operation in EVENTS], [rule, {"kind": "expire_tokens"}])
    endings = stage.endings(played)
    stage.renew_token()
    for case, ending in endings.items():
        # It is random which calls were refused for the old token; they took no effect.
        done = tuple(call for call in ending.said if not call.endswith(" fault"))
        if passing:
            wanted = expected(case)
            assert (ending.outcome, ending.attempts, ending.dead_letters) == ("synced", attempts_when_passing, 0)
            assert (done, ending.rows) == (wanted.said, wanted.rows)
        else:
            assert (ending.outcome, ending.reason, ending.attempts) == ("failed", reason, ATTEMPTS)
            assert (done, ending.rows, ending.dead_letters) == ((), _MarketingCloud(case).rows, 1)


@pytest.mark.parametrize("kind", ["incident_500", "incident_429"])
def test_tickets_that_cannot_be_written_change_no_outcome_and_come_later(stage: Stage, kind: str) -> None:
    cases = [Case(operation, calls[0], FaultKind.SERVER_FAULT) for operation, calls in STRUCK.items()]
    simulator = stage.shared.simulator
    with stage.faults([{"kind": kind}]):
        played = stage.play(cases)
        endings = stage.endings(played)
        wait_for(lambda: simulator.faults_fired()[kind], lambda: f"{simulator.faults_fired()}", WAVE_SECONDS)
    for case, ending in endings.items():
        assert ending == expected(case)

    def told(one: Published) -> bool:
        incidents = simulator.incidents()
        return any(one.id in text for said in incidents for text in (said["description"], *said["work_notes"]))

    def wait_until_told(one: Published) -> None:
        wait_for(lambda: told(one), lambda: f"an incident naming {one.id}", WAVE_SECONDS)

    for one in played:
        wait_until_told(one.published)
