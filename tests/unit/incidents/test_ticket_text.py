"""What stands in a ticket: commands that exist, and no more than fits."""

from __future__ import annotations

import re
from dataclasses import replace

import typer

from app.cli import cli
from app.domain.errors import REGISTRY
from app.incidents.alert import Alert, AlertKind, Severity
from app.incidents.memory import Remembered
from app.incidents.ticket_text import more_of_the_same, new_incident, over, over_by_itself
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
                more_of_the_same([alert], 3, before),
                over(replace(alert, kind=AlertKind.RESOLVE), 1, before),
                over_by_itself("Over.", before),
            ]
            named.update(re.findall(r"profile-sync ([a-z]+)", " ".join(texts)))
    assert named
    assert named <= commands


def test_a_ticket_is_bounded() -> None:
    alert = replace(ALERT, message="x " * 10_000, event_id="9" * 20_000, market="m" * 10_000)
    fields = new_incident("x", [alert] * 10, 10, None)
    assert all(len(value) < 4000 for value in fields.values())
