"""The lock files: exact, hashed, tied to no package index, and in step with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def blocks(name: str) -> list[str]:
    """One text per locked package: its pin and the hashes below it."""
    text = (ROOT / name).read_text()
    starts = [match.start() for match in PIN.finditer(text)]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def pins(name: str) -> dict[str, str]:
    return {canonicalize_name(package): version for package, version in PIN.findall((ROOT / name).read_text())}


def requirements(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_one_exact_version_and_hashes(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if line and not line.startswith((" ", "#")) and not PIN.match(line)] == []
    assert len(pins(name)) == len(blocks(name))
    assert [block.split()[0] for block in blocks(name) if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", LOCKS)
def test_no_package_index_is_named(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://|index-url|find-links|trusted-host", text)


@pytest.mark.parametrize(("name", "extras"), [(LOCKS[0], ["container"]), (LOCKS[1], ["container", "dev"])])
def test_what_pyproject_asks_for_is_locked_at_a_fitting_version(name: str, extras: list[str]) -> None:
    locked = pins(name)
    for requirement in requirements(*extras):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), f"{requirement}: make lock"


def test_tests_run_with_the_versions_that_are_shipped() -> None:
    shipped, tested = (pins(name) for name in LOCKS)
    assert shipped.items() <= tested.items()


def test_the_build_tool_of_the_wheel_is_the_locked_one() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert document["build-system"]["requires"] == [f"hatchling=={pins(LOCKS[1])['hatchling']}"]
