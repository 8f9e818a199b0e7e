"""Judges whether all is well with a pipeline, and what needs a person. Command and page share this judgement. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from app.delivery.cluster_facts import CATCHING_UP, Facts, Finding, FindingKind, Judgement, Level, OpenIncident
from app.delivery.errors import CMT_NOT_ALLOWED, CMT_PERMISSION, REGISTRY
from app.delivery.expiring_values import ExpiringValues
from app.delivery.wording import ago, clock, ranges
from app.delivery.worker_status import AccountState, AccountStatus, WorkerStatus

# A worker reports every ten seconds; an older report says nothing about now.
STALE_MS = 30_000
# A report from further in the future than clocks may differ is not a report of now.
CLOCKS_DIFFER_MS = 300_000
# A worker that has been silent for this long has been replaced; otherwise its partitions would be unowned.
FORGOTTEN_MS = 3_600_000
# A worker that has just started first reads its state.
STARTING_MS = 60_000
# A rebalance takes up to this long; until then it needs no person.
REBALANCE_MS = 15_000
# Events that wait this long for no known reason need a person.
LONG_WAIT_MS = 900_000


def judge(facts: Facts, now_ms: int) -> Judgement:
    """The judgement on a pipeline at this moment."""
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
        *_expiring(facts.expiring),
        *_warnings(live),
    ]
    if not facts.complete:
        findings.append(CATCHING_UP)
    order = list(Level)[::-1]
    # Without Kafka the workers' reports do not arrive, so that finding comes first.
    findings.sort(key=lambda found: (order.index(found.level), found.kind is not FindingKind.KAFKA, not found.person))
    return Judgement(tuple(findings), len(live), sum(worker.lag for worker in live))


def live_workers(workers: Iterable[WorkerStatus], now_ms: int) -> list[WorkerStatus]:
    """The workers with a recent report."""
    return [worker for worker in workers if -CLOCKS_DIFFER_MS <= now_ms - worker.at <= STALE_MS]


def silent_workers(workers: Iterable[WorkerStatus], now_ms: int) -> list[WorkerStatus]:
    """The workers that recently stopped reporting, without a report of their end."""
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
    text = f"no worker owns partitions {ranges(missing)}" + (f"; silent: {names}" if silent else "")
    if any(_starts(worker, now_ms) or _rebalances(worker, now_ms) for worker in live):
        yield Finding(FindingKind.WORKERS, Level.WAITING, "taking over", text, person=False)
    else:
        yield Finding(FindingKind.WORKERS, Level.BAD, "partitions without a worker", text, person=True)


def _unowned(facts: Facts, live: Sequence[WorkerStatus]) -> list[int]:
    return sorted(set(facts.partitions) - {number for worker in live for number in worker.partitions})


def _ended(facts: Facts, live: Sequence[WorkerStatus], now_ms: int) -> Iterable[Finding]:
    """A worker that ended with an error while others work.

    It is no finding if a worker was started since and so replaced it. It needs a person only if partitions are without
    an owner.
    """
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
    """Rights that an account lacks: events that need them wait, or end as partial if one data extension lacks them."""
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
        text = f"events wait for {ago(since, now_ms)}: there are too few workers, or one hangs"
        yield Finding(FindingKind.LAG, Level.WAITING, "behind", text, person=True)


def _incidents(incidents: Sequence[OpenIncident]) -> Iterable[Finding]:
    for one in sorted(incidents, key=lambda incident: incident.since_ms):
        name = f"incident {one.number}" if one.number else "an incident"
        text = f"{name} is open since {clock(one.since_ms)}: {one.severity}, {one.fingerprint}"
        yield Finding(FindingKind.INCIDENT, Level.GOOD, "incident", text, person=True)


def _dead_letters(by_reason: Mapping[str, int], topic: str) -> Iterable[Finding]:
    if number := sum(by_reason.values()):
        place = f" in {topic}" if topic else ""
        wait = "dead letters wait" if number != 1 else "dead letter waits"
        text = f"{number:,} {wait}{place} to be dealt with: profile-sync dlq stats"
        yield Finding(FindingKind.DEAD_LETTERS, Level.GOOD, "dead letters", text, person=True)


def _expiring(topics: Sequence[ExpiringValues]) -> Iterable[Finding]:
    for one in topics:
        text = f"{one.text}. {one.remedy}"
        yield Finding(FindingKind.DEAD_LETTERS, Level.GOOD, "dead letters", text, person=True)


def _warnings(live: Sequence[WorkerStatus]) -> Iterable[Finding]:
    for text in dict.fromkeys(warning for worker in live for warning in worker.warnings):
        yield Finding(FindingKind.WARNING, Level.GOOD, "warning", text, person=False)


def _starts(worker: WorkerStatus, now_ms: int) -> bool:
    return now_ms - worker.started <= STARTING_MS


def _rebalances(worker: WorkerStatus, now_ms: int) -> bool:
    return worker.unready_since is not None and now_ms - worker.unready_since <= REBALANCE_MS
