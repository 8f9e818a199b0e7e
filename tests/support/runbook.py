"""The commands of the runbook, ``docs/operations.md``, section by section."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
_BLOCK = re.compile(r"^```(?:bash|console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# Commands of other programs, which the tests do not have. They are parsed only.
NOT_RUN = ("kafka-configs.sh ",)


def sections() -> dict[str, list[str]]:
    """Heading -> the commands below it, in their order. What comes before the first section is called "start"."""
    parts = re.split(r"^#{2,3} (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    named = [("start", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    found = {name: "".join(_BLOCK.findall(text)).replace("\\\n", " ").splitlines() for name, text in named}
    return {name: [line for line in lines if line.strip()] for name, lines in found.items() if lines}


def inline_calls() -> list[str]:
    """The arguments of every ``profile-sync`` in the text outside of blocks."""
    return re.findall(r"`profile-sync ([^`]+)`", _BLOCK.sub("", PAGE.read_text()))
