"""The program's command line, as documents and files name it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import typer.main
from typer.core import TyperGroup

from app.cli import cli

PROGRAM = typer.main.get_command(cli)
CALL = re.compile(r"(?<![=\w-])(?:profile-sync|python -m app) +([^|)&;\n>]+)")


def registered(group: TyperGroup = PROGRAM, prefix: str = "") -> Iterator[str]:
    """All commands, such as ``topics create``, without hidden ones."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from registered(command, f"{name} ")
        elif not command.hidden:
            yield f"{prefix}{name}"


def calls_in(text: str) -> list[str]:
    """The arguments of every ``profile-sync ...`` in some shell text."""
    return [" ".join(call.split(" #")[0].split()) for call in CALL.findall(text.replace("\\\n", " "))]


def assert_understood(arguments: str) -> None:
    """Fails unless there is such a command and it takes these options."""
    command, words = PROGRAM, shlex.split(arguments)
    while isinstance(command, TyperGroup):
        assert words and words[0] in command.commands, f"there is no profile-sync {arguments}"
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words).close()
