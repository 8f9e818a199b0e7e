"""What is said of operators' tasks: which dead letters, who said what and when, and what is left to do."""

from __future__ import annotations

from typing import Any

import pytest

from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Action, LetterFilter, Note, OperatorTask, Selection, TaskEnd
from app.readmodels.letter_views import task_view
from app.readmodels.task_texts import COLUMNS, ended_lines, selection_text, task_lines
from app.readmodels.tasks import KnownTask, TaskProgress, TaskState

NOW = 1_763_000_000_000
CHOSEN = LetterFilter(fingerprint="CMT-TIMEOUT:pet:UPDATE", since_ms=NOW)


def made(action: Action = Action.REDRIVE, **changes: Any) -> OperatorTask:
    given: dict[str, Any] = {"selection": Selection(), "created_ms": NOW, "by": "ann@vm", "matched": {0: 8}}
    return OperatorTask(id="t-1", action=action, **given | changes)


@pytest.mark.parametrize(
    ("task", "text", "by", "number", "chosen"),
    [
        (made(selection=Selection((LetterId(5, 26),))), "1 dead letter by ID: 5-26", "ids", 1, {}),
        (
            made(selection=Selection(tuple(LetterId(0, at) for at in range(1_007)))),
            "1,007 dead letters by ID: 0-0, 0-1, 0-2, 0-3, 0-4 and 1,002 more",
            "ids",
            1_007,
            {},
        ),
        (
            made(selection=Selection(filter=CHOSEN)),
            "--fingerprint CMT-TIMEOUT:pet:UPDATE --since 2025-11-13T02:13:20Z",
            "filter",
            None,
            {"fingerprint": "CMT-TIMEOUT:pet:UPDATE", "since": "2025-11-13T02:13:20.000Z"},
        ),
        (made(), "all that were open", "all", None, {}),
        (made(Action.REPAIR, matched={}, consumers={0: ("C-1",), 3: ("C-2",)}), "2 consumers", "consumers", 2, {}),
    ],
)
def test_a_task_says_what_it_is_about(
    task: OperatorTask, text: str, by: str, number: int | None, chosen: dict[str, str]
) -> None:
    assert selection_text(task) == text
    view = task_view(KnownTask(task), TaskState.WAITING, TaskProgress(0, 0, {}, 0))
    assert view["selection"] == {"by": by, "number": number, "filter": chosen}


def test_a_task_says_when_it_was_made_resumed_cancelled_and_done_by_whom_and_why() -> None:
    resumed = Note("bob@vm", NOW + 1_000, "go on", on=False)
    known = KnownTask(made(rate=50.0), resumed, Note("cleo@vm", NOW + 2_000), {0: TaskEnd(NOW + 3_000)})
    progress = TaskProgress(8, 8, {"synced": 8}, 0)
    assert list(task_lines(known, TaskState.DONE, progress, NOW + 64_000)) == [
        "t-1  done",
        "  8 of 8 handled, 0 still open (8 synced)",
        "  selects    all that were open",
        "  made       2025-11-13 02:13:20Z, 64 s ago, by ann@vm",
        "  rate       at most 50 a second",
        "  resumed    2025-11-13 02:13:21Z, 63 s ago, by bob@vm: go on",
        "  cancelled  2025-11-13 02:13:22Z, 62 s ago, by cleo@vm",
        "  done       2025-11-13 02:13:23Z, 61 s ago; it took 3 s",
    ]
    view = task_view(known, TaskState.DONE, progress)
    assert (view["ratePerSecond"], view["endedAt"]) == (50.0, "2025-11-13T02:13:23.000Z")
    assert (view["paused"], view["resumed"]) == (
        None,
        {"at": "2025-11-13T02:13:21.000Z", "by": "bob@vm", "note": "go on"},
    )
    assert view["cancelled"] == {"at": "2025-11-13T02:13:22.000Z", "by": "cleo@vm", "note": ""}


def test_rows_that_are_still_missing_after_a_redrive_are_named_with_the_next_commands() -> None:
    lines = list(ended_lines(Action.REDRIVE, TaskState.DONE, TaskProgress(21, 21, {"synced": 9, "partial": 12}, 0)))
    assert lines[0] == "done: 12 partial, 9 synced"
    assert all(len(line) <= COLUMNS for line in lines)
    said = " ".join(lines)
    assert "profile-sync consumer --outcome partial" in said
    assert "profile-sync verify --repair --outcome partial" in said


def test_a_repair_that_mended_nothing_does_not_look_like_success() -> None:
    progress = TaskProgress(8, 8, {"drifted": 8}, 0)
    task = made(Action.REPAIR, matched={}, consumers={0: tuple("abcdefgh")})
    shown = " ".join(task_lines(KnownTask(task), TaskState.DONE, progress, NOW))
    for said in (shown, " ".join(ended_lines(Action.REPAIR, TaskState.DONE, progress))):
        assert "8 drifted: Marketing Cloud still differs" in " ".join(said.split())
        assert "profile-sync verify --repair" in said
    assert "still open" not in shown


@pytest.mark.parametrize(
    ("action", "outcomes"),
    [
        (Action.REDRIVE, {"synced": 8, "failed": 1}),
        (Action.REPAIR, {"partial": 3, "repaired": 5}),
        (Action.DISCARD, {}),
    ],
)
def test_nothing_is_advised_where_nothing_is_left_to_do(action: Action, outcomes: dict[str, int]) -> None:
    assert len(list(ended_lines(action, TaskState.DONE, TaskProgress(9, 9, outcomes, 0)))) == 1
