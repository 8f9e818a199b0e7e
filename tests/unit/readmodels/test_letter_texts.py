"""What the `dlq` commands say: 80 columns, with everything that a person on call needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.delivery.dead_letter_record import HistoryLine, Holder, LetterStatus, ValuePlace
from app.delivery.failed_attempt import FailedAttempt
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Action, Note, OperatorTask, Selection
from app.readmodels.letter_groups import LetterGroup
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letter_texts import (
    COLUMNS,
    NO_DEAD_LETTERS,
    already_text,
    detail_lines,
    list_lines,
    stats_lines,
    task_lines,
)
from app.readmodels.letter_views import detail_view, letter_view
from app.readmodels.letters import ListedLetter
from app.readmodels.tasks import KnownTask, LetterEdit, TaskProgress, TaskState
from tests.unit.readmodels.test_letter_index import letter

NOW = 1_763_000_000_000
KIND = Fingerprint("CMT-ROW-INVALID", "consumer", "UPDATE")
GROUP = LetterGroup(KIND, 400, 398, NOW - 4_260_000, NOW - 120_000, LetterId(5, 26))
LONG = "x" * 300


def listed(status: ShownStatus = ShownStatus.OPEN, **changes: object) -> ListedLetter:
    stored = LetterStatus.OPEN if status is ShownStatus.REDRIVING else LetterStatus(status.value)
    one = letter(stored, failed=NOW - 60_000, kind=KIND, operation="UPDATE")
    return ListedLetter(LetterId(5, 26), status, replace(one, **changes))


def test_stats_say_how_many_since_when_what_it_means_and_what_to_do() -> None:
    lines = list(stats_lines([GROUP], NOW))
    assert lines[:8] == [
        "400 dead letters open, 1 kind; it is 2025-11-13 02:13:20Z now",
        "",
        "CMT-ROW-INVALID:consumer:UPDATE",
        "  400 open, 398 consumers",
        "  since    2025-11-13 01:02:20Z, 71 min ago",
        "  until    2025-11-13 02:11:20Z, 2 min ago",
        "  example  5-26",
        lines[7],
    ]
    assert lines[7].startswith("  means    ")
    assert any(line.startswith("  do       ") for line in lines)
    assert list(stats_lines([], NOW)) == [NO_DEAD_LETTERS]


def test_a_code_that_this_version_does_not_know_is_no_error() -> None:
    strange = replace(GROUP, fingerprint=Fingerprint("OTHER", "event", "-"))
    assert any("does not know the code" in line for line in stats_lines([strange], NOW))


def test_a_list_has_a_line_for_each_and_a_status_only_where_one_is_not_open() -> None:
    assert list(list_lines([listed()])) == [
        "id    failed          what                             market  consumer",
        "5-26  11-13 02:12:20  CMT-ROW-INVALID:consumer:UPDATE  DE      C-1",
    ]
    assert "  status     consumer" in next(iter(list_lines([listed(), listed(ShownStatus.REDRIVING)])))


@pytest.mark.parametrize("status", ShownStatus)
def test_nothing_is_wider_than_a_terminal(status: ShownStatus) -> None:
    settled = replace(listed().letter.settlement, consumer_id=LONG, event_id=LONG, market="A-LONG-MARKET-16")
    line = HistoryLine(NOW, "redrive", "failed", "CMT-ROW-INVALID", LONG, LONG, LONG)
    one = listed(
        status,
        settlement=settled,
        message="word " * 60 + LONG,
        fingerprint=Fingerprint(LONG, LONG, LONG),
        request_id=LONG,
        history=(line,),
        attempts=(FailedAttempt(NOW, "CMT-TIMEOUT"),),
    )
    edit = LetterEdit(7, Note(LONG, NOW))
    note = Note(LONG, NOW, LONG)
    task = OperatorTask("redrive-1", Action.REDRIVE, Selection(), NOW, LONG, LONG, 50.0)
    progress = TaskProgress(9, 9, {"synced": 8, "failed": 1}, 1)
    shown = [
        *list_lines([one, one]),
        *detail_lines(one, edit),
        *stats_lines([replace(GROUP, fingerprint=one.letter.fingerprint)], NOW),
        *task_lines(KnownTask(task, note, note), TaskState.CANCELLED, progress, NOW),
    ]
    # A kind of its full length stands on a line of its own, so that it can be copied.
    assert [line for line in shown if len(line) > COLUMNS and line != str(one.letter.fingerprint)] == []


def test_a_detail_has_attempts_history_edits_and_what_to_do() -> None:
    line = HistoryLine(NOW, "redrive", "failed", "CMT-ROW-INVALID", "ann@host", "redrive-1", "try again")
    one = listed(history=(line,), attempts=(FailedAttempt(NOW, "CMT-TIMEOUT"),))
    text = "\n".join(detail_lines(one, LetterEdit(7, Note("bob@host", NOW))))
    for part in (
        "CMT-TIMEOUT",
        "redrive: failed, CMT-ROW-INVALID",
        "by ann@host",
        "note: try again",
        "bob@host",
        "do ",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("place", "status", "waits"),
    [(6, ShownStatus.OPEN, True), (7, ShownStatus.OPEN, False), (6, ShownStatus.SETTLED, False)],
)
def test_an_edit_that_has_run_is_not_announced(place: int, status: ShownStatus, waits: bool) -> None:
    one = listed(status, place=ValuePlace(Holder.DLQ, place))
    text = "\n".join(detail_lines(one, LetterEdit(7, Note("bob@host", NOW, "shorter name"))))
    assert ("a redrive runs the edited event" in text) is waits
    assert "note: shorter name" in text


def test_a_long_kind_leaves_room_for_the_consumer() -> None:
    settled = replace(listed().letter.settlement, consumer_id="C-" + "7" * 60)
    kind = Fingerprint("CMT-CONSUMER-SPELLING", "digitalAsset", "UPDATE")
    _, line = list_lines([listed(fingerprint=kind, settlement=settled)])
    assert len(line) == COLUMNS
    assert line.startswith("5-26  11-13 02:12:20  CMT-CONSUMER-SPELLING:digi")
    assert line.endswith("  C-77777777777777777…")


def test_a_foreign_record_that_was_published_says_so() -> None:
    line = HistoryLine(NOW, "redrive", "published")
    one = replace(listed(ShownStatus.SETTLED, history=(line,)), id=LetterId(5, 26, foreign=True))
    assert already_text(one) == "dlq-5-26 is already settled: published"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (ShownStatus.SETTLED, "5-26 is already settled: failed"),
        (ShownStatus.DISCARDED, "5-26 is already discarded"),
        (ShownStatus.REDRIVING, "5-26 is already being handled"),
    ],
)
def test_a_dead_letter_that_is_not_open_says_so(status: ShownStatus, text: str) -> None:
    assert already_text(listed(status)) == text


def test_the_view_has_the_fields_of_the_contract() -> None:
    assert letter_view(listed()) == {
        "id": "5-26",
        "consumerId": "C-1",
        "eventId": "e-1",
        "market": "DE",
        "operation": "UPDATE",
        "entity": "consumer",
        "reason": "CMT-ROW-INVALID",
        "fingerprint": "CMT-ROW-INVALID:consumer:UPDATE",
        "message": "m",
        "attempts": 1,
        "firstFailedAt": "1970-01-01T00:00:00.001Z",
        "failedAt": "2025-11-13T02:12:20.000Z",
        "status": "open",
        "redrives": 0,
    }
    assert detail_view(listed(attempts=(FailedAttempt(1, "CMT-TIMEOUT"),)), None)["attempts"] == [
        {"at": "1970-01-01T00:00:00.001Z", "code": "CMT-TIMEOUT"}
    ]
