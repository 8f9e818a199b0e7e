"""What stands in a ticket: commands that exist, and no more than fits."""

from __future__ import annotations

import doctest
import re
from dataclasses import replace
from types import ModuleType

import pytest
import typer

from app.cli import cli
from app.delivery.alert import Alert, AlertKind, Severity
from app.delivery.error_registry import ErrorClass
from app.delivery.errors import REGISTRY
from app.incidents import open_letters, ticket_text
from app.incidents.memory import Remembered
from app.incidents.open_letters import OpenCount
from app.incidents.ticket_text import (
    TicketOrigin,
    count_note,
    end_note,
    further_alerts_note,
    new_incident,
    over_but_open_note,
    silent_end_note,
)
from app.incidents.tickets import Incident
from tests.unit.repository.command_line import assert_understood

PARTIAL = "profile-sync consumer --outcome partial --since 24h"
ALERT = Alert("CMT-TIMEOUT", "consumer", "UPDATE", "DE", "3-17", "1f0a2b", "no answer", 1_763_000_000_000)
PAGE = "https://sync.example.com"
ORIGIN = TicketOrigin(page=PAGE, resolve_minutes=30)
MANY = OpenCount(10_000, 9_812, ALERT.at_ms, ALERT.at_ms + 60_000)


def test_no_text_names_a_command_that_does_not_exist() -> None:
    commands = set(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]
    before = Remembered(Incident("a", "INC1"), Severity.FAILED, 0, 0, 0, 0)
    named = set()
    for reason in (*REGISTRY, "NOT-KNOWN"):
        for severity in Severity:
            alert = replace(ALERT, reason=reason, severity=severity)
            over = replace(alert, kind=AlertKind.RESOLVE)
            texts = [
                *new_incident("x", [alert], 2, ORIGIN, MANY).values(),
                further_alerts_note([alert], 3, before, MANY),
                end_note(over, 1, before),
                over_but_open_note(over, 1, before, MANY, ORIGIN),
                silent_end_note("Over.", before),
                count_note(MANY),
            ]
            named.update(re.findall(r"profile-sync ([a-z]+)", " ".join(texts)))
    assert {"dlq", "errors"} <= named
    assert named <= commands


def test_a_ticket_about_dead_letters_says_what_happened_and_what_to_type() -> None:
    alert = replace(ALERT, reason="CMT-ROW-INVALID", message="column EmailAddress: '***' is too long")
    origin = replace(ORIGIN, where="group g, main topic t")
    assert new_incident("x", [alert], 1, origin, MANY)["description"] == (
        "UPDATE failed at entity consumer: 10,000 dead letters are open, on 9,812 consumers, "
        "from 2025-11-13T02:13:20Z to 2025-11-13T02:14:20Z.\n"
        "CMT-ROW-INVALID: Marketing Cloud refused the row's values. What to do: "
        f"{REGISTRY['CMT-ROW-INVALID'].remedy}\n"
        "\n"
        "Look closer:\n"
        "profile-sync dlq stats\n"
        "profile-sync dlq list --fingerprint CMT-ROW-INVALID:consumer:UPDATE\n"
        "profile-sync errors CMT-ROW-INVALID\n"
        "https://sync.example.com/dead-letters?fingerprint=CMT-ROW-INVALID:consumer:UPDATE\n"
        "\n"
        "Last message (market DE): column EmailAddress: '***' is too long.\n"
        "Some of the events (profile-sync dlq show ID): 3-17\n"
        "Where: group g, main topic t\n"
        "Further alerts of this kind become work notes. The newest note has the present numbers.\n"
        "The program resolves this incident when none of its dead letters is open any more and no alert came for "
        "30 minutes."
    )


@pytest.mark.parametrize(
    ("fingerprint", "severity", "lines"),
    [
        (
            "EVENT-SCHEMA:event:-",
            Severity.INVALID,
            ["profile-sync dlq list --reason EVENT-SCHEMA", f"{PAGE}/dead-letters?reason=EVENT-SCHEMA"],
        ),
        (
            "CMT-PERMISSION:pet:-",
            Severity.FAILED,
            [
                "profile-sync dlq list --reason CMT-PERMISSION --entity pet",
                f"{PAGE}/dead-letters?reason=CMT-PERMISSION&entity=pet",
            ],
        ),
        (
            "CMT-PERMISSION:account-123-pet:-",
            Severity.FAILED,
            [
                "profile-sync dlq list --reason CMT-PERMISSION",
                PARTIAL,
                f"{PAGE}/dead-letters?reason=CMT-PERMISSION",
            ],
        ),
        ("CMT-OUTAGE:event:-", Severity.OUTAGE, ["profile-sync status", f"{PAGE}/"]),
        ("SYNC-CUT-OFF:event:-", Severity.FAILED, ["profile-sync status", f"{PAGE}/"]),
    ],
)
def test_every_ticket_names_the_commands_and_the_page_for_its_kind(
    fingerprint: str, severity: Severity, lines: list[str]
) -> None:
    reason, entity, operation = fingerprint.split(":")
    alert = replace(ALERT, reason=reason, entity=entity, operation=operation, severity=severity)
    text = new_incident("x", [alert], 1, ORIGIN)["description"].splitlines()
    assert set(lines) <= set(text)
    assert ("profile-sync dlq stats" in text) is ("dlq" in lines[0])
    assert (PARTIAL in text) is (reason == "CMT-PERMISSION")
    without = new_incident("x", [alert], 1, replace(ORIGIN, page=""))["description"]
    assert "http" not in without


def test_who_resolves_an_incident_is_said() -> None:
    def said(reason: str, severity: Severity, resolve_minutes: float) -> str:
        alert = replace(ALERT, reason=reason, severity=severity)
        return new_incident("x", [alert], 1, replace(ORIGIN, resolve_minutes=resolve_minutes))["description"]

    assert "no alert came for 0.5 minutes" in said("CMT-TIMEOUT", Severity.FAILED, 0.5)
    assert "does not resolve this incident" in said("CMT-TIMEOUT", Severity.FAILED, 0)
    assert "does not resolve this incident" in said("SYNC-CUT-OFF", Severity.FAILED, 30)
    assert "when the cause is over" in said("CMT-OUTAGE", Severity.OUTAGE, 0)


def test_what_is_not_known_is_left_out_and_sentences_end_like_sentences() -> None:
    alert = Alert("CMT-OUTAGE", "event", "-", "-", "", "", "no answer", 1_763_000_000_000, severity=Severity.OUTAGE)
    fields = new_incident("x", [alert], 1, ORIGIN)
    lines = fields["description"].splitlines()
    assert fields["short_description"] == f"profile-sync: CMT-OUTAGE: {REGISTRY['CMT-OUTAGE'].meaning}"
    assert lines[0] == "CMT-OUTAGE, since 2025-11-13T02:13:20Z."
    assert "Last message: no answer." in lines
    for text in (*fields.values(), further_alerts_note([alert], 1, None)):
        assert " -" not in text
        assert "- " not in text
    assert end_note(alert, 0, None).startswith("Over since 2025-11-13T02:13:20Z: no answer.\n")


def test_what_is_known_is_named() -> None:
    fields = new_incident("x", [ALERT], 1, ORIGIN)
    assert fields["short_description"].startswith("profile-sync: CMT-TIMEOUT (UPDATE consumer): ")
    invalid = replace(ALERT, entity="event", operation="-", market="-", severity=Severity.INVALID)
    fields = new_incident("x", [invalid], 3, ORIGIN)
    assert fields["short_description"].startswith("profile-sync: CMT-TIMEOUT: ")
    assert fields["description"].startswith("Invalid events, since 2025-11-13T02:13:20Z; 3 alerts so far.\n")


def test_a_title_that_is_too_long_ends_with_dots() -> None:
    title = new_incident("x", [replace(ALERT, entity="e" * 500)], 1, ORIGIN)["short_description"]
    assert (len(title), title[-3:]) == (160, "...")


@pytest.mark.parametrize("module", [ticket_text, open_letters])
def test_the_examples_are_true(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_a_ticket_is_bounded() -> None:
    alert = replace(ALERT, message="x " * 10_000, event_id="9" * 20_000, market="m" * 10_000)
    fields = new_incident("x", [alert] * 10, 10, ORIGIN, MANY)
    assert all(len(value) < 4000 for value in fields.values())


def test_where_it_happened_is_named_and_moments_are_written_as_in_the_status() -> None:
    where = "group g, main topic t, dead letters in g.dlq"
    text = new_incident("x", [ALERT], 1, replace(ORIGIN, where=where))["description"]
    assert f"Where: {where}" in text.splitlines()
    assert text.splitlines()[0] == "UPDATE failed at entity consumer, since 2025-11-13T02:13:20Z."


def named_commands(remedy: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", remedy)


def test_a_remedy_names_only_commands_that_there_are() -> None:
    named = {command for entry in REGISTRY.values() for command in named_commands(entry.remedy)}

    assert {"topics create", "dlq redrive --reason CMT-ROW-INVALID", "dlq edit ID"} <= named
    for command in named - {"verify --repair"}:  # it needs a selection too, which depends on the case
        assert_understood(command)
    assert_understood("verify --repair --all")


# No dead letter has these codes, or it is closed already.
WITHOUT_OPEN_LETTERS = {
    "CMT-ROW-EXISTS",
    "CMT-ROW-NOT-FOUND",
    "SYNC-CUT-OFF",
    "SYNC-ERASED",
    "SYNC-OPERATOR",
    "SYNC-SUPERSEDED",
}
LASTING = sorted(
    entry.code
    for entry in REGISTRY.values()
    if entry.error_class in (ErrorClass.PERMANENT, ErrorClass.INVALID) and entry.code not in WITHOUT_OPEN_LETTERS
)


@pytest.mark.parametrize("code", LASTING)
def test_the_remedy_of_what_does_not_pass_names_the_command_that_settles_its_dead_letters(code: str) -> None:
    named = named_commands(REGISTRY[code].remedy)
    assert any(command.startswith(("dlq redrive ", "dlq discard ")) for command in named)
    for command in named:
        assert "--reason" not in command or command.endswith(f"--reason {code}")
