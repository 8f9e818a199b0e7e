"""Whether a name in a filter can exist, and which one was meant. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from app.delivery.errors import REGISTRY

# A message repeats at most this much of what was typed.
_SHOWN = 80


def no_such_code(code: str) -> str:
    """The message for an unknown error code; it names the nearest known ones.

    >>> no_such_code("EVENT_SCHEMA")
    'There is no error code EVENT_SCHEMA; did you mean EVENT-SCHEMA? `profile-sync errors` lists them all.'
    >>> no_such_code("x")
    'There is no error code x; `profile-sync errors` lists them all.'
    """
    near = nearest(code.upper(), REGISTRY)
    # A single word of a code, such as TIMEOUT, is not close to any whole code.
    near = near or [known for known in REGISTRY if len(code) > 2 and code.upper() in known][:3]
    meant = f" did you mean {_either(near)}?" if near else ""
    return f"There is no error code {code[:_SHOWN]};{meant} `profile-sync errors` lists them all."


def no_such_name(what: str, name: str, known: Collection[str]) -> str:
    """The message for another unknown name.

    >>> no_such_name("entity", "consumr", ("consumer", "pet"))
    'There is no entity consumr; did you mean consumer?'
    >>> no_such_name("operation", "x", ("NEW", "UPDATE"))
    'There is no operation x; known are NEW and UPDATE.'
    """
    folded = {one.casefold(): one for one in known}
    near = [folded[one] for one in nearest(name.casefold(), folded)]
    if near:
        return f"There is no {what} {name[:_SHOWN]}; did you mean {_either(near)}?"
    *others, last = known
    return f"There is no {what} {name[:_SHOWN]}; known are {', '.join(others)} and {last}."


def nearest(name: str, known: Collection[str]) -> list[str]:
    """The known name that is almost the same, or at most three that look like it."""
    name = name[:_SHOWN]
    almost = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
    return almost or difflib.get_close_matches(name, known, n=3, cutoff=0.6)


def _either(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if names[1:] else names[0]
