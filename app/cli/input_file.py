"""The input of a command that reads events: a file, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

from app.cli.command_errors import CommandError


@contextmanager
def open_input(file: Path | None) -> Iterator[BinaryIO]:
    """The file as bytes; standard input for ``-`` or None.

    Raises:
        BadParameter: the file does not exist.
        CommandError: the file cannot be read.
    """
    if file is None or str(file) == "-":
        if sys.stdin.isatty():
            typer.echo("Reading events from standard input; end with Ctrl-D.", err=True)
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
