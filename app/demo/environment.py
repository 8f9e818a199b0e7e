"""The environment of the demo's processes, and the command lines that it prints. Pure."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path

# The prefixes of all variables that a worker reads. The demo removes them, because they may name a real system.
_OURS = ("KAFKA_", "CMT_", "SYNC_", "SERVICENOW_", "WEB_", "KPI_", "LOG_", "DATA_DIR")

# Short, so that a killed worker is noticed soon. The session timeout must exceed the timeout of a call.
SESSION_SECONDS = 10
CALL_SECONDS = 5
# Short, because a person is watching: retries, probes of a target that was down, and notes of an incident come soon.
BACKOFF_BASE_SECONDS = 0.2
PROBE_SECONDS = 1
NOTE_EVERY_SECONDS = 10

_PROGRAM = "profile-sync"


def without_own_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without the variables that this program reads, in upper or lower case."""
    return {name: value for name, value in environment.items() if not name.upper().startswith(_OURS)}


def with_python_path(environment: Mapping[str, str], package_parent: Path, installed_in: Path) -> dict[str, str]:
    """The environment with PYTHONPATH set, if a child process would not find this program otherwise.

    Child processes do not search the working directory, which may hold a foreign ``app``. ``installed_in``: the folder
    that every interpreter searches.
    """
    if package_parent == installed_in:
        return dict(environment)
    others = environment.get("PYTHONPATH")
    places = [str(package_parent), *([others] if others else [])]
    return {**environment, "PYTHONPATH": os.path.pathsep.join(places)}


def worker_variables(bootstrap_servers: str, simulator: Mapping[str, str], web_port: int, data: Path) -> dict[str, str]:
    """The variables of a demo worker. ``simulator``: those that the simulator announces."""
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


def command_to_run(called_as: str, interpreter: str, found_on_path: str | None, here: Path) -> str:
    """The command that starts this program from the current folder.

    ``called_as``: ``sys.argv[0]``. ``found_on_path``: where the shell finds ``profile-sync``, if anywhere.

    >>> command_to_run(".venv/bin/profile-sync", "/p/.venv/bin/python", None, Path("/p"))
    '.venv/bin/profile-sync'
    >>> command_to_run("/p/app/__main__.py", "/p/.venv/bin/python", None, Path("/p"))
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
        f"{program} sample --events 500 --seed 7 |",  # the shell then reads the next line
        f"  {program} publish",
    )


def lines_after_an_outage(program: str, bootstrap_servers: str, simulator: str, consumer_id: str) -> Sequence[str]:
    """Lines for another terminal: the environment, then three commands. ``consumer_id``: of one that had to wait."""
    return (
        f"export KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}",
        f"{program} kpi",
        f"{program} consumer {consumer_id}",
        f"curl -sS {simulator}/_sim/incidents | python3 -m json.tool",
    )


def lines_after_a_repair(program: str, bootstrap_servers: str, simulator: str, letter: str) -> Sequence[str]:
    """Lines for another terminal: the environment, then the commands of a night. ``letter``: the ID of a dead letter;
    "": none is known yet."""
    return (
        f"export KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}",
        f"{program} dlq stats",
        f"{program} dlq tasks",
        *([f"{program} dlq show {letter}"] if letter else [f"{program} dlq list --status all"]),
        f"{program} kpi --by outcome",
        f"curl -sS {simulator}/_sim/incidents | python3 -m json.tool",
    )


def _absolute(path: str, here: Path) -> str:
    return os.path.normpath(here / path)


def _short(path: str, here: Path) -> str:
    whole = Path(_absolute(path, here))
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)
