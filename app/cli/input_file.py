"""Where a command reads events from: a file, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

from app.cli.failing import CommandError


@contextmanager
def opened(file: Path | None) -> Iterator[BinaryIO]:
    """The file's bytes; standard input for ``-`` or nothing.

    Raises:
        BadParameter: no such file.
        CommandError: the file cannot be read.
    """
    if file is None or str(file) == "-":
        if sys.stdin.isatty():
            typer.echo("Reading events from standard input; Ctrl-D ends it.", err=True)
        yield sys.stdin.buffer
        return
    if not file.exists() or file.is_dir():
        raise typer.BadParameter(f"no such file: {file}")
    try:
        stream = file.open("rb")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    with stream:
        yield stream
