"""``profile-sync plan``: the calls that events would cause. It needs neither a broker nor Marketing Cloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.command_errors import EXIT_FAILURE, report_failures
from app.cli.input_file import open_input
from app.cli.output import printable, show_facts
from app.flows.catalog import load_catalog
from app.profile.entities import CONSUMER_ID_COLUMN, Catalog, as_text
from app.profile.event import Operation, ProfileEvent
from app.profile.event_lines import EventLine, RejectedLine, read_event_document
from app.profile.plan import Action, Step, contradiction, plan_reconcile, plan_replace
from app.settings import ConfigurationError, DataExtensionSettings, SyncSettings, load


def plan(
    file: Annotated[
        Path,
        typer.Argument(
            help="One JSON event, an array of events, or JSON lines. - reads standard input.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Print the calls that each event would cause, in order, without sending any.

    With SYNC_STRATEGY=reconcile the worker may make fewer calls: some depend on the rows that it finds.
    Exits 1 if the file holds anything but valid events. Reads CMT_DATA_EXTENSIONS, SYNC_STRATEGY and
    SYNC_REPLACE_PARENT.
    """
    with report_failures():
        sync = load(SyncSettings)
        if problem := contradiction(sync.strategy, replace_parent=sync.replace_parent):
            raise ConfigurationError([problem])
        catalog = load_catalog(load(DataExtensionSettings).data_extensions)
        with open_input(file) as stream:
            content = stream.read()
    planned, rejected = [], []
    for entry in read_event_document(content, catalog):
        if isinstance(entry, RejectedLine):
            rejected.append(entry)
            typer.echo(f"{entry.line}: {entry.code}: {entry.reason}", err=True)
        else:
            # A market always has a catalog here: events of other markets were rejected above.
            calls = _calls(entry.event, catalog.of_market(entry.event.market) or catalog, sync)
            planned.append((entry, calls))
    if as_json:
        events = [{**_names(entry), "calls": calls} for entry, calls in planned]
        problems = [{"line": line.line, "code": line.code, "reason": line.reason} for line in rejected]
        typer.echo(json.dumps({"events": events, "rejected": problems}))
    else:
        for entry, calls in planned:
            _show(entry, calls)
    if rejected:
        raise typer.Exit(EXIT_FAILURE)


def _names(entry: EventLine) -> dict[str, Any]:
    event = entry.event
    return {
        "line": entry.line,
        "eventId": event.event_id,
        "operation": event.operation.value,
        "consumerId": event.consumer_id,
        "market": event.market,
    }


def _calls(event: ProfileEvent, catalog: Catalog, sync: SyncSettings) -> list[dict[str, Any]]:
    if sync.strategy == "replace":
        steps = plan_replace(event, catalog, replace_parent=sync.replace_parent)
        return [_call(number, step, event, catalog) for number, step in enumerate(steps, start=1)]
    calls = []
    for number, step in enumerate(plan_reconcile(event, catalog), start=1):
        condition = _when(step, event)
        calls.append(_call(number, step, event, catalog) | ({"when": condition} if condition else {}))
    return calls


def _when(step: Step, event: ProfileEvent) -> str | None:
    """The condition for a call of strategy ``reconcile``; None: the call is always made."""
    if event.operation is Operation.DELETE:
        return None
    match step.action:
        case Action.UPSERT:
            return "different"
        case Action.DELETE:
            return "not listed"
        case Action.RETRIEVE if step.entity.is_parent and event.operation is Operation.UPDATE:
            return "not known to be different"
        case Action.RETRIEVE if not step.entity.is_parent and event.operation is Operation.NEW:
            return "parent found"
    return None


def _call(number: int, step: Step, event: ProfileEvent, catalog: Catalog) -> dict[str, Any]:
    """A call as ``--json`` prints it.

    ``key``: the key of the row, or what a Retrieve filters by. ``each``: one such call is made for every row found.
    """
    table = catalog[step.entity]
    each = step.action is Action.DELETE and step.row is None
    key = {CONSUMER_ID_COLUMN: event.consumer_id}
    if step.row is not None:
        key = {column: str(as_text(value)) for column, value in table.key_of(step.row).items()}
    match step.action:
        case Action.RETRIEVE:
            columns = list(table.columns)
        case Action.UPSERT if step.row is not None:
            columns = [column for column in step.row if column not in table.primary_key]
        case _:
            columns = []
    return {
        "number": number,
        "call": step.action.value,
        "entity": step.entity.value,
        "dataExtension": table.customer_key,
        "each": each,
        "key": None if each else key,
        "columns": columns,
    }


def _show(entry: EventLine, calls: list[dict[str, Any]]) -> None:
    event = entry.event
    scope = f" {event.delete_scope}" if event.delete_scope else ""
    head = f"{event.operation}{scope} of consumer {event.consumer_id} ({event.market}), event {event.event_id}"
    typer.echo(f"\n{entry.line}: {printable(head)}")
    show_facts(None, map(_facts, calls))
    if not calls:
        typer.echo("  no calls")


def _facts(call: dict[str, Any]) -> list[tuple[str, object]]:
    key = "of each row found"
    if not call["each"]:
        key = ", ".join(f"{name}={value}" for name, value in call["key"].items())
    made = f"{call['call']} {call['dataExtension']}" + (f" if {call['when']}" if "when" in call else "")
    columns: list[tuple[str, object]] = [("columns", ", ".join(call["columns"]))] if call["columns"] else []
    return [("", f"{call['number']:>2}"), ("", made), ("key", key), *columns]
