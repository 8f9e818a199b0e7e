"""What must not stand in the repository: paths of one machine, and hosts of package registries."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+|tmp/\w+)\b/?"),
    "the host of a package registry": re.compile(
        r"\b(?:pypi|pythonhosted|npmjs)\.(?:org|com)\b|\brepo1?\.maven\b|\bregistry-1\.", re.IGNORECASE
    ),
}


def tracked_texts() -> list[tuple[str, str]]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout, so there is no list of tracked files")
    found = []
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            found.append((name, path.read_text(errors="replace")))
    return found


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds(what: str) -> None:
    pattern = FORBIDDEN[what]
    hits = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert hits == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of somebody's machine", "open('/" + "root/x')"),
        ("a path of somebody's machine", "cd /" + "home/anna/src"),
        ("a path of somebody's machine", "DATA_DIR=/" + "tmp/data"),
        ("the host of a package registry", "https://files.pythonhosted" + ".org/packages"),
        ("the host of a package registry", "https://repo" + "1.maven" + ".org/maven2"),
    ],
)
def test_the_search_finds(what: str, line: str) -> None:
    assert FORBIDDEN[what].search(line)
