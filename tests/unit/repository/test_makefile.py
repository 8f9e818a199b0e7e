"""The Makefile tells what it offers, and what is missing when it cannot build the environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Not a child of the make that may have started the tests.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def targets() -> set[str]:
    (line,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(line.split())


def test_make_alone_lists_every_target() -> None:
    listed = re.findall(r"^  make (\S+) +\S", make().stdout, re.MULTILINE)
    assert set(listed) == targets()
    assert targets() >= {"setup", "demo", "test", "lint", "bench", "torture", "clean", "help"}


def test_without_a_new_enough_python_it_says_what_to_install(tmp_path: Path) -> None:
    result = make("setup", f"VENV={tmp_path / 'venv'}", "PYTHON=no-such-python")
    assert result.returncode != 0
    assert "no Python 3.11 or newer among: no-such-python" in result.stderr
    assert "apt-get install python3" in result.stderr


def test_without_ensurepip_it_says_what_to_install(tmp_path: Path) -> None:
    # Debian's python3 without python3-venv: the module is not there.
    (tmp_path / "ensurepip.py").write_text("raise ImportError('not installed')\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    result = make("setup", f"VENV={tmp_path / 'venv'}", f"PYTHON={python}")
    assert result.returncode != 0
    assert "apt-get install python3-venv" in result.stderr
    assert not (tmp_path / "venv").exists()
