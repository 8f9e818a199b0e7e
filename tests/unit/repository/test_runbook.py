"""The runbook has a section for each symptom, and its commands can be typed."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.runbook import NOT_RUN, PAGE, inline_calls, sections
from tests.unit.repository.command_line import assert_understood

SYMPTOMS = (
    "Marketing Cloud is down",
    "A token is refused",
    "Dead letters grow",
    "A poison event",
    "One consumer is stuck",
    "Redrive after an outage",
    "A rolling restart",
    "An upgrade and a rollback",
    "More partitions",
    "The state topics are lost",
    "Kafka's retention was too short",
)
MOST_LINES = 350


def text_of(symptom: str) -> str:
    return PAGE.read_text().split(f"\n### {symptom}\n")[1].split("\n### ")[0].split("\n## ")[0]


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_each_symptom_says_what_to_see_what_to_type_and_when_it_is_over(symptom: str) -> None:
    said = text_of(symptom)
    assert "**You see**" in said
    assert "```bash\n" in said
    assert re.search(r"\*\*(It is over|To go on)\*\*", said)
    assert symptom in sections()


def test_the_table_of_symptoms_leads_to_all_of_them() -> None:
    table = PAGE.read_text().split("\n## ")[0]
    assert [symptom for symptom in SYMPTOMS if f"[{symptom}](#" not in table] == []


def test_the_page_is_short_enough_for_the_night() -> None:
    assert len(PAGE.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("call", inline_calls())
def test_a_command_in_the_text_is_understood(call: str) -> None:
    assert_understood(call)


def test_a_command_that_is_not_run_can_be_parsed() -> None:
    lines = [line for lines in sections().values() for line in lines if line.startswith(NOT_RUN)]
    assert lines
    for line in lines:
        subprocess.run(["bash", "-n", "-c", line], check=True)
