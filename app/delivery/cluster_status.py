"""Whether all is well with a pipeline, and what needs a person. The command and the page share this judgement. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from app.delivery.errors import CMT_NOT_ALLOWED, CMT_PERMISSION, REGISTRY
from app.delivery.worker_status import AccountState, AccountStatus, WorkerEnd, WorkerStatus

# A worker speaks every ten seconds.
STALE_MS = 30_000
# What is said to come from further ahead than this was not said now.
CLOCKS_DIFFER_MS = 300_000
# Who has been silent for so long was replaced, or its partitions would be missing.
FORGOTTEN_MS = 3_600_000
# A worker that has just started reads its state first.
STARTING_MS = 60_000
# What a rebalance takes: until then nobody needs to look.
REBALANCE_MS = 15_000
# Events that wait for so long, for no reason that is known, need a person.
LONG_WAIT_MS = 900_000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Level(StrEnum):
    """How the pipeline is."""

    GOOD = "good"
    WAITING = "waiting"  # it will be well by itself
    BAD = "bad"  # it does not work


class FindingKind(StrEnum):
    """What a finding is about."""

    WORKERS = "workers"
    KAFKA = "kafka"
    STATE = "state"
    TARGET = "target"
    LAG = "lag"
    DEAD_LETTERS = "deadLetters"
    INCIDENT = "incident"
    WARNING = "warning"
    COUNTS = "counts"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. ``headline``: for a badge; ``person``: it needs one."""

    kind: FindingKind
    level: Level
    headline: str
    text: str
    person: bool


CATCHING_UP = Finding(FindingKind.COUNTS, Level.WAITING, "catching up", "the counts are being read", person=False)


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident that we opened and that is not over."""

    fingerprint: str
    number: str
    severity: str
    since_ms: int
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a pipeline. ``complete``: the counts hold everything; ``waiting_since_ms``: of the oldest event
    that nobody has taken yet; ``topic_gone``: what to say when the main topic does not exist any more."""

    workers: Sequence[WorkerStatus]
    partitions: Collection[int]
    incidents: Sequence[OpenIncident] = ()
    dead_letters: Mapping[str, int] | None = None
    complete: bool = True
    waiting_since_ms: int | None = None
    last_end: WorkerEnd | None = None
    topic_gone: str | None = None
    dead_letter_topic: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``findings``: the worst first. ``workers``: how many are live; ``lag``: how many events wait, as they say.

    None: no pipeline is looked at.
    """

    findings: tuple[Finding, ...]
    workers: int | None = None
    lag: int | None = None

    @property
    def level(self) -> Level:
        """The worst there is; dead letters, incidents and warnings alone leave the work going on."""
        levels = {finding.level for finding in self.findings}
        return next((level for level in (Level.BAD, Level.WAITING) if level in levels), Level.GOOD)

    @property
    def badge(self) -> str:
        """A word or two for a badge."""
        if self.level is Level.GOOD:
            return "needs a person" if self.needs_a_person else "complete"
        return next(finding.headline for finding in self.findings if finding.level is self.level)

    @property
    def verdict(self) -> str:
        """One line for people: the state, and whether somebody should look."""
        if self.level is Level.GOOD:
            return "works, NEEDS A PERSON" if self.needs_a_person else "all is well"
        return self.badge.upper() + (", NEEDS A PERSON" if self.needs_a_person else "")

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody should look."""
        return any(finding.person for finding in self.findings)


def judge(facts: Facts, now_ms: int) -> Judgement:
    """What is not as it should be."""
    live = live_workers(facts.workers, now_ms)
    findings = [
        *_topic(facts.topic_gone),
        *_workers(facts, live, now_ms),
        *_ended(facts, live, now_ms),
        *_reasons(live, now_ms),
        *_accounts(live),
        *_rights(live),
        *_lag(facts, live, now_ms),
        *_incidents(facts.incidents),
        *_dead_letters(facts.dead_letters or {}, facts.dead_letter_topic),
        *_warnings(live),
    ]
    if not facts.complete:
        findings.append(CATCHING_UP)
    order = list(Level)[::-1]
    # Without Kafka the others cannot be heard: that comes first.
    findings.sort(key=lambda found: (order.index(found.level), found.kind is not FindingKind.KAFKA, not found.person))
    return Judgement(tuple(findings), len(live), sum(worker.lag for worker in live))


def live_workers(workers: Iterable[WorkerStatus], now_ms: int) -> list[WorkerStatus]:
    """Those who spoke lately; what a silent one said last says nothing of now."""
    return [worker for worker in workers if -CLOCKS_DIFFER_MS <= now_ms - worker.at <= STALE_MS]


def silent_workers(workers: Iterable[WorkerStatus], now_ms: int) -> list[WorkerStatus]:
    """Those who stopped speaking without saying goodbye, not too long ago."""
    return [worker for worker in workers if STALE_MS < now_ms - worker.at <= FORGOTTEN_MS]


def account_is_out(workers: Iterable[WorkerStatus], account: str, now_ms: int) -> bool:
    """Whether a live worker sees an account down or throttled."""
    return any(
        one.name == account and one.state is not AccountState.UP
        for worker in live_workers(workers, now_ms)
        for one in worker.accounts
    )


def _topic(gone: str | None) -> Iterable[Finding]:
    if gone is not None:
        yield Finding(FindingKind.KAFKA, Level.BAD, "the topic is gone", gone, person=True)


def _workers(facts: Facts, live: Sequence[WorkerStatus], now_ms: int) -> Iterable[Finding]:
    silent = silent_workers(facts.workers, now_ms)
    names = ", ".join(f"{worker.worker} (for {ago(worker.at, now_ms)})" for worker in silent)
    if not live:
        text = f"no worker is running; silent: {names}" if silent else "no worker is running"
        if (end := facts.last_end) is not None:
            why = f"ended {ago(end.at, now_ms)} ago: {end.reason}"
            stopped = f"was asked to stop {ago(end.at, now_ms)} ago"
            text += f"; the last one, {end.worker}, {why if end.reason else stopped}"
        yield Finding(FindingKind.WORKERS, Level.BAD, "no worker", text, person=True)
        return
    missing = _unowned(facts, live)
    if not missing:
        return
    text = f"nobody works on partitions {ranges(missing)}" + (f"; silent: {names}" if silent else "")
    if any(_starts(worker, now_ms) or _rebalances(worker, now_ms) for worker in live):
        yield Finding(FindingKind.WORKERS, Level.WAITING, "taking over", text, person=False)
    else:
        yield Finding(FindingKind.WORKERS, Level.BAD, "partitions without a worker", text, person=True)


def _unowned(facts: Facts, live: Sequence[WorkerStatus]) -> list[int]:
    return sorted(set(facts.partitions) - {number for worker in live for number in worker.partitions})


def _ended(facts: Facts, live: Sequence[WorkerStatus], now_ms: int) -> Iterable[Finding]:
    """A worker has given up while others work; one that was started since has taken its place. Nobody is needed while
    the others work on all partitions."""
    end = facts.last_end
    if end is None or not end.reason or not live or now_ms - end.at > FORGOTTEN_MS:
        return
    if all(worker.started < end.at for worker in live):
        text = f"{end.worker} ended {ago(end.at, now_ms)} ago: {end.reason}"
        yield Finding(FindingKind.WORKERS, Level.GOOD, "a worker ended", text, person=bool(_unowned(facts, live)))


def _reasons(live: Sequence[WorkerStatus], now_ms: int) -> Iterable[Finding]:
    for worker in live:
        for reason in worker.reasons:
            kind = FindingKind(reason.kind) if reason.kind in list(FindingKind) else FindingKind.STATE
            text = f"{worker.worker}: {reason.text}"
            if _starts(worker, now_ms):
                yield Finding(kind, Level.WAITING, "starting", text, person=False)
            elif _rebalances(worker, now_ms):
                yield Finding(kind, Level.WAITING, "taking over", text, person=False)
            else:
                yield Finding(kind, Level.BAD, _NOT_READY.get(kind, "not ready"), text, person=True)


_NOT_READY = {FindingKind.KAFKA: "Kafka is away"}


def _accounts(live: Sequence[WorkerStatus]) -> Iterable[Finding]:
    seen: dict[tuple[str, AccountState], list[tuple[int | None, str]]] = {}
    for worker in live:
        for account in worker.accounts:
            if account.state is not AccountState.UP:
                seen.setdefault((account.name, account.state), []).append((account.since, account.cause))
    for (name, state), causes in seen.items():
        since = min((moment for moment, _ in causes if moment is not None), default=None)
        codes = sorted({cause for _, cause in causes if cause})
        because = ", ".join(codes) or "no answers"
        refused = next((REGISTRY[code] for code in codes if code in REGISTRY and REGISTRY[code].refuses_us), None)
        began = f" since {clock(since)}" if since is not None else ""
        if state is AccountState.OUTAGE and refused is not None:
            text = f"account {name}: {refused.meaning} ({because}){began}; its events wait. {refused.remedy}"
            yield Finding(FindingKind.TARGET, Level.BAD, "Marketing Cloud refuses us", text, person=True)
        elif state is AccountState.OUTAGE:
            text = f"account {name}: Marketing Cloud is away{began} ({because}); its events wait"
            yield Finding(FindingKind.TARGET, Level.BAD, "Marketing Cloud is away", text, person=True)
        else:
            why = f" ({', '.join(codes)})" if codes else ""
            text = f"account {name} is throttled{began}{why}; calls are sent again"
            yield Finding(FindingKind.TARGET, Level.WAITING, "throttled", text, person=False)


def _rights(live: Sequence[WorkerStatus]) -> Iterable[Finding]:
    """Rights that an account lacks; events that need them wait, or fail in part where one data extension lacks one."""
    lacking: dict[str, list[AccountStatus]] = {}
    for account in (account for worker in live for account in worker.accounts if account.lacks):
        lacking.setdefault(account.name, []).append(account)
    for name, seen in lacking.items():
        since = min((one.lacks_since for one in seen if one.lacks_since is not None), default=None)
        began = f" since {clock(since)}" if since is not None else ""
        text = f"account {name}: it {' and '.join(dict.fromkeys(one.lacks for one in seen))}{began}"
        if any(one.blocked for one in seen):
            waits = f"the events that need it wait ({sum(one.waiting for one in seen):,} in all), others go on"
            text = f"{text} ({CMT_NOT_ALLOWED.code}); {waits}. {CMT_NOT_ALLOWED.remedy}"
            yield Finding(FindingKind.TARGET, Level.BAD, "a right is missing", text, person=True)
        else:
            text = f"{text} ({CMT_PERMISSION.code}). {CMT_PERMISSION.remedy}"
            yield Finding(FindingKind.TARGET, Level.GOOD, "a right is missing", text, person=True)


def _lag(facts: Facts, live: Sequence[WorkerStatus], now_ms: int) -> Iterable[Finding]:
    explained = facts.topic_gone is not None or any(
        worker.reasons or any(a.state is not AccountState.UP or a.blocked for a in worker.accounts) for worker in live
    )
    since = facts.waiting_since_ms
    if since is not None and now_ms - since >= LONG_WAIT_MS and not explained:
        text = f"events wait for {ago(since, now_ms)}: too few workers, or one that hangs"
        yield Finding(FindingKind.LAG, Level.WAITING, "behind", text, person=True)


def _incidents(incidents: Sequence[OpenIncident]) -> Iterable[Finding]:
    for one in sorted(incidents, key=lambda incident: incident.since_ms):
        name = f"incident {one.number}" if one.number else "an incident"
        text = f"{name} is open since {clock(one.since_ms)}: {one.severity}, {one.fingerprint}"
        yield Finding(FindingKind.INCIDENT, Level.GOOD, "incident", text, person=True)


def _dead_letters(by_reason: Mapping[str, int], topic: str) -> Iterable[Finding]:
    if number := sum(by_reason.values()):
        place = f" in {topic}" if topic else ""
        text = f"{number:,} dead letter{'s wait' if number != 1 else ' waits'}{place} to be dealt with"
        yield Finding(FindingKind.DEAD_LETTERS, Level.GOOD, "dead letters", text, person=True)


def _warnings(live: Sequence[WorkerStatus]) -> Iterable[Finding]:
    for text in dict.fromkeys(warning for worker in live for warning in worker.warnings):
        yield Finding(FindingKind.WARNING, Level.GOOD, "warning", text, person=False)


def _starts(worker: WorkerStatus, now_ms: int) -> bool:
    return now_ms - worker.started <= STARTING_MS


def _rebalances(worker: WorkerStatus, now_ms: int) -> bool:
    return worker.unready_since is not None and now_ms - worker.unready_since <= REBALANCE_MS


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in short.

    >>> ranges([0, 1, 2, 5, 7, 8]), ranges([])
    ('0-2, 5, 7-8', 'none')
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs) or "none"


def ago(ms: int, now_ms: int) -> str:
    """How long something is ago, for people.

    >>> ago(0, 41_000), ago(0, 190_000), ago(0, 7_500_000), ago(0, 400_000_000)
    ('41 s', '3 min', '2 h 5 min', '4 d 15 h')
    """
    seconds = max(0, now_ms - ms) // 1000
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def clock(ms: int) -> str:
    """A moment in UTC, for people, without a clock of ours.

    >>> clock(1_763_000_000_000)
    '2025-11-13 02:13:20Z'
    """
    return f"{_EPOCH + timedelta(milliseconds=ms):%Y-%m-%d %H:%M:%S}Z"
