"""The demo's output, 80 columns wide: a live table on a terminal, otherwise a line at intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from app.demo.progress import ProgressSnapshot

# The time between two lines without a terminal.
LINE_SECONDS = 3.0
_LABEL_WIDTH = 14
_NUMBER_WIDTH = 17
_BAR_WIDTH = 44
# Outcome, meaning, and the colour of numbers above 0. Colours only repeat what the words say.
_OUTCOMES = (
    ("synced", "everything written", "green"),
    ("partial", "parent written, an entity row refused", "yellow"),
    ("failed", "given up: dead letter, incident", "red"),
    ("invalid", "not an event", "red"),
    ("superseded", "replaced by a later event", ""),
    ("discarded", "given up by an operator", ""),
)


class Show:
    """Writes to one console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._moving = console.is_terminal and not console.is_dumb_terminal
        self._live: Live | None = None
        self._line_at: float | None = None
        self._line = ""

    def say(self, text: str, style: str = "") -> None:
        """Print a line of text without wrapping it, so that addresses and commands can be copied."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def say_at(self, seconds: float, text: str, style: str = "bold") -> None:
        """Print a report of a scenario. ``seconds``: since events began to flow."""
        self.say(f"{seconds:6.1f} s  {text}", style)

    def log_tail(self, name: str, text: str) -> None:
        """Print the end of a program's log."""
        self.say(f"The log of the {name} ends with:", "bold")
        self.say("\n".join(f"  {line}" for line in text.splitlines()), "dim")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show that a step is in progress, for the length of a ``with`` block."""
        if not self._moving:
            self.say(text)
            yield
            return
        with self.console.status(text):
            yield

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names and values, one pair per line."""
        for name, value in rows:
            self.console.print(Text.assemble((f"  {name:<{_LABEL_WIDTH}}", "bold"), value), soft_wrap=True)

    def commands(self, lines: Sequence[str], heading: str = "In another terminal:") -> None:
        """Print lines to copy into another terminal."""
        self.say(f"\n{heading}", "bold")
        self.say("\n".join(f"  {line}" for line in lines) + "\n", "cyan")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the live table on the screen, for the length of a ``with`` block that calls ``update``."""
        if not self._moving:
            yield
            return
        with Live(console=self.console, auto_refresh=False) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def update(self, snapshot: ProgressSnapshot, now: float, *, last: bool = False) -> None:
        """Show the progress. ``now``: in seconds. ``last``: print a line even if the previous one is recent."""
        if self._live is not None:
            self._live.update(table(snapshot), refresh=True)
            return
        text = line(snapshot)
        due = self._line_at is None or now - self._line_at >= LINE_SECONDS
        if text != self._line and (due or last):
            self._line_at, self._line = now, text
            self.say(text)


def line(snapshot: ProgressSnapshot) -> str:
    """The progress in one line; 80 columns are enough for thousands of events."""
    totals = snapshot.totals
    if snapshot.backlog:
        return _backlog_line(snapshot)
    pace = "breaker open" if snapshot.breakers_open else f"{snapshot.calls_per_second:.0f} calls/s"
    return (
        f"{totals.events}/{snapshot.wanted} done: {totals.synced} synced, {totals.partial} partial, "
        f"{totals.failed + totals.invalid} failed; {totals.parked} parked; {pace}"
    )


def _backlog_line(snapshot: ProgressSnapshot) -> str:
    totals = snapshot.totals
    pace = "breaker open" if snapshot.breakers_open else f"{snapshot.calls_per_second:.0f} calls/s"
    return (
        f"{totals.events}/{snapshot.wanted} done, {snapshot.waiting} wait ({totals.parked} parked), "
        f"{snapshot.dead_letters} dead letters; {pace}"
    )


def table(snapshot: ProgressSnapshot) -> Group:
    """The live table."""
    totals = snapshot.totals
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=_LABEL_WIDTH)
    grid.add_column(width=_NUMBER_WIDTH, justify="right")
    grid.add_column(overflow="ellipsis", no_wrap=True)

    def add(name: str, number: str, note: str = "", style: str = "") -> None:
        grid.add_row(Text(name, style=style), Text(number, style=style), Text(note, style="dim"))

    for name, meaning, style in _OUTCOMES:
        number: int = getattr(totals, name)
        if number or name in ("synced", "partial", "failed"):
            add(f"  {name}", f"{number:,}", meaning, style if number else "dim")
    if snapshot.backlog:
        add("waiting", f"{snapshot.waiting:,}", "published, not settled yet")
    add("parked", f"{totals.parked:,}", "waiting in the retry topic", "yellow" if totals.parked else "")
    letters = snapshot.dead_letters if snapshot.open_letters is None else snapshot.open_letters
    add("dead letters", f"{letters:,}", "for an operator to look at")
    add("SOAP calls", f"{snapshot.stats.calls:,}", f"{snapshot.calls_per_second:,.0f} a second")
    add("incidents", f"{snapshot.stats.incidents:,}", "in ServiceNow")
    if snapshot.breakers_open:
        add("breakers open", f"{snapshot.breakers_open:,}", "a few events probe, the rest wait", "red")
    bars = Table.grid(padding=(0, 2, 0, 0))
    bars.add_column(width=_LABEL_WIDTH)
    bars.add_column(width=_BAR_WIDTH)
    bars.add_column(no_wrap=True)
    for name, number in (("published", snapshot.sent), ("settled", totals.events)):
        bar = ProgressBar(total=max(snapshot.wanted, 1), completed=min(number, snapshot.wanted), width=_BAR_WIDTH)
        bars.add_row(Text(name), bar, f"{number:,}/{snapshot.wanted:,}")
    # The right edge stays free: otherwise the ^C that the terminal prints would begin a new line.
    above = 1 if snapshot.backlog else 0  # an empty line below the reports of the scenario
    return Group(Padding(bars, (above, 0, 1, 2), expand=False), Padding(grid, (0, 0, 0, 2), expand=False))
