"""The short form of the deck "letters": half a minute of redrives while workers and commands are killed.

``make torture`` is the long one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.broker.distribution import BrokerStartError
from app.delivery.counts import Settlement
from app.delivery.dead_letter_record import DeadLetter, HistoryLine, LetterStatus
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId
from app.delivery.outcome import Outcome
from app.delivery.partition_record import PartitionState
from app.readmodels.tasks import TaskState
from tests.chaos.letters import LettersRun, carry_out, describe
from tests.chaos.letters_verdict import LettersEvidence, judge
from tests.chaos.made_up import DOCUMENTS, sources_of
from tests.chaos.schedule import Blow

SHORT = LettersRun(
    seed=5,
    events=500,
    seconds=22.0,
    consumers=25,
    deck=(Blow.KILL, Blow.STOP, Blow.BROKER_KILL),
    gap=(1.5, 3.0),
    workers_at_first=2,
    rest_seconds=90.0,
)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_dead_letters_are_handled_once_and_counted_right_whatever_is_killed() -> None:
    try:
        verdict, kept = carry_out(SHORT)
    except BrokerStartError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs a broker: {error}")
    text = describe(SHORT, verdict, kept, SHORT.seconds)
    print(text)
    assert verdict.handled > 20, f"hardly anything was handled, so little was proven: {text}"
    assert not verdict.violations, text


# The judge

SOURCES = sources_of(DOCUMENTS[:2])
FIRST, SECOND = (LetterId(*source.position) for source in SOURCES)


def letter(outcome: Outcome, **changes: Any) -> DeadLetter:
    reason = "CMT-TIMEOUT" if outcome is Outcome.FAILED else None
    settlement = Settlement("bob", "bob-1", "NEW", "DE", "2026-11-21", outcome, reason)
    status = LetterStatus.OPEN if outcome is Outcome.FAILED else LetterStatus.SETTLED
    return replace(DeadLetter(status, settlement, Fingerprint("", "", ""), "", 1, 1, 1, None), **changes)


def evidence(**changes: Any) -> LettersEvidence:
    state = PartitionState(dead_letters={"CMT-TIMEOUT": 1})
    totals: Mapping[str, int] = {outcome.value: 0 for outcome in Outcome} | {"synced": 1, "failed": 1}
    good = LettersEvidence(
        2,
        SOURCES,
        {SECOND: letter(Outcome.FAILED)},
        {0: state},
        {0: totals},
        {"ann": "ann-1"},
        {"ann": "ann-1"},
        {"t": TaskState.DONE},
    )
    return replace(good, **changes)


def kinds(given: LettersEvidence) -> set[str]:
    return {violation.what for violation in judge(given).violations}


def test_the_judge_finds_nothing_where_nothing_is_wrong() -> None:
    assert kinds(evidence()) == set()


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"published": 3}, {"lost"}),
        ({"letters": {}}, {"count", "order"}),
        ({"letters": {SECOND: letter(Outcome.SYNCED)}}, {"count", "order"}),
        ({"letters": {SECOND: letter(Outcome.FAILED), LetterId(7, 7): letter(Outcome.SYNCED)}}, {"dead letter"}),
        ({"parents": {"ann": "ann-0"}}, {"order"}),
        ({"parents": {"ann": "ann-1", "bob": "bob-1"}}, {"order"}),
        ({"tasks": {"t": TaskState.RUNNING}}, {"stuck"}),
        ({"states": {0: PartitionState(dead_letters={"CMT-TIMEOUT": 1}, erasing={"ann": 3})}}, {"stuck"}),
        ({"states": {0: PartitionState()}}, {"count"}),
        ({"remarks": ["ended by itself"]}, {"worker"}),
    ],
)
def test_the_judge_notices(changes: dict[str, Any], wanted: set[str]) -> None:
    assert kinds(evidence(**changes)) == wanted


def test_the_judge_notices_a_dead_letter_that_one_task_handled_twice() -> None:
    lines = tuple(HistoryLine(at, "redrive", "failed", task="t") for at in (1, 2))
    assert kinds(evidence(letters={SECOND: letter(Outcome.FAILED, history=lines)})) == {"task"}
