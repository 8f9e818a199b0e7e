"""What the demo shows fits 80 columns and can be read without colours."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from app.demo.clients import SimulatorStats, Totals
from app.demo.progress import ProgressSnapshot
from app.demo.show import LINE_SECONDS, Show, line, table

MANY = ProgressSnapshot(
    wanted=99_999,
    sent=99_999,
    totals=Totals(synced=88_888, partial=5_555, failed=5_555, invalid=1, superseded=1, discarded=1, events=99_999),
    dead_letters=5_556,
    stats=SimulatorStats(calls=12_345_678, incidents=12),
    calls_per_second=12_345.6,
    breakers_open=8,
)
NONE = ProgressSnapshot(2000, 0, Totals(), 0, SimulatorStats(), 0.0)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def console(**options: object) -> Console:
    return Console(file=io.StringIO(), width=80, **options)  # type: ignore[arg-type]


def written(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


@pytest.mark.parametrize("snapshot", [MANY, NONE])
def test_the_table_fits_80_columns_and_cuts_nothing(snapshot: ProgressSnapshot) -> None:
    plain = console()
    plain.print(table(snapshot))
    lines = written(plain).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in written(plain)


def test_the_table_tells_every_number() -> None:
    plain = console()
    plain.print(table(MANY))
    for text in ("99,999/99,999", "88,888", "5,555", "5,556", "12,345,678", "12,346 a second"):
        assert text in written(plain)


def test_an_open_breaker_is_shown_and_a_closed_one_is_not() -> None:
    for shown in (table, line):
        opened, closed = console(), console()
        opened.print(shown(MANY))
        closed.print(shown(NONE))
        assert "breaker" in written(opened)
        assert "breaker" not in written(closed)


def test_outcomes_that_never_happened_and_hardly_do_are_left_out() -> None:
    plain = console()
    plain.print(table(NONE))
    assert "failed" in written(plain)
    assert "superseded" not in written(plain)


def test_no_color_leaves_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = console(force_terminal=True)
    shown.print(table(MANY))
    colours = [code for code in COLOUR.findall(written(shown)) if re.search(r"\b(3[0-8]|9[0-7])\b", code)]
    assert colours == []
    assert "88,888" in written(shown)


def test_the_line_fits_80_columns_with_thousands_of_events() -> None:
    thousands = Totals(synced=8_888, partial=555, failed=556, events=9_999, parked=999)
    assert len(line(ProgressSnapshot(9_999, 9_999, thousands, 0, SimulatorStats(), 9_999.0))) <= 80


def test_the_line_tells_what_matters() -> None:
    assert "99999/99999 done: 88888 synced, 5555 partial, 5556 failed" in line(MANY)


def test_without_a_terminal_a_line_is_written_now_and_then() -> None:
    plain = console()
    show = Show(plain)
    with show.watching():
        show.update(NONE, 100.0)
        show.update(MANY, 100.5)
        assert written(plain) == f"{line(NONE)}\n"
        show.update(MANY, 100.0 + LINE_SECONDS)
    assert written(plain).splitlines() == [line(NONE), line(MANY)]


def test_without_a_terminal_nothing_is_said_twice_and_the_end_at_once() -> None:
    plain = console()
    show = Show(plain)
    show.update(NONE, 100.0)
    show.update(NONE, 200.0)
    show.update(MANY, 200.1, last=True)
    assert written(plain).splitlines() == [line(NONE), line(MANY)]


def test_addresses_and_log_lines_are_not_broken_in_two_nor_taken_for_markup() -> None:
    plain = console()
    path = "/very-long-folder/" + "x" * 100
    Show(plain).facts([("logs", path)])
    Show(plain).log_tail("worker 1", f"[info] [bold]{path}")
    assert f"logs          {path}\n" in written(plain)
    assert f"  [info] [bold]{path}\n" in written(plain)
