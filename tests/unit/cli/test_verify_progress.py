"""`verify` shows its progress on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from app.cli.verify import progress_of


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    with progress_of(Console(file=out, force_terminal=terminal, width=80)) as progress:
        task = progress.add_task("verifying", total=None)
        progress.update(task, total=1_200)
        for _ in range(17):
            progress.advance(task)
        progress.refresh()
    return out.getvalue()


def test_a_terminal_shows_how_many_consumers_are_done() -> None:
    assert "17/1200" in shown(terminal=True)


def test_a_file_or_a_pipe_gets_none_of_it() -> None:
    assert shown(terminal=False).strip() == ""
