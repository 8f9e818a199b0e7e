"""Starts a program that must not outlive this one, not even when this one is killed with SIGKILL."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

# Runs before the program in the same process. It asks the kernel to kill the process when its parent dies
# (PR_SET_PDEATHSIG = 1, SIGKILL), then executes the program. If the parent died before that request, the parent ID has
# changed. It is a separate interpreter, not preexec_fn, because code after fork is not safe in a process with threads.
_LAUNCHER = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def spawn_bound(
    command: Sequence[str], *, output: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start ``command`` so that the kernel kills it when this process ends, however it ends.

    stdout and stderr are appended to ``output``. ``environment``: all variables of the program; without it, those of
    this process. The program gets its own process group, so Ctrl-C reaches only the parent, which then stops its
    children in the right order. Outside Linux the kernel does not kill the program; only an orderly stop ends it.

    Raises:
        OSError: the Python interpreter or ``output`` cannot be opened.
    """
    line = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
    started: Future[subprocess.Popen[bytes]] = Future()

    def run() -> None:
        try:
            with output.open("ab") as sink:
                process = subprocess.Popen(  # noqa: S603 (the caller's own command)
                    line,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                    env=environment,
                )
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()

    # The kernel sends the signal when the *thread* that started the child ends. A caller's thread may end at any time,
    # for example one of a pool, so this thread starts the child and waits for it.
    threading.Thread(target=run, name=f"waits-for-{Path(command[0]).name}", daemon=True).start()
    return started.result()


def end(process: subprocess.Popen[bytes], *, grace_seconds: float) -> None:
    """Ask the process to end (SIGTERM), and kill it if it has not ended within ``grace_seconds``."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
