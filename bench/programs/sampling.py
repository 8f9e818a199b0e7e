"""Where a process spends its processor time: what the main thread was doing at every few milliseconds of it.

A signal comes after so much processor time of the whole process (ITIMER_PROF), so a thread that waits is not seen and
a C function counts for the Python function that called it. What other threads used is measured, not sampled.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

# The kernel looks at every clock tick only, so less than some milliseconds is of no use (setitimer(2)).
EVERY_SECONDS = 0.004
# Deeper frames are the event loop's and the start of the program.
_DEPTH = 60
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def sampled(output: Path) -> Iterator[None]:
    """Sample this process, which must be in its main thread, and write what was found on leaving, as JSON:

    ``own`` and ``with_callees``: function -> samples; ``threads``: name -> processor seconds when last seen;
    ``garbage_seconds``: processor time of the garbage collector, which comes on top of whatever function was running.
    """
    own: Counter[str] = Counter()
    with_callees: Counter[str] = Counter()
    threads: dict[str, float] = {}
    names: dict[object, str] = {}

    def name(frame: FrameType) -> str:
        code = frame.f_code
        if (known := names.get(code)) is None:
            module = frame.f_globals.get("__name__", "?")
            known = names[code] = f"{module}:{code.co_firstlineno} {code.co_qualname}"
        return known

    def look(_number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        own[name(frame)] += 1
        seen: set[str] = set()
        depth: FrameType | None = frame
        while depth is not None and len(seen) < _DEPTH:
            seen.add(name(depth))
            depth = depth.f_back
        with_callees.update(seen)

    def watch() -> None:
        while not stopped.wait(0.5):
            threads.update(thread_seconds())

    garbage_seconds = began = 0.0

    def collecting(phase: str, _information: dict[str, int]) -> None:
        nonlocal garbage_seconds, began
        if phase == "start":
            began = time.thread_time()
        else:
            garbage_seconds += time.thread_time() - began

    stopped = threading.Event()
    watcher = threading.Thread(target=watch, name="samples threads", daemon=True)
    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)
    watcher.start()
    gc.callbacks.append(collecting)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.callbacks.remove(collecting)
        stopped.set()
        watcher.join()
        found = {"own": own, "with_callees": with_callees, "threads": threads, "garbage_seconds": garbage_seconds}
        output.write_text(json.dumps(found))


def thread_seconds() -> dict[str, float]:
    """Processor seconds of every thread of this process that lives now, by its Python name or else the system's."""
    python = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: dict[str, float] = defaultdict(float)
    for task in Path("/proc/self/task").iterdir():
        try:
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:  # it ended
            continue
        fields = rest.split()
        found[python.get(int(task.name), name)] += (int(fields[11]) + int(fields[12])) / _TICKS
    return dict(found)
