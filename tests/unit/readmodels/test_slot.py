"""Several workers share a folder, each with a file of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.readmodels.slot import SlotError, take_slot


def test_each_takes_the_first_free_file_and_gives_it_back(tmp_path: Path) -> None:
    first, second = take_slot(tmp_path / "new"), take_slot(tmp_path / "new")
    assert [first.path.name, second.path.name] == ["readmodel-0.sqlite", "readmodel-1.sqlite"]
    first.release()
    third = take_slot(tmp_path / "new")
    assert third.path == first.path
    second.release()
    third.release()


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from app.readmodels.slot import take_slot\n"
        "print(take_slot(pathlib.Path(sys.argv[1])).path.name, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "readmodel-0.sqlite"
        mine = take_slot(tmp_path)
        assert mine.path.name == "readmodel-1.sqlite"
        mine.release()
    finally:
        other.kill()
        other.communicate(timeout=30)
    mine = take_slot(tmp_path)
    assert mine.path.name == "readmodel-0.sqlite"
    mine.release()


def test_a_folder_that_cannot_be_used_says_which_and_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SlotError, match=r"DATA_DIR .*file/sub"):
        take_slot(tmp_path / "file" / "sub")


def test_a_lock_is_not_inherited_by_the_children_of_a_worker(tmp_path: Path) -> None:
    slot = take_slot(tmp_path)
    assert not os.get_inheritable(slot.lock)
    slot.release()
