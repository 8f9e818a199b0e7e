"""`profile-sync errors`: what an error code means and what to do. `make docs` writes docs/errors.md with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from textwrap import fill
from typing import Annotated

import typer

from app.cli.command_errors import CommandError, report_failures
from app.cli.output import COLUMNS
from app.delivery.errors import REGISTRY, ErrorClass, ErrorEntry
from app.delivery.known_names import no_such_code

CLASS_MEANINGS: dict[ErrorClass, tuple[str, str]] = {
    ErrorClass.INVALID: (
        "The event itself cannot be processed",
        "Not retried: the event goes to the dead-letter topic at once and counts as `invalid`.",
    ),
    ErrorClass.TRANSIENT: (
        "May pass by itself",
        "The consumer is parked and the event is retried, up to `SYNC_MAX_ATTEMPTS` attempts in all.",
    ),
    ErrorClass.THROTTLED: (
        "Too fast",
        "As transient. A `Retry-After` is honoured.",
    ),
    ErrorClass.AUTH: (
        "Token or credentials",
        "Affects every event, so the circuit breaker opens and events wait until the credentials are corrected. "
        "Without a breaker (`SYNC_BREAKER_FAILURES=0`) it is treated as transient. An expired token is not an error: "
        "it is refreshed and the call is repeated, which costs no attempt.",
    ),
    ErrorClass.PERMANENT: (
        "The same call will fail again",
        "Not retried: the outcome is decided at once, or, for codes marked §, after the Retrieve described above.",
    ),
}


def errors(
    code: Annotated[str | None, typer.Argument(help="One code, e.g. CMT-RATE-LIMITED. Without it, all codes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/errors.md.")] = False,
) -> None:
    """Explain an error code: what it means, and what to do."""
    if as_markdown and (as_json or code is not None):
        raise typer.BadParameter("--markdown prints the whole page; it takes no code and no --json")
    with report_failures():
        if code is not None and code.upper() not in REGISTRY:
            raise CommandError(no_such_code(code))
    entries = list(REGISTRY.values()) if code is None else [REGISTRY[code.upper()]]
    if as_json:
        typer.echo(json.dumps({"errors": [_document(entry) for entry in entries]}, indent=2))
    elif as_markdown:
        typer.echo(markdown_page(entries), nl=False)
    else:
        _show(entries)


def _document(entry: ErrorEntry) -> dict[str, str | bool]:
    return {
        "code": entry.code,
        "class": entry.error_class.value,
        "meaning": entry.meaning,
        "remedy": entry.remedy,
        "retried": entry.error_class.retried,
        "transport": entry.transport,
        "everyCall": entry.every_call,
        "doubtful": entry.doubtful,
    }


def _show(entries: Iterable[ErrorEntry]) -> None:
    """Print code and class, and the texts on the lines below, where they have the full width."""
    for entry in entries:
        typer.echo(f"{entry.code}  ({entry.error_class.value})")
        typer.echo(fill(entry.meaning, COLUMNS, initial_indent="  ", subsequent_indent="  "))
        typer.echo(fill(entry.remedy, COLUMNS, initial_indent="  -> ", subsequent_indent="     "))


def markdown_page(entries: Iterable[ErrorEntry]) -> str:
    """The registry as a Markdown page: one section per class, with the codes in the order of the registry."""
    return "\n".join(_page_lines(list(entries))) + "\n"


def _page_lines(entries: list[ErrorEntry]) -> Iterator[str]:
    yield "# Error codes"
    yield ""
    yield "<!-- Written by `make docs` from app/delivery/errors.py. Changes made here are lost. -->"
    yield ""
    yield "Dead letters, KPI rows, tickets and logs give one of these codes as the reason. A code never changes its"
    yield "meaning."
    yield "`profile-sync errors CODE` prints the meaning and what to do."
    yield ""
    yield "Some codes are marked:"
    yield ""
    yield "- † The connection or the whole service failed, not one row. The remaining calls of the attempt are not"
    yield "  made, and the circuit breaker counts the failure: `SYNC_BREAKER_FAILURES` of them in a row open it."
    yield "- ‡ Every call fails in the same way, so the breaker opens without counting. If the failures belong to one"
    yield "  or two consumers, a Retrieve is tried first; if it gets through, the breaker stays closed."
    yield "- § Either the event is at fault or every call fails. A Retrieve of a key that does not exist shows which:"
    yield "  if it gets through, the event fails; if not, the breaker opens and the event waits. A refusal that affects"
    yield "  only writes lets the Retrieve through, so it makes each event fail."
    yield ""
    yield "While the breaker is open, no event uses up an attempt."
    for error_class, (title, consequence) in CLASS_MEANINGS.items():
        members = [entry for entry in entries if entry.error_class is error_class]
        if not members:
            continue
        yield ""
        yield f"## {title} (`{error_class.value}`)"
        yield ""
        yield consequence
        yield ""
        yield "| code | meaning | what to do |"
        yield "|---|---|---|"
        for entry in members:
            mark = " ‡" if entry.every_call else " †" if entry.transport else " §" if entry.doubtful else ""
            yield f"| `{entry.code}`{mark} | {_cell(entry.meaning)} | {_cell(entry.remedy)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
