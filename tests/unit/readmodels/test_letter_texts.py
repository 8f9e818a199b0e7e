"""What the `dlq` commands say: 80 columns, with everything that a person on call needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.delivery.dead_letter_record import HistoryLine, Holder, LetterStatus, ValuePlace
from app.delivery.failed_attempt import FailedAttempt
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Action, LetterFilter, Note, OperatorTask, Selection
from app.readmodels.letter_groups import LetterGroup
from app.readmodels.letter_page import ShownStatus, encode_cursor
from app.readmodels.letter_texts import (
    COLUMNS,
    NO_DEAD_LETTERS,
    already_text,
    detail_lines,
    list_lines,
    more_lines,
    stats_lines,
)
from app.readmodels.letter_views import detail_view, letter_view
from app.readmodels.letters import OPEN_ONES, ListedLetter
from app.readmodels.task_texts import task_lines
from app.readmodels.tasks import KnownTask, LetterEdit, TaskProgress, TaskState
from tests.unit.readmodels.test_letter_index import letter

NOW = 1_763_000_000_000
KIND = Fingerprint("CMT-ROW-INVALID", "consumer", "UPDATE")
GROUP = LetterGroup(KIND, 400, 398, NOW - 300_000, NOW - 120_000, LetterId(5, 26), NOW - 4_260_000)
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
        "  since      2025-11-13 01:02:20Z, 71 min ago",
        "  until      2025-11-13 02:11:20Z, 2 min ago",
        "  example    5-26",
        lines[7],
    ]
    assert lines[7].startswith("  means    ")
    assert any(line.startswith("  do       ") for line in lines)
    assert list(stats_lines([], NOW)) == [NO_DEAD_LETTERS]


def test_a_code_that_this_version_does_not_know_is_no_error() -> None:
    strange = replace(GROUP, fingerprint=Fingerprint("OTHER", "event", "-"))
    assert any("does not know the code" in line for line in stats_lines([strange], NOW))


def test_a_list_shows_what_the_next_command_needs_and_a_status_only_where_one_is_not_open() -> None:
    assert list(list_lines([listed()])) == [
        "id    failed                market",
        "  kind  consumer",
        "5-26  2025-11-13 02:12:20Z  DE",
        "  CMT-ROW-INVALID:consumer:UPDATE  C-1",
    ]
    heading, _, line, *_ = list_lines([listed(ShownStatus.REDRIVING)])
    assert (heading, line) == (
        "id    failed                market  status",
        "5-26  2025-11-13 02:12:20Z  DE      redriving",
    )


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
    # What is copied into the next command stands whole on a line of its own, however long it is.
    whole = {str(one.letter.fingerprint), LONG}
    assert [line for line in shown if len(line) > COLUMNS and line not in whole] == []


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


def test_a_first_failure_is_said_once_and_a_settled_dead_letter_asks_for_nothing() -> None:
    failed = HistoryLine(NOW, "failed", "failed", "CMT-ROW-INVALID")
    lines = list(detail_lines(listed(ShownStatus.SETTLED, history=(failed,)), None))
    assert "    2025-11-13 02:13:20Z  failed, CMT-ROW-INVALID" in lines
    assert not any(line.startswith("  do ") for line in lines)


def test_a_record_of_another_program_counts_nowhere() -> None:
    one = replace(listed(), id=LetterId(5, 26, foreign=True))
    assert "  counts     nowhere: it is not one of this group's events" in list(detail_lines(one, None))


@pytest.mark.parametrize(
    ("place", "status", "waits"),
    [(6, ShownStatus.OPEN, True), (7, ShownStatus.OPEN, False), (6, ShownStatus.SETTLED, False)],
)
def test_an_edit_that_has_run_is_not_announced(place: int, status: ShownStatus, waits: bool) -> None:
    one = listed(status, place=ValuePlace(Holder.DLQ, place))
    text = "\n".join(detail_lines(one, LetterEdit(7, Note("bob@host", NOW, "shorter name"))))
    assert ("a redrive runs the edited event" in text) is waits
    assert "note: shorter name" in text


@pytest.mark.parametrize("entity", ["digitalAsset", "consumer"])
def test_no_kind_and_no_consumer_of_a_list_is_cut(entity: str) -> None:
    consumer = "d22a3a62-1109-4978-8c2b-3a1d52a6a3d1"
    settled = replace(listed().letter.settlement, consumer_id=consumer)
    kind = Fingerprint("CMT-CONSUMER-SPELLING", entity, "UPDATE")
    one = listed(fingerprint=kind, settlement=settled)
    lines = list(list_lines([one, one]))
    assert all(len(line) <= COLUMNS for line in lines)
    words = " ".join(lines).split()
    assert words.count(str(kind)) == words.count(consumer) == 2


def test_a_next_page_is_offered_in_lines_that_fit() -> None:
    cursor = encode_cursor((NOW, 99_999, 1, 2**53), LetterFilter(), OPEN_ONES)
    lines = list(more_lines("1,000,000 dead letters in all.", cursor))
    assert lines[1] == f"  --cursor {cursor}"
    assert all(len(line) <= COLUMNS for line in lines)


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
