"""How commands print: 80 columns unless the terminal is wider, nothing cut off, and no control characters."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import wrap

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# The width of the narrowest usual terminal; also used for pipes and files.
COLUMNS = 80
# Unicode categories of control and format characters (escape sequences, right-to-left marks), surrogates, separators.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: object) -> str:
    """A foreign text, safe for a terminal: control characters are written as escapes.

    >>> print(printable("e-1\\x1b[2J"), printable("Zoë"))
    e-1\\x1b[2J Zoë
    """
    given = str(text)
    if given.isascii() and given.isprintable():
        return given
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _OBEYED else character
        for character in given
    )


def console() -> Console:
    """A console for standard output, as wide as the terminal or ``COLUMNS``; without both, 80 columns."""
    out = Console(highlight=False)
    if not out.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        out.width = COLUMNS
    return out


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None, numbers: Sequence[str] = ()
) -> None:
    """Print a table. A text that is wider than its column continues on the next line.

    Args:
        numbers: names of the columns to align right.
    """
    # Narrow gaps, because the eight columns of `kpi` must fit into 80 characters.
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=None if title is None else Text(printable(title)),
        title_justify="left",
    )
    for name in columns:
        table.add_column(Text(name), overflow="fold", justify="right" if name in numbers else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    if table.row_count:
        console().print(table)


def show_facts(title: str | None, entries: Iterable[Sequence[tuple[str, object]]]) -> None:
    """Print entries that are too long for a table: each begins a new line and continues, indented, on the next ones.

    A word is broken only when it is longer than a line.
    """
    for number, entry in enumerate(entries):
        if number == 0 and title is not None:
            typer.echo(f"\n{title}")
        line = " "
        for name, value in entry:
            fact = f"{name} {printable(value)}" if name else printable(value)
            if len(line) + 2 + len(fact) > COLUMNS and line.strip():
                typer.echo(line)
                line = "   "
            first, *more = wrap(fact, COLUMNS - 4, break_on_hyphens=False) or [""]
            line += f"  {first}" if line.strip() else f" {first}"
            for piece in more:
                typer.echo(line)
                line = f"    {piece}"
        typer.echo(line)


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Show on standard error what the command waits for; nothing when standard error is not a terminal.

    The block gets a function that shows another text.
    """
    err = Console(stderr=True)
    if not err.is_terminal:
        yield lambda _: None
        return
    with err.status(what) as shown:
        yield lambda text: shown.update(text)
