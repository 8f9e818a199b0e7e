"""What stands in a ticket: commands that exist, and no more than fits."""

from __future__ import annotations

import doctest
import re
from dataclasses import replace

import typer

from app.cli import cli
from app.delivery.alert import Alert, AlertKind, Severity
from app.delivery.errors import REGISTRY
from app.incidents import ticket_text
from app.incidents.memory import Remembered
from app.incidents.ticket_text import end_note, further_alerts_note, new_incident, silent_end_note
from app.incidents.tickets import Incident

ALERT = Alert("CMT-TIMEOUT", "consumer", "UPDATE", "DE", "3-17", "1f0a2b", "no answer", 1_763_000_000_000)


def test_no_text_names_a_command_that_does_not_exist() -> None:
    commands = set(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]
    before = Remembered(Incident("a", "INC1"), Severity.FAILED, 0, 0, 0, 0)
    named = set()
    for reason in (*REGISTRY, "NOT-KNOWN"):
        for severity in Severity:
            alert = replace(ALERT, reason=reason, severity=severity)
            texts = [
                *new_incident("x", [alert], 2, None).values(),
                further_alerts_note([alert], 3, before),
                end_note(replace(alert, kind=AlertKind.RESOLVE), 1, before),
                silent_end_note("Over.", before),
            ]
            named.update(re.findall(r"profile-sync ([a-z]+)", " ".join(texts)))
    assert named
    assert named <= commands


def test_what_is_not_known_is_left_out_and_sentences_end_like_sentences() -> None:
    alert = Alert("CMT-OUTAGE", "event", "-", "-", "", "", "no answer", 1_763_000_000_000, severity=Severity.OUTAGE)
    fields = new_incident("x", [alert], 1, None)
    assert fields["short_description"] == f"profile-sync: CMT-OUTAGE: {REGISTRY['CMT-OUTAGE'].meaning}"
    assert "Concerns" not in fields["description"]
    assert "Message: no answer." in fields["description"].splitlines()
    for text in (*fields.values(), further_alerts_note([alert], 1, None)):
        assert " -" not in text
        assert "- " not in text
    assert end_note(alert, 0, None).startswith("Over since 2025-11-13T02:13:20Z: no answer.\n")


def test_what_is_known_is_named() -> None:
    fields = new_incident("x", [ALERT], 1, None)
    assert fields["short_description"].startswith("profile-sync: CMT-TIMEOUT (UPDATE consumer): ")
    assert "Concerns: operation UPDATE, entity consumer, market DE" in fields["description"].splitlines()
    invalid = replace(ALERT, entity="event", operation="-", market="-", severity=Severity.INVALID)
    assert new_incident("x", [invalid], 1, None)["short_description"].startswith("profile-sync: CMT-TIMEOUT: ")


def test_a_title_that_is_too_long_ends_with_dots() -> None:
    title = new_incident("x", [replace(ALERT, entity="e" * 500)], 1, None)["short_description"]
    assert (len(title), title[-3:]) == (160, "...")


def test_the_examples_are_true() -> None:
    found = doctest.testmod(ticket_text)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_a_ticket_is_bounded() -> None:
    alert = replace(ALERT, message="x " * 10_000, event_id="9" * 20_000, market="m" * 10_000)
    fields = new_incident("x", [alert] * 10, 10, None)
    assert all(len(value) < 4000 for value in fields.values())


def test_where_it_happened_is_named_and_moments_are_written_as_in_the_status() -> None:
    where = "group g, main topic t, dead letters in g.dlq"
    text = new_incident("x", [ALERT], 1, None, where)["description"]
    assert f"Where: {where}" in text.splitlines()
    assert "Since: 2025-11-13T02:13:20Z" in text.splitlines()


def test_no_remedy_advises_what_this_version_cannot_do() -> None:
    assert [entry.code for entry in REGISTRY.values() if "redriv" in entry.remedy] == []
