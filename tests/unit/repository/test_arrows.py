"""The import contracts of pyproject.toml: each of them notices a forbidden import (that they hold is `make lint`)."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DESCRIBED = re.findall(r"^\| `(\w+)/` \|[^|]*\| ([^|]*) \|$", ARCHITECTURE.read_text(), re.MULTILINE)

# One forbidden import for each contract; every line goes into the room of its left side.
VIOLATIONS = {
    "layers": ("delivery", "import app.profile"),
    "pure": ("profile", "import time"),
    "engine": ("engine", "import app.http"),
    "flows-wires": ("cli", "import app.sinks"),
    "simulator": ("simulator", "import app.observe"),
    "simulator-unknown": ("flows", "import app.simulator"),
    "kafka": ("kafka", "import app.profile"),
    "http": ("http", "import app.delivery"),
    "targets": ("incidents", "import aiokafka"),
    "web": ("web", "import app.cmt"),
    "stream-library": ("readmodels", "import faust"),
    "soap-library": ("sinks", "import zeep"),
}


def contract_names() -> dict[str, str]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {contract["id"]: contract["name"] for contract in document["tool"]["importlinter"]["contracts"]}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says about a copy of the program in which every contract is broken once."""
    copy = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "app", copy / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for number, (room, line) in enumerate(VIOLATIONS.values()):
        (copy / "app" / room / f"trespasser_{number}.py").write_text(f"{line}\n")
    run = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return run.stdout + run.stderr


def test_every_contract_has_an_import_that_breaks_it() -> None:
    assert set(contract_names()) == set(VIOLATIONS)


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_forbidden_import_breaks_its_contract(report: str, contract: str) -> None:
    assert f"{contract_names()[contract]} BROKEN" in report
    number = list(VIOLATIONS).index(contract)
    assert f"app.{VIOLATIONS[contract][0]}.trespasser_{number}" in report


# Ways to import or to do I/O that the linter does not see.
UNSEEN_IMPORTS = {"importlib.import_module", "__import__", "sys.modules"}
UNSEEN_EFFECTS = {"open", "print", "input", "datetime.now", "date.today", "datetime.utcnow"}


def named(source: str) -> set[str]:
    """The plain and dotted names that a file uses, as ``name`` or ``last.name``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module in ("importlib", "sys"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def users_of(names: set[str], *rooms: str) -> list[str]:
    files = [path for room in rooms for path in sorted((ROOT / "app" / room).rglob("*.py"))]
    return [str(path.relative_to(ROOT)) for path in files if named(path.read_text()) & names]


def test_nothing_is_imported_behind_the_linters_back() -> None:
    assert users_of(UNSEEN_IMPORTS, ".") == []


def test_the_pure_rooms_read_no_clock_and_no_file() -> None:
    assert users_of(UNSEEN_EFFECTS, "delivery", "profile") == []


@pytest.mark.parametrize(
    "source",
    [
        "import importlib; importlib.import_module('app.profile')",
        "from importlib import import_module",
        "__import__('app.profile')",
        "def f():\n    import sys\n    return sys.modules['app.profile']",
    ],
)
def test_a_hidden_import_is_seen(source: str) -> None:
    assert named(source) & UNSEEN_IMPORTS


@pytest.mark.parametrize("source", ["open('f')", "from datetime import datetime\ndatetime.now()", "print('x')"])
def test_a_hidden_effect_is_seen(source: str) -> None:
    assert named(source) & UNSEEN_EFFECTS


def test_every_room_stands_in_the_architecture() -> None:
    rooms = {path.name for path in (ROOT / "app").iterdir() if (path / "__init__.py").is_file()}
    described = re.findall(r"^\| `(\w+)/` \|", ARCHITECTURE.read_text(), re.MULTILINE)
    assert set(described) == rooms
    assert {room for room, _ in DESCRIBED} == rooms, "a row of the table has another form"


def imported_rooms(room: str) -> set[str]:
    """The other rooms, and modules beside them, that the files of a room import."""
    found = set()
    for path in (ROOT / "app" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app."):
                found.add((node.module or "").split(".")[1])
            elif isinstance(node, ast.Import):
                found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("app.")}
    return found - {room}


@pytest.mark.parametrize(
    ("room", "said"),
    # What ``cli`` and ``flows`` do not import is said instead, and checked by the contracts.
    [row for row in DESCRIBED if not row[1].startswith("every")],
)
def test_the_architecture_says_what_a_room_imports(room: str, said: str) -> None:
    told = set(re.findall(r"`(\w+)`", said)) | ({"bundled"} if "bundled files" in said else set())
    assert imported_rooms(room) == told
