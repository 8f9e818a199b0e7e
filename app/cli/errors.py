"""`profile-sync errors`: what an error code means and what to do, and the page that `make docs` writes from it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from textwrap import fill
from typing import Annotated

import typer

from app.cli.failing import CommandError, reported_failures
from app.cli.output import COLUMNS
from app.delivery.errors import REGISTRY, ErrorClass, ErrorEntry

CLASS_MEANINGS: dict[ErrorClass, tuple[str, str]] = {
    ErrorClass.INVALID: (
        "The event itself cannot be worked on",
        "Not tried again: the event goes to the dead-letter topic at once and counts as `invalid`.",
    ),
    ErrorClass.TRANSIENT: (
        "May pass by itself",
        "The consumer is parked and the event tried again, up to `SYNC_MAX_ATTEMPTS` times.",
    ),
    ErrorClass.THROTTLED: (
        "Too fast",
        "As transient; a `Retry-After` is honoured.",
    ),
    ErrorClass.AUTH: (
        "Token or credentials",
        "Meets every event alike, so the circuit breaker opens and events wait until the credentials are mended; "
        "without a breaker (`SYNC_BREAKER_FAILURES=0`) as transient. An expired token is not an error: it is "
        "refreshed and the call repeated, without costing an attempt.",
    ),
    ErrorClass.PERMANENT: (
        "The same call will fail again",
        "Not tried again: the outcome is decided at once; for codes marked §, after the Retrieve that is named above.",
    ),
}


def errors(
    code: Annotated[str | None, typer.Argument(help="One code, e.g. CMT-RATE-LIMITED; all without it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/errors.md.")] = False,
) -> None:
    """What an error code means, whether it is retried, and what to do about it."""
    with reported_failures():
        if code is not None and code.upper() not in REGISTRY:
            raise CommandError(no_such_code(code))
    entries = list(REGISTRY.values()) if code is None else [REGISTRY[code.upper()]]
    if as_json:
        typer.echo(json.dumps({"errors": [_document(entry) for entry in entries]}, indent=2))
    elif as_markdown:
        typer.echo(markdown_page(entries), nl=False)
    else:
        _show(entries)


def no_such_code(code: str) -> str:
    """What is said of a code that there is not: the nearest ones.

    >>> no_such_code("EVENT_SCHEMA")
    'There is no error code EVENT_SCHEMA; did you mean EVENT-SCHEMA? `profile-sync errors` lists them all.'
    >>> no_such_code("x")
    'There is no error code x; `profile-sync errors` lists them all.'
    """
    near = difflib.get_close_matches(code.upper(), REGISTRY, n=3, cutoff=0.6)
    # A word of a code, such as TIMEOUT, is near to none as a whole.
    near = near or [known for known in REGISTRY if len(code) > 2 and code.upper() in known][:3]
    meant = f" did you mean {', '.join(near[:-1]) + ' or ' if near[1:] else ''}{near[-1]}?" if near else ""
    return f"There is no error code {code};{meant} `profile-sync errors` lists them all."


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
    """Code and class, with the texts below: side by side they would leave each other no room."""
    for entry in entries:
        typer.echo(f"{entry.code}  ({entry.error_class.value})")
        typer.echo(fill(entry.meaning, COLUMNS, initial_indent="  ", subsequent_indent="  "))
        typer.echo(fill(entry.remedy, COLUMNS, initial_indent="  -> ", subsequent_indent="     "))


def markdown_page(entries: Iterable[ErrorEntry]) -> str:
    """The registry as a Markdown page: one section per class, codes in the order of the registry."""
    return "\n".join(_page_lines(list(entries))) + "\n"


def _page_lines(entries: list[ErrorEntry]) -> Iterator[str]:
    yield "# Error codes"
    yield ""
    yield "<!-- Written by `make docs` from app/delivery/errors.py. Changes made here are lost. -->"
    yield ""
    yield "A code stands in the reason of a dead letter, in KPI rows, tickets and logs, and never changes its meaning."
    yield "`profile-sync errors CODE` shows the same on the command line."
    yield ""
    yield "Codes marked † are about the connection or the service as a whole, not about one row: the remaining calls of"
    yield "the attempt are left out, and the circuit breaker counts them (`SYNC_BREAKER_FAILURES` in a row open it)."
    yield "Those marked ‡ meet every call alike: it opens at once. While it is open no event uses up an attempt."
    yield "Those marked § may be the event's own fault or may meet every call. A Retrieve of a key that nobody has is"
    yield "tried: if it gets through, the event fails; if not, the circuit breaker opens and the event waits. So a"
    yield "refusal that meets writes only makes each event fail by itself."
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
