"""The commands in README and docs are the ones that the program has, with options that it takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from app.cli import cli

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(?:bash|console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"(?<![=\w-])(?:profile-sync|python -m app) +([^|)&;\n>]+)")
PROGRAM = typer.main.get_command(cli)


def registered(group: TyperGroup = PROGRAM, prefix: str = "") -> Iterator[str]:
    """All commands, ``topics create`` as such; hidden ones are nobody's business."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from registered(command, f"{name} ")
        elif not command.hidden:
            yield f"{prefix}{name}"


def table_of_commands() -> set[str]:
    section = (ROOT / "README.md").read_text().split("\n## Commands\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def invocations() -> list[tuple[str, str]]:
    """(page, arguments) of every ``profile-sync ...`` in a code block."""
    return [(page, " ".join(call.split(" #")[0].split())) for page in PAGES for call in CALL.findall(_code(page))]


def _code(page: str) -> str:
    return "\n".join(BLOCK.findall((ROOT / page).read_text())).replace("\\\n", " ")


def test_the_table_names_every_command_and_no_other() -> None:
    assert table_of_commands() == set(registered())


@pytest.mark.parametrize(("page", "arguments"), invocations())
def test_a_documented_call_is_understood(page: str, arguments: str) -> None:
    command, words = PROGRAM, shlex.split(arguments)
    while isinstance(command, TyperGroup):
        assert words and words[0] in command.commands, f"{page}: profile-sync {arguments}"
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words).close()


def test_the_pages_have_calls_to_look_at() -> None:
    assert len(invocations()) > 5
