"""README and docs agree with the program: environment, links, addresses, make targets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from app import settings
from app.bundled import schema_path
from app.delivery.outcome import Outcome
from app.delivery.record import SourceRecord
from app.profile.catalog_file import parse_catalog
from app.profile.event_reader import read_event
from app.web import openapi

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
PAGES = ["README.md", "CHANGELOG.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]
# Data extensions are called CMT_Something too.
VARIABLE = re.compile(r"\b(?:KAFKA|CMT|SYNC|SERVICENOW|WEB|KPI|LOG|DATA)_[A-Z0-9_]*[A-Z0-9](?![A-Za-z0-9_*])")


# What a worker reads. Other settings classes are parts of these, for commands that need less.
WORKER_GROUPS = (
    settings.KafkaSettings,
    settings.CmtSettings,
    settings.SyncSettings,
    settings.ServiceNowSettings,
    settings.WebSettings,
    settings.GeneralSettings,
)


def variables_of(group: type[settings.SettingsGroup]) -> dict[str, FieldInfo]:
    return {settings.variable(group, name): field for name, field in group.model_fields.items()}


def in_code() -> dict[str, FieldInfo]:
    return {name: field for group in WORKER_GROUPS for name, field in variables_of(group).items()}


def test_a_command_reads_nothing_that_a_worker_does_not() -> None:
    assert len(in_code()) > 50
    for group in settings.SettingsGroup.__subclasses__():
        assert variables_of(group).keys() <= in_code().keys(), group.__name__


def test_every_variable_is_explained() -> None:
    assert [name for name, field in in_code().items() if not (field.description or "").endswith(".")] == []


def test_every_variable_stands_in_the_page_about_configuration() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \|", page, re.MULTILINE) == list(in_code())


@pytest.mark.parametrize("page", [*PAGES, "docker-compose.yml", "Dockerfile"])
def test_no_page_names_a_variable_that_does_not_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    if page == "docker-compose.yml":  # the broker's own variables, see apache/kafka
        text = text[: text.index("\nservices:")] + text[text.index("\n  topics:\n") :]
    assert set(VARIABLE.findall(text)) - in_code().keys() == set()


def test_the_event_that_is_shown_is_valid() -> None:
    (text,) = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    key = json.loads(text)["consumerId"].encode()
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    event = read_event(SourceRecord("consumer-profiles", 0, 0, 0, key, text.encode()), catalog)
    assert event.rows()


def test_every_outcome_is_explained() -> None:
    assert {outcome.value for outcome in Outcome} <= set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", path.read_text())):
        if "://" in f"{target}#":
            continue
        there = path.parent / target if target else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text()), f"{target}#{anchor}"


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_the_readme_names_every_page() -> None:
    assert {page for page in PAGES if page.startswith("docs/")} <= set(re.findall(r"\]\((docs/[^)#]+)\)", README))


def test_the_addresses_in_the_docs_are_those_of_the_api() -> None:
    section = (ROOT / "docs" / "api.md").read_text()
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
