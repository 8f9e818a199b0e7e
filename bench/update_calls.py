"""Measures one UPDATE by strategy: SOAP calls and time, against the simulator in its own process."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import uvloop
from rich.table import Table

from app.bundled import schema_path
from app.cmt.call import always
from app.cmt.client import CmtClient
from app.profile.catalog_file import parse_catalog
from app.profile.entities import EntityType
from app.profile.event import ProfileEvent
from app.settings import CmtSettings, SyncSettings
from app.sinks.cmt import CmtSink
from bench.client_calls import simulator
from bench.report import Target

LATENCY_MS = 20
UPDATES = 15
CONSUMER_ID = "c-1"

# What an UPDATE changes, compared with the UPDATE before it.
PARENT, ENTITY_ROW, NOTHING = "a field of the parent", "a field of an entity row", "nothing"
CHANGES = (PARENT, ENTITY_ROW, NOTHING)


@dataclass(frozen=True, slots=True)
class Strategy:
    """One line of the table."""

    strategy: Literal["replace", "reconcile"]
    batch_size: int
    replace_parent: bool = False

    @property
    def name(self) -> str:
        settings = ["SYNC_REPLACE_PARENT=true"] * self.replace_parent
        settings += [f"CMT_BATCH_SIZE={self.batch_size}"] * (self.batch_size > 1)
        return ", ".join((self.strategy, *settings))


STRATEGIES = (
    Strategy("replace", 1),
    Strategy("replace", 1, replace_parent=True),
    Strategy("replace", 50),
    Strategy("reconcile", 1),
    Strategy("reconcile", 50),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """The medians of several UPDATEs, made one after another."""

    strategy: Strategy
    changed: str
    calls: float
    milliseconds: float


class _Requests:
    """Counts the client's requests. The simulator counts a batch once for each data extension in it."""

    def __init__(self) -> None:
        self.sent = 0

    def call(self, operation: str, entity: str, result: str, seconds: float) -> None:
        self.sent += 1

    def token(self, result: str) -> None: ...


def run(updates: int = UPDATES, latency_ms: int = LATENCY_MS) -> list[Cost]:
    """Measure every strategy with every kind of change."""
    with simulator(latency_ms) as url, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_costs(url, updates))


async def _costs(url: str, updates: int) -> list[Cost]:
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    cmt = CmtSettings(auth_url=url, client_id="simulator", client_secret="simulator-secret")
    costs, requests = [], _Requests()
    async with CmtClient(cmt, catalog, observe=requests) as client:
        for strategy in STRATEGIES:
            sync = SyncSettings.model_construct(
                strategy=strategy.strategy, replace_parent=strategy.replace_parent, dry_run=False
            )
            sink = CmtSink(client, catalog, sync, strategy.batch_size)
            for changed in CHANGES:
                events = _updates(changed)
                # The first UPDATE brings the rows to a known state and opens the connections.
                await _settle(sink, next(events))
                figures = [await _measured(sink, next(events), requests) for _ in range(updates)]
                calls, seconds = (statistics.median(column) for column in zip(*figures, strict=True))
                costs.append(Cost(strategy, changed, calls, seconds * 1000))
    return costs


async def _measured(sink: CmtSink, event: ProfileEvent, requests: _Requests) -> tuple[float, float]:
    before, began = requests.sent, time.perf_counter()
    await _settle(sink, event)
    return requests.sent - before, time.perf_counter() - began


async def _settle(sink: CmtSink, event: ProfileEvent) -> None:
    attempt = await sink.apply(event, last_attempt=False, permit=always)
    if attempt.failures:
        raise RuntimeError(f"the simulator refused something: {attempt.failures[0].message}")


def _updates(changed: str) -> Iterator[ProfileEvent]:
    number = 0
    while True:
        yield typical_update(number if changed == PARENT else 0, number if changed == ENTITY_ROW else 0)
        number += 1


def typical_update(parent: int, row: int) -> ProfileEvent:
    """An UPDATE of a parent and twelve entity rows, two of each type; each number goes into one field."""
    rows: dict[EntityType, list[dict[str, Any]]] = {
        EntityType.CONTACT: [{"ContactId": f"k-{n}", "Type": "PHONE", "IsPrimary": n == 0} for n in range(2)],
        EntityType.CHILD: [{"ChildId": f"h-{n}", "FirstName": "Ben", "BirthDate": "2021-03-04"} for n in range(2)],
        EntityType.PET: [{"PetId": f"p-{n}", "Name": "Bello", "WeightKg": Decimal("4.5")} for n in range(2)],
        EntityType.DIGITAL_ASSET: [{"AssetId": f"a-{n}", "Type": "COOKIE", "Value": "x"} for n in range(2)],
        EntityType.INTEREST: [{"InterestId": f"i-{n}", "Code": "FOOD", "Score": 80} for n in range(2)],
        EntityType.OPT_IN: [{"OptInId": f"o-{n}", "Channel": "EMAIL", "Status": "OPT_IN"} for n in range(2)],
    }
    rows[EntityType.PET][1]["Name"] = f"Bello {row}"
    return ProfileEvent.model_validate(
        {
            "eventId": f"e-{parent}-{row}",
            "operation": "UPDATE",
            "consumerId": CONSUMER_ID,
            "market": "DE",
            "occurredAt": "2026-11-21T10:00:00Z",
            "consumer": {"ConsumerId": CONSUMER_ID, "FirstName": "Anna", "LastName": f"Beispiel {parent}"},
            "entities": rows,
        }
    )


def table(costs: Sequence[Cost], latency_ms: int = LATENCY_MS) -> Table:
    """The table: a line for each strategy, a column for each kind of change."""
    shown = Table(
        "", *(f"{changed}: calls, ms" for changed in CHANGES), title=f"One UPDATE, a call takes {latency_ms} ms"
    )
    for column in shown.columns[1:]:
        column.justify = "right"
    for strategy in dict.fromkeys(cost.strategy for cost in costs):
        cells = (f"{c.calls:g}, {c.milliseconds:,.0f}" for c in costs if c.strategy == strategy)
        shown.add_row(strategy.name, *cells)
    return shown


def targets(costs: Sequence[Cost]) -> list[Target]:
    """The targets of ``reconcile``: how many times fewer calls and less time than ``replace`` with one row per call."""
    found = {(cost.strategy, cost.changed): cost for cost in costs}
    replace, reconcile = Strategy("replace", 1), Strategy("reconcile", 1)
    reached = []
    for changed in (PARENT, ENTITY_ROW):
        above, below = found[replace, changed], found[reconcile, changed]
        reached.append(Target(f"replace / reconcile, calls, {changed}", above.calls / below.calls, 4.0))
        reached.append(Target(f"replace / reconcile, time, {changed}", above.milliseconds / below.milliseconds, 5.0))
    return reached
