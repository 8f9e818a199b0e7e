"""Programs bound to their parent, and folders bound to their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from app.broker import scratch_folder
from app.broker.child_process import end, spawn_bound
from app.broker.scratch_folder import ScratchFolder
from tests.support.kafka_probe import Eventually

PARENT = """
import sys, time
from pathlib import Path
from app.broker.child_process import spawn_bound
print(spawn_bound(["sleep", "600"], output=Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""

OWNER = """
import time
from app.broker.scratch_folder import ScratchFolder
folder = ScratchFolder()
print(folder.path, flush=True)
time.sleep(600)
"""


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _first_line(program: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_child_dies_with_its_killed_parent(tmp_path: Path, eventually: Eventually) -> None:
    parent, told = _first_line(PARENT, str(tmp_path / "out"))
    child = int(told)
    assert not _gone(child)

    parent.kill()
    parent.wait()

    try:
        eventually(lambda: _gone(child), "the child is gone", within=5)
    finally:
        if not _gone(child):
            os.kill(child, signal.SIGKILL)


def test_a_child_outlives_the_thread_that_asked_for_it(tmp_path: Path, eventually: Eventually) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def ask() -> None:
        started.append(spawn_bound(["sh", "-c", "echo up; exec sleep 600"], output=tmp_path / "out"))
        # Only a child that has bound itself by now could die with this thread.
        eventually(lambda: (tmp_path / "out").read_text() == "up\n", "the child is up")

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()

    (child,) = started
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.5)
    finally:
        child.kill()


def test_output_is_kept_and_the_exit_code_told(tmp_path: Path) -> None:
    child = spawn_bound(["sh", "-c", "echo out; echo err >&2; exit 3"], output=tmp_path / "out")

    assert child.wait(10) == 3
    assert (tmp_path / "out").read_text() == "out\nerr\n"


def test_a_process_that_does_not_end_on_request_is_killed(tmp_path: Path, eventually: Eventually) -> None:
    stubborn = "trap '' TERM; echo up; while :; do sleep 1; done"
    child = spawn_bound(["sh", "-c", stubborn], output=tmp_path / "out")
    eventually(lambda: (tmp_path / "out").read_text() == "up\n", "it ignores the request")

    end(child, grace_seconds=0.2)

    assert child.returncode == -signal.SIGKILL


def test_output_that_cannot_be_written_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn_bound(["true"], output=tmp_path / "missing" / "out")


def test_a_folder_of_a_killed_owner_goes_when_the_next_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch_folder, "_NEW_SECONDS", 0.0)
    owner, told = _first_line(OWNER)
    try:
        mine = ScratchFolder()
        assert Path(told).is_dir(), "its owner lives"
    finally:
        owner.kill()
        owner.wait()

    another = ScratchFolder()

    assert not Path(told).exists()
    assert mine.path.is_dir()
    for folder in (mine, another):
        folder.remove()
    assert list(tmp_path.iterdir()) == []
