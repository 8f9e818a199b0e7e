"""The schedule of the blows. Pure: the same seed gives the same schedule, so that a run can be repeated.

A blow consists of one or more timed acts, such as SIGSTOP and, after more than the session timeout, SIGCONT. A worker
that is away (killed, frozen, stopping) is left alone until it is back. All blows are undone before the schedule ends.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

SLOTS = 3
SESSION_SECONDS = 6.0
# Longer than the session and what the broker takes to notice: the frozen worker's partitions have moved by then.
STOP_SECONDS = (8.5, 13.0)
PAUSE_SECONDS = (1.0, 4.0)
BROKER_FREEZE_SECONDS = (2.0, 9.0)
# One of three brokers hangs for longer than the session, and than the controller's 9 s until others lead.
HANG_SECONDS = (10.0, 20.0)
# Between two blows: long enough for work to flow again, short enough for some to hit the recovery of the one before.
GAP_SECONDS = (6.0, 16.0)
# How long a fault rule is in force.
FAULT_SECONDS = (4.0, 12.0)


class Blow(StrEnum):
    """What happens to a process. ``STOP`` outlasts the session timeout, ``PAUSE`` does not."""

    KILL = "kill -9"
    TERM = "term"
    STOP = "stop"
    PAUSE = "pause"
    JOIN = "join"
    LEAVE = "leave"
    BROKER_KILL = "broker kill"
    BROKER_RESTART = "broker restart"
    BROKER_FREEZE = "broker freeze"
    # In a cluster of three.
    ONE_HANGS = "one of three brokers hangs"
    # What happens around the processes: see ``surroundings``.
    NO_READ = "no right to read"
    NO_LETTERS = "no right to write dead letters"
    NO_OFFSETS = "offsets deleted"
    DISK_FULL = "disk full"
    CMT_DROPPED = "packets to the CMT dropped"
    KAFKA_DROPPED = "packets to Kafka dropped"


class Deed(StrEnum):
    """One act on a process or on the simulator."""

    KILL = "kill"
    TERM = "term"
    START = "start"
    FREEZE = "freeze"
    THAW = "thaw"
    BROKER_KILL = "broker kill"
    BROKER_STOP = "broker stop"
    BROKER_START = "broker start"
    BROKER_FREEZE = "broker freeze"
    BROKER_THAW = "broker thaw"
    FAULT = "fault"
    END_FAULT = "end of fault"
    TAKE = "take"
    GIVE = "give"


Rule = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Act:
    """``at``: seconds since the first event. ``opens``: the blow that begins with it. ``fault``: number of its rule.
    ``what``: of the surroundings, taken or given back. ``broker``: ID of the one of three that is hit; None: all.
    """

    at: float
    deed: Deed
    worker: int | None = None
    opens: str | None = None
    fault: int | None = None
    down: bool = False
    what: Blow | None = None
    broker: int | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """``workers``: slots that run from the start. ``lasting``: rules in force from beginning to end."""

    seed: int
    seconds: float
    workers: tuple[int, ...]
    acts: tuple[Act, ...]
    rules: tuple[Rule, ...] = ()
    lasting: tuple[Rule, ...] = ()
    brokers: int = 1

    @property
    def with_faults(self) -> bool:
        return bool(self.rules)

    def blows(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(act.opens for act in self.acts if act.opens)


# How long something of the surroundings is away. Packets: longer than CMT_TIMEOUT_SECONDS, so that calls are given up.
AROUND: Mapping[Blow, tuple[float, float]] = {
    Blow.NO_READ: (4.0, 15.0),
    Blow.NO_LETTERS: (4.0, 12.0),
    Blow.NO_OFFSETS: (1.0, 4.0),
    Blow.DISK_FULL: (4.0, 12.0),
    Blow.CMT_DROPPED: (4.0, 9.0),
    Blow.KAFKA_DROPPED: (4.0, 12.0),
}
# Every blow at a process at least once, the ones that promises are about more often.
DECK: tuple[Blow, ...] = (
    *(blow for blow in Blow if blow not in AROUND and blow is not Blow.ONE_HANGS),
    Blow.KILL,
    Blow.KILL,
    Blow.STOP,
    Blow.BROKER_KILL,
)
# Blows at the surroundings of the processes, and a few crashes.
SURROUNDINGS: tuple[Blow, ...] = (*AROUND, Blow.CMT_DROPPED, Blow.KILL)
# The same with three brokers.
SURROUNDINGS_OF_THREE: tuple[Blow, ...] = (*SURROUNDINGS, Blow.ONE_HANGS, Blow.ONE_HANGS)

# Kinds of fault that pass, with how likely one call meets them. Those that every call meets alike trip the breaker.
PASSING: tuple[Rule, ...] = (
    *(
        {"kind": kind, "after": after, "probability": 0.06}
        for kind in ("server_fault", "reset", "http_503", "row_error_transient", "deadlock_row")
        for after in (False, True)
    ),
    {"kind": "rate_limited", "probability": 0.06},
    {"kind": "deadlock_fault", "probability": 0.06},
    {"kind": "html_500", "after": True, "probability": 0.05},
    {"kind": "malformed_xml", "after": True, "probability": 0.05},
    {"kind": "security_fault", "probability": 0.03},
    {"kind": "maintenance", "probability": 0.02, "times": 4},
    {"kind": "timeout", "probability": 0.01, "times": 10},
    {"kind": "timeout", "after": True, "operation": "Update", "probability": 0.01, "times": 10},
    {"kind": "slow", "delayMs": 300, "probability": 0.2},
    {"kind": "slow", "delayMs": 40},
    {"kind": "slow", "after": True, "delayMs": 60},
    {"kind": "expire_tokens", "times": 1},
    {"kind": "token_500", "times": 3},
    {"kind": "token_429", "times": 3},
    {"kind": "incident_500", "times": 3},
    {"kind": "incident_429", "times": 3},
)
# What is reported from live tenants, and what no tenant should say.
ODD: tuple[Rule, ...] = (
    {"kind": "answer", "operation": "Retrieve", "overallStatus": "Error: Timeout expired.", "probability": 0.1},
    {"kind": "answer", "rowCode": 71006, "rowMessage": "Aborted before starting.", "probability": 0.05},
    {"kind": "answer", "rowCode": 71001, "rowMessage": "Aborted.", "after": True, "probability": 0.05},
    {"kind": "answer", "faultCode": 13, "faultMessage": "Database problems.", "probability": 0.05},
    {"kind": "answer", "faultCode": "Security", "faultMessage": "Token Expired", "probability": 0.03},
    {"kind": "answer", "status": 502, "body": "<html>Bad Gateway</html>", "after": True, "probability": 0.05},
    {"kind": "answer", "body": "", "probability": 0.05},
    {"kind": "answer", "body": "[" * 100_000, "after": True, "probability": 0.03},
    {"kind": "answer", "operation": "Token", "body": "[" * 200_000, "times": 3},
    {"kind": "answer", "operation": "Token", "body": '{"access_token":"x","expires_in":' + "9" * 400 + "}", "times": 2},
    {"kind": "answer", "operation": "Incident", "status": 503, "times": 3}
    | {"headers": {"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}},
    {"kind": "answer", "operation": "Incident", "status": 200, "body": "[" * 100_000, "times": 3},
    {"kind": "ok_but_unknown", "probability": 0.05},
    {"kind": "ok_but_unknown", "after": True, "probability": 0.05},
    {"kind": "duplicate_key_fault", "probability": 0.05},
    {"kind": "deadlock_row", "probability": 0.1},
    {"kind": "deadlock_fault", "after": True, "probability": 0.1},
    {"kind": "rate_limited", "probability": 0.5},
)
# Down: nothing gets through. Without a token there is no call at all, so the tokens in use must go first.
DOWN: tuple[Rule, ...] = ({"kind": "http_503"}, {"kind": "reset"}, {"kind": "token_500"})


def make_schedule(
    seed: int,
    seconds: float,
    *,
    faulty_consumers: Sequence[str] = (),
    lasting: Sequence[Rule] = (),
    down_seconds: float = 0.0,
    deck: Sequence[Blow] = DECK,
    gap: tuple[float, float] = GAP_SECONDS,
    workers_at_first: int | None = None,
    passing: Sequence[Rule] = PASSING,
    brokers: int = 1,
) -> Schedule:
    """Blows for ``seconds``; with ``down_seconds`` also faults of every kind, and the CMT down for so long.

    ``faulty_consumers``: some rules concern only these. ``workers_at_first``: else 1 to 3. ``passing``: the faults.
    ``brokers``: how many there are.
    """
    rng = random.Random(seed)
    drawn = rng.randint(1, SLOTS)
    workers = tuple(range(workers_at_first or drawn))
    acts = _process_acts(rng, seconds, set(workers), deck, gap, brokers)
    rules: list[Rule] = []
    if down_seconds:
        acts += _fault_acts(rng, seconds, down_seconds, faulty_consumers, rules, passing)
    in_turn = tuple(sorted(acts, key=lambda a: a.at))
    return Schedule(seed, seconds, workers, in_turn, tuple(rules), tuple(lasting), brokers)


def _process_acts(
    rng: random.Random,
    seconds: float,
    running: set[int],
    deck: Sequence[Blow],
    gap: tuple[float, float],
    brokers: int,
) -> list[Act]:
    acts: list[Act] = []
    back_at = dict.fromkeys(range(SLOTS), 0.0)
    broker_back = 0.0
    cards: list[Blow] = []
    now = rng.uniform(2.0, 5.0)
    while now < seconds:
        if not cards:
            cards = rng.sample(list(deck), len(deck))
        blow = cards.pop()
        there = sorted(slot for slot in running if back_at[slot] <= now)
        away = sorted(set(range(SLOTS)) - running)
        took = 0.0
        match blow:
            case Blow.KILL | Blow.TERM if there:
                slot, took = rng.choice(there), rng.uniform(0.3, 4.0)
                # A worker that stops gets time to: starting it again waits for its end.
                acts.append(Act(now, Deed.KILL if blow is Blow.KILL else Deed.TERM, slot, blow))
                acts.append(Act(now + took, Deed.START, slot))
                back_at[slot] = now + took + 6.0
            case Blow.STOP | Blow.PAUSE if there:
                slot = rng.choice(there)
                took = rng.uniform(*(STOP_SECONDS if blow is Blow.STOP else PAUSE_SECONDS))
                acts += [Act(now, Deed.FREEZE, slot, blow), Act(now + took, Deed.THAW, slot)]
                back_at[slot] = now + took
                # Others are hit while this one is frozen, if there are any.
                took = took if len(there) == 1 else 0.0
            case Blow.JOIN if away:
                acts.append(Act(now, Deed.START, away[0], blow))
                running.add(away[0])
                back_at[away[0]] = now + 6.0
            case Blow.LEAVE if len(there) > 1:
                slot = rng.choice(there)
                acts.append(Act(now, Deed.TERM, slot, blow))
                running.discard(slot)
                back_at[slot] = now + 6.0
            case Blow.BROKER_KILL | Blow.BROKER_RESTART if broker_back <= now:
                deed = Deed.BROKER_KILL if blow is Blow.BROKER_KILL else Deed.BROKER_STOP
                acts += [Act(now, deed, opens=blow), Act(now + 2.0, Deed.BROKER_START)]
                took = 6.0
                broker_back = now + took
            case Blow.BROKER_FREEZE if broker_back <= now:
                took = rng.uniform(*BROKER_FREEZE_SECONDS)
                acts += [Act(now, Deed.BROKER_FREEZE, opens=blow), Act(now + took, Deed.BROKER_THAW)]
                broker_back = now + took
            case Blow.ONE_HANGS if brokers > 1:
                took, broker = rng.uniform(*HANG_SECONDS), rng.randint(1, brokers)
                acts.append(Act(now, Deed.BROKER_FREEZE, opens=blow, broker=broker))
                acts.append(Act(now + took, Deed.BROKER_THAW, broker=broker))
                if there and rng.random() < 0.5:  # its partitions are taken over meanwhile
                    slot, moment = rng.choice(there), now + rng.uniform(1.0, took / 2)
                    back = moment + rng.uniform(0.3, 4.0)
                    acts += [Act(moment, Deed.KILL, slot, Blow.KILL), Act(back, Deed.START, slot)]
                    back_at[slot] = back + 6.0
            case _ if blow in AROUND:
                took = rng.uniform(*AROUND[blow])
                broker = rng.choice((None, *range(1, brokers + 1))) if _of_one_broker(blow, brokers) else None
                acts.append(Act(now, Deed.TAKE, opens=blow, what=blow, broker=broker))
                acts.append(Act(now + took, Deed.GIVE, what=blow, broker=broker))
            case _:  # not possible now: draw another card
                now += 0.2
                continue
        now += took + rng.uniform(*gap)
    return acts


def _of_one_broker(blow: Blow, brokers: int) -> bool:
    """Whether it may concern one of several."""
    return brokers > 1 and blow is Blow.KAFKA_DROPPED


def _fault_acts(
    rng: random.Random,
    seconds: float,
    down_seconds: float,
    faulty: Sequence[str],
    rules: list[Rule],
    passing: Sequence[Rule],
) -> list[Act]:
    acts: list[Act] = []

    def in_force(rule: Rule, start: float, end: float, opens: str | None, *, down: bool = False) -> None:
        rules.append(rule)
        acts.append(Act(start, Deed.FAULT, opens=opens, fault=len(rules) - 1, down=down))
        acts.append(Act(end, Deed.END_FAULT, fault=len(rules) - 1, down=down))

    down_at = rng.uniform(0.3, 0.6) * max(0.0, seconds - down_seconds)
    rule = rng.choice(DOWN)
    if rule["kind"] == "token_500":
        in_force({"kind": "expire_tokens", "times": 1}, down_at, down_at, None)
    in_force(rule, down_at, down_at + down_seconds, f"down ({rule['kind']})", down=True)
    # Every kind has its turn, several at a time.
    for rule in rng.sample(list(passing), len(passing)):
        start = rng.uniform(0.5, max(1.0, seconds - FAULT_SECONDS[1]))
        chosen: dict[str, object] = dict(rule)
        if faulty and "probability" in rule and rng.random() < 0.3:
            chosen |= {"consumerId": rng.choice(faulty), "probability": 0.4}
        in_force(chosen, start, start + rng.uniform(*FAULT_SECONDS), str(rule["kind"]))
    return acts
