"""What ``profile-sync status`` prints. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app import __version__
from app.delivery.cluster_facts import Facts, Finding, Judgement
from app.delivery.cluster_status import live_workers, silent_workers
from app.delivery.partition_record import PartitionState
from app.delivery.wording import ago, clock, ranges
from app.delivery.worker_status import AccountState, WorkerEnd, WorkerStatus
from app.readmodels import kpi

WIDTH = 80
_NAME = 14


@dataclass(frozen=True, slots=True)
class PipelineView:
    """What the command shows. ``lag``: records of the main topic after the committed offsets."""

    topic: str
    group: str
    facts: Facts
    judgement: Judgement
    lag: int
    partitions: Mapping[int, PartitionState]
    now_ms: int

    @property
    def live(self) -> list[WorkerStatus]:
        """Workers whose last record is recent."""
        return live_workers(self.facts.workers, self.now_ms)

    @property
    def silent(self) -> list[WorkerStatus]:
        """Workers that stopped writing records without saying that they end."""
        return silent_workers(self.facts.workers, self.now_ms)

    @property
    def last_success_ms(self) -> int | None:
        """When an event was last written to the target, according to the workers."""
        times = [worker.last_success for worker in self.facts.workers if worker.last_success is not None]
        return max(times, default=None)

    @property
    def dry_run(self) -> bool:
        """Whether this group does dry runs: its workers say so, or its partition records when no worker is running."""
        return any(worker.dry_run for worker in self.live) or kpi.dry_run(self.partitions)

    @property
    def today(self) -> dict[str, int]:
        """Today's events by outcome. An event's day is the UTC day of its Kafka timestamp."""
        day = datetime.fromtimestamp(self.now_ms / 1000, UTC).date().isoformat()
        rows = kpi.daily(self.partitions, kpi.Filter(first=day, last=day))
        return {outcome: sum(int(row[outcome]) for row in rows) for outcome in kpi.OUTCOMES}

    @property
    def parked(self) -> dict[str, Any]:
        """The parked events, their consumers, the time of the first failure, and since when some wait for a right."""
        entries = [entry for state in self.partitions.values() for entry in state.parked.values()]
        failed = [entry.first_failed_ms for entry in entries if entry.attempts and entry.first_failed_ms]
        consumers = len({entry.consumer for entry in entries})
        # An event that waits for a right was parked without an attempt, so its entry holds no time.
        waits = [a.lacks_since for worker in self.live for a in worker.accounts if a.blocked and a.lacks_since]
        return {
            "events": len(entries),
            "consumers": consumers,
            "since": min(failed, default=None),
            "blockedSince": min(waits, default=None) if entries else None,
        }


def document(view: PipelineView) -> dict[str, Any]:
    """What ``--json`` prints; times are RFC 3339 or null."""
    judgement, parked = view.judgement, view.parked
    return {
        "version": __version__,
        "at": _time(view.now_ms),
        "topic": view.topic,
        "group": view.group,
        "level": judgement.level.value,
        "headline": judgement.badge,
        "needsPerson": judgement.needs_a_person,
        "complete": view.facts.complete,
        "dryRun": view.dry_run,
        "findings": [
            {"kind": f.kind.value, "level": f.level.value, "text": f.text, "needsPerson": f.person}
            for f in judgement.findings
        ],
        "workers": [_worker(worker, view) for worker in (*view.live, *view.silent)],
        "lastEnd": _end(view.facts.last_end),
        "lag": {"records": view.lag, "waitingSince": _time(view.facts.waiting_since_ms)},
        "parked": {**parked, "since": _time(parked["since"]), "blockedSince": _time(parked["blockedSince"])},
        "deadLetters": dict(view.facts.dead_letters or {}),
        "today": view.today,
        "totals": kpi.totals(view.partitions),
        "lastSuccess": _time(view.last_success_ms),
        "incidents": [
            {
                "fingerprint": one.fingerprint,
                "number": one.number,
                "severity": one.severity,
                "since": _time(one.since_ms),
                "waiting": one.waiting,
            }
            for one in view.facts.incidents
        ],
    }


def lines(view: PipelineView) -> Iterator[str]:
    """The lines of the screen, 80 columns wide. A longer text continues on the next line."""
    yield from _wrapped("profile-sync", f"{__version__}, {clock(view.now_ms)}")
    yield from _wrapped("state", view.judgement.summary)
    for finding in view.judgement.findings:
        yield from _wrapped(f"  {_mark(finding)}", finding.text, 4)
    yield ""
    for name, text in zip(("pipeline", ""), _pipeline(view), strict=True):
        yield from _wrapped(name, text)
    yield from _wrapped("workers", str(len(view.live)))
    for worker in (*view.live, *view.silent):
        yield from _wrapped("", _worker_line(worker, view))
    yield from _wrapped("lag", _lag(view))
    parked = view.parked
    since = f", the first failed {ago(parked['since'], view.now_ms)} ago" if parked["since"] else ""
    if parked["blockedSince"]:
        since += f", some have waited for a right for {ago(parked['blockedSince'], view.now_ms)}"
    yield from _wrapped("parked", f"{parked['events']:,} events of {parked['consumers']:,} consumers{since}")
    yield from _wrapped("accounts", "; ".join(_accounts(view)) or "not known")
    letters = view.facts.dead_letters or {}
    kinds = ", ".join(f"{reason} {number:,}" for reason, number in sorted(letters.items(), key=lambda item: -item[1]))
    yield from _wrapped("dead letters", f"{sum(letters.values()):,}" + (f": {kinds}" if kinds else ""))
    yield from _wrapped("", "with records of other programs: profile-sync dlq stats")
    today = ", ".join(f"{name} {number:,}" for name, number in view.today.items() if number)
    yield from _wrapped("today (UTC)", today or "no event settled yet")
    yield from _wrapped("last success", _last_success(view))


def _last_success(view: PipelineView) -> str:
    if view.dry_run:
        return "dry run: nothing is written"
    if (last := view.last_success_ms) is not None:
        return f"{clock(last)}, {ago(last, view.now_ms)} ago"
    return "none since the workers started" if view.live else "not known: no worker is running"


def _mark(finding: Finding) -> str:
    return "!" if finding.person else "-"


def _pipeline(view: PipelineView) -> Iterator[str]:
    worker = next(iter((*view.live, *view.silent)), None)
    yield view.topic if worker is None else f"{worker.pipeline}: {view.topic} -> {worker.target}"
    strategy = f", strategy {worker.strategy}" if worker is not None else ""
    yield f"group {view.group}{strategy}{', DRY RUN' if view.dry_run else ''}"


def _worker_line(worker: WorkerStatus, view: PipelineView) -> str:
    if worker in view.silent:
        return f"{worker.worker}: silent for {ago(worker.at, view.now_ms)}"
    state = "ready" if worker.ready else "NOT READY"
    up = ago(worker.started, view.now_ms)
    return f"{worker.worker}: {state}, partitions {ranges(worker.partitions)}, up for {up}, {worker.version}"


def _lag(view: PipelineView) -> str:
    since = view.facts.waiting_since_ms
    if view.facts.topic_gone is not None:
        return "not known: there is no such topic"
    if not view.lag or since is None:
        return f"{view.lag:,} events"
    return f"{view.lag:,} events, the oldest has waited for {ago(since, view.now_ms)}"


def _accounts(view: PipelineView) -> Iterator[str]:
    worst: dict[str, tuple[int, str]] = {}
    for worker in view.live:
        for account in worker.accounts:
            since = f" for {ago(account.since, view.now_ms)}" if account.since is not None else ""
            cause = f" ({account.cause})" if account.cause else ""
            lacks = f", {account.lacks}" if account.lacks else ""
            rank_and_text = (
                list(AccountState).index(account.state),
                f"{account.name}: {account.state.value}{since}{cause}{lacks}",
            )
            worst[account.name] = max(rank_and_text, worst.get(account.name, rank_and_text))
    return (text for _, text in worst.values())


def _worker(worker: WorkerStatus, view: PipelineView) -> dict[str, Any]:
    return worker.model_dump(mode="json", by_alias=True, exclude={"v", "invalid"}) | {
        "at": _time(worker.at),
        "started": _time(worker.started),
        "lastSuccess": _time(worker.last_success),
        "silent": worker in view.silent,
        "accounts": [
            {
                "name": a.name,
                "state": a.state.value,
                "cause": a.cause or None,
                "since": _time(a.since),
                "lacks": a.lacks or None,
                "lacksSince": _time(a.lacks_since),
                "blocked": a.blocked,
            }
            for a in worker.accounts
        ],
    }


def _end(end: WorkerEnd | None) -> dict[str, Any] | None:
    return None if end is None else {"worker": end.worker, "at": _time(end.at), "reason": end.reason or None}


def _time(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _wrapped(name: str, text: str, column: int = _NAME) -> Iterator[str]:
    safe = "".join(c if c.isprintable() else "?" for c in text)
    yield from textwrap.wrap(
        safe, WIDTH, initial_indent=f"{name:<{column}}", subsequent_indent=" " * column, break_on_hyphens=False
    )
