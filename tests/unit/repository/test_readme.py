"""The README agrees with the program: environment, links, make targets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app import settings
from app.bundled import schema_path
from app.delivery.outcome import Outcome
from app.delivery.record import SourceRecord
from app.profile.entities import parse_catalog
from app.profile.event import read_event
from app.web import openapi

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| (?:`([^`]*)`|(required|none)) \| \S.* \|$", re.MULTILINE)
VARIABLE = re.compile(r"\b(?:KAFKA|CMT|SYNC|SERVICENOW|WEB|KPI|LOG|DATA)_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_*])")


# What a worker reads. Other settings classes are parts of these, for commands that need less.
WORKER_GROUPS = (
    settings.KafkaSettings,
    settings.CmtSettings,
    settings.SyncSettings,
    settings.ServiceNowSettings,
    settings.WebSettings,
    settings.GeneralSettings,
)


def documented() -> dict[str, str]:
    """Variable -> default as the README's tables say: the value, ``required`` or ``none``."""
    rows = ROW.findall(README)
    assert len({name for name, *_ in rows}) == len(rows), "a variable stands in two tables"
    return {name: value or word for name, value, word in rows}


def in_code() -> dict[str, str]:
    """The same as the settings classes say."""
    return {name: _default(field.default) for group in WORKER_GROUPS for name, field in variables_of(group).items()}


def variables_of(group: type[settings._Group]) -> dict[str, FieldInfo]:
    prefix = str(group.model_config.get("env_prefix") or "")
    return {f"{prefix}{name}".upper(): field for name, field in group.model_fields.items()}


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def test_a_command_reads_nothing_that_a_worker_does_not() -> None:
    assert len(in_code()) > 50
    for group in settings._Group.__subclasses__():
        assert variables_of(group).keys() <= in_code().keys(), group.__name__


def test_every_variable_stands_in_the_readme_with_its_default_and_no_other() -> None:
    assert documented() == in_code()


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/architecture.md",
        "docs/errors.md",
        "docs/markets.md",
        "docs/migration.md",
        "docker-compose.yml",
        "Dockerfile",
    ],
)
def test_no_page_names_a_variable_that_does_not_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    if page == "docker-compose.yml":  # the broker's own variables, see apache/kafka
        text = text[: text.index("\nservices:")] + text[text.index("\n  topics:\n") :]
    assert set(VARIABLE.findall(text)) - set(in_code()) == set()


def test_the_event_that_is_shown_is_valid() -> None:
    (text,) = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    key = json.loads(text)["consumerId"].encode()
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    event = read_event(SourceRecord("consumer-profiles", 0, 0, 0, key, text.encode()), catalog)
    assert event.rows()


def test_every_outcome_is_explained() -> None:
    assert {outcome.value for outcome in Outcome} <= set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))


@pytest.mark.parametrize(
    "page",
    ["README.md", "CHANGELOG.md", "docs/architecture.md", "docs/errors.md", "docs/markets.md", "docs/migration.md"],
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    missing = [t for t in targets if "://" not in t and not (path.parent / t).exists()]
    assert missing == []


def test_the_addresses_in_the_readme_are_those_of_the_api() -> None:
    section = README.split("\n## Page, API and metrics\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`/[^|]*) \|", section, re.MULTILINE)
    named = {address for cell in cells for address in re.findall(r"`([^`]+)`", cell)}
    described = set(openapi.document()["paths"])
    assert {address for address in named if address.startswith("/api/")} == {
        address for address in described if address.startswith("/api/")
    }
    assert named - {"/"} <= described


def test_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z]+)\b", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
