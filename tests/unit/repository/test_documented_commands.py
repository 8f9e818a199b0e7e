"""The commands in README and docs are the ones that the program has, with options that it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.repository.command_line import assert_understood, calls_in, registered

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(?:bash|console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def described() -> list[str]:
    page = (ROOT / "docs" / "commands.md").read_text()
    return [re.sub(r" \[?[A-Z].*", "", heading) for heading in re.findall(r"^## `([^`]+)`$", page, re.MULTILINE)]


def invocations() -> list[tuple[str, str]]:
    """(page, arguments) of every ``profile-sync ...`` in a code block."""
    return [(page, call) for page in PAGES for call in calls_in("\n".join(BLOCK.findall((ROOT / page).read_text())))]


def test_the_page_describes_every_command_and_no_other() -> None:
    assert described() == list(registered())


@pytest.mark.parametrize(("page", "arguments"), invocations())
def test_a_documented_call_is_understood(page: str, arguments: str) -> None:
    assert_understood(arguments)


def test_the_pages_have_calls_to_look_at() -> None:
    assert len(invocations()) > 5
