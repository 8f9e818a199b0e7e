"""Observes a running program from outside: how far it is and what it uses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

# Twenty looks per second disturb nothing, and are enough for a run of two seconds.
LOOK_SECONDS = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")
# Before the first mark, connections are opened and code warms up; after the second, lanes run out of work.
STEADY_FROM, STEADY_TO = 0.1, 0.95


class NotDone(Exception):
    """A program ended, or did not finish in time."""


@dataclass(frozen=True, slots=True)
class Look:
    """One observation.

    ``seconds``: of a monotonic clock. ``done``: finished events. ``cpu_seconds``: user and system time of all threads.
    ``stolen_seconds``: see the function of that name.
    """

    seconds: float
    done: int
    cpu_seconds: float
    stolen_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Steady:
    """The part of a run at full speed; CPU in milliseconds. ``stolen``: the share of a core's time, at most 1.0."""

    events_per_second: float
    cpu_ms_per_event: float
    stolen: float


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads (proc(5), stat); resolution 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def stolen_seconds() -> float:
    """Time since the start in which a hypervisor gave this machine's busy cores to others (proc(5), stat: steal).

    It is 0 on physical machines.
    """
    return int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / _TICKS


def resident_mb(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process, or its peak (VmHWM), MB of 10^6 bytes (proc(5), status)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise NotDone(f"process {pid} has ended")


def watch(
    processes: Sequence[Popen[bytes]], log: Path, answered: Callable[[], int], total: int, within: float
) -> list[Look]:
    """Observe the processes until together they have finished ``total`` events.

    Raises:
        NotDone: a program ended or was too slow; the message has the end of its log.
    """
    looks: list[Look] = []
    deadline = time.monotonic() + within
    while not looks or looks[-1].done < total:
        codes = [process.returncode for process in processes if process.poll() is not None]
        if codes or time.monotonic() > deadline:
            ended = f"ended with exit code {codes[0]}" if codes else "was not done"
            done = looks[-1].done if looks else 0
            raise NotDone(f"{ended} after {done} of {total} events and at most {within:g} s\n{log_tail(log)}")
        used = sum(cpu_seconds(process.pid) for process in processes)
        looks.append(Look(time.monotonic(), answered(), used, stolen_seconds()))
        time.sleep(LOOK_SECONDS)
    return looks


def steady(looks: Sequence[Look], total: int) -> Steady:
    """The part between the first look with a tenth of the events finished and the last look before the end is near.

    Raises:
        NotDone: too few events were seen in between.
    """
    part = [look for look in looks if STEADY_FROM * total <= look.done <= STEADY_TO * total]
    if len(part) < 2 or part[-1].done == part[0].done:
        raise NotDone(f"{total} events were done too soon to be measured; give more")
    first, last = part[0], part[-1]
    done, seconds = last.done - first.done, last.seconds - first.seconds
    return Steady(
        done / seconds,
        (last.cpu_seconds - first.cpu_seconds) / done * 1e3,
        (last.stolen_seconds - first.stolen_seconds) / seconds,
    )


def log_tail(log: Path, lines: int = 15) -> str:
    """The last lines of a program's log."""
    return "\n".join(log.read_text(errors="replace").strip().splitlines()[-lines:]) or "(it said nothing)"
