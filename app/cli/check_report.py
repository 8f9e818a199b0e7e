"""What ``profile-sync check`` prints. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from app import __version__
from app.cli.output import COLUMNS, printable
from app.delivery.installation import CheckLine, PartState, wrong_parts
from app.delivery.pipeline import Pipeline

_STATE_COLUMN = 16
# A command at the end of a remedy stays on one line, so that it can be copied.
_COMMAND = re.compile(r"(?P<text>.*(?:: |\bor |^))(?P<command>(?:profile-sync|kafka-[a-z-]+\.sh) [^;]+)", re.DOTALL)


def report(lines: Sequence[CheckLine]) -> Iterator[str]:
    """The lines of the screen, 80 columns wide. A longer text continues on the next line, commands are not broken."""
    for line in lines:
        state = line.state.upper() if line.state is PartState.WRONG else line.state
        yield from _wrapped(state, f"{line.what}: {printable(line.message)}")
        yield from _remedy(printable(line.remedy))
    number = wrong_parts(lines)
    yield ""
    yield "All is well." if not number else f"{number} {'thing is' if number == 1 else 'things are'} wrong."


def document(pipeline: Pipeline | None, lines: Sequence[CheckLine]) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "version": __version__,
        "flow": None if pipeline is None else pipeline.name,
        "topic": None if pipeline is None else pipeline.topic,
        "group": None if pipeline is None else pipeline.group,
        "ok": not wrong_parts(lines),
        "checks": [
            {
                "part": _camel(line.part),
                "subject": line.subject or None,
                "account": line.account or None,
                "state": _camel(line.state),
                "message": line.message,
                "remedy": line.remedy or None,
            }
            for line in lines
        ],
    }


def _camel(words: str) -> str:
    """A name as JSON has it.

    >>> _camel("data extension"), _camel("ServiceNow"), _camel("ok")
    ('dataExtension', 'serviceNow', 'ok')
    """
    first, *others = words.split()
    return first[0].lower() + first[1:] + "".join(other.capitalize() for other in others)


def _remedy(text: str) -> Iterator[str]:
    found = _COMMAND.fullmatch(text)
    if found is None:
        yield from _wrapped("", text)
    else:
        yield from _wrapped("", found["text"].rstrip())
        yield " " * _STATE_COLUMN + found["command"]


def _wrapped(name: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=f"{name:<{_STATE_COLUMN}}",
        subsequent_indent=" " * _STATE_COLUMN,
        break_on_hyphens=False,
    )
