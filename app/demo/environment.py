"""The environment of the demo's processes, and how to call this program. Pure."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path

# Everything a worker reads begins so. What the caller's shell says about a real system must not reach the demo.
_OURS = ("KAFKA_", "CMT_", "SYNC_", "SERVICENOW_", "WEB_", "KPI_", "LOG_", "DATA_DIR")

# A worker that is killed is missed soon. It must exceed the timeout of a call.
SESSION_SECONDS = 10
CALL_SECONDS = 5
# Somebody is watching: what failed is tried again soon, so is a target that was down, and a ticket grows by notes.
BACKOFF_BASE_SECONDS = 0.2
PROBE_SECONDS = 1
NOTE_EVERY_SECONDS = 10

_PROGRAM = "profile-sync"


def foreign_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without any variable of ours; settings are read regardless of case."""
    return {name: value for name, value in environment.items() if not name.upper().startswith(_OURS)}


def importable(environment: Mapping[str, str], package_parent: Path, installed_in: Path) -> dict[str, str]:
    """With a place to import this program from, when a child does not find it by itself.

    Children do not look into the working directory: somebody else's ``app`` may be there. ``installed_in`` is where
    every interpreter looks.
    """
    if package_parent == installed_in:
        return dict(environment)
    others = environment.get("PYTHONPATH")
    places = [str(package_parent), *([others] if others else [])]
    return {**environment, "PYTHONPATH": os.path.pathsep.join(places)}


def worker_variables(bootstrap_servers: str, simulator: Mapping[str, str], web_port: int, data: Path) -> dict[str, str]:
    """What makes a worker of the demo. ``simulator``: what it says its clients need."""
    return {
        **simulator,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
        "CMT_TIMEOUT_SECONDS": str(CALL_SECONDS),
        "SYNC_BACKOFF_BASE_SECONDS": str(BACKOFF_BASE_SECONDS),
        "SYNC_BREAKER_PROBE_SECONDS": str(PROBE_SECONDS),
        "SERVICENOW_NOTE_EVERY_SECONDS": str(NOTE_EVERY_SECONDS),
        "WEB_HOST": "127.0.0.1",
        "WEB_PORT": str(web_port),
        "WEB_AUTH": "off",
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "console",
        "DATA_DIR": str(data),
    }


def invocation(called_as: str, interpreter: str, found_on_path: str | None, here: Path) -> str:
    """What to type to call this program again.

    ``called_as``: ``sys.argv[0]``; ``found_on_path``: where the shell finds ``profile-sync``, if it does.

    >>> invocation(".venv/bin/profile-sync", "/p/.venv/bin/python", None, Path("/p"))
    '.venv/bin/profile-sync'
    >>> invocation("/p/app/__main__.py", "/p/.venv/bin/python", None, Path("/p"))
    '.venv/bin/python -m app'
    """
    if Path(called_as).name != _PROGRAM:
        return f"{_short(interpreter, here)} -m app"
    if found_on_path is not None and _absolute(found_on_path, here) == _absolute(called_as, here):
        return _PROGRAM
    return _short(called_as, here)


def lines_to_try(program: str, bootstrap_servers: str, consumer_id: str) -> Sequence[str]:
    """Lines for another terminal: the environment, then three commands."""
    return (
        f"export KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}",
        f"{program} kpi",
        f"{program} consumer {consumer_id}",
        f"{program} sample --events 500 --seed 7 |",  # a shell reads on after it
        f"  {program} publish",
    )


def lines_after_an_outage(program: str, bootstrap_servers: str, simulator: str, consumer_id: str) -> Sequence[str]:
    """Lines for another terminal: the environment, then three commands. ``consumer_id``: one that had to wait."""
    return (
        f"export KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}",
        f"{program} kpi",
        f"{program} consumer {consumer_id}",
        f"curl -sS {simulator}/_sim/incidents | python3 -m json.tool",
    )


def _absolute(path: str, here: Path) -> str:
    return os.path.normpath(here / path)


def _short(path: str, here: Path) -> str:
    whole = Path(_absolute(path, here))
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)
