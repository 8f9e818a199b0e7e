"""What persons did and saw: from the records of the tasks topic, newest first, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Action, EditKey, Note, OperatorTask, Selection, TaskEnd, TaskKey
from app.delivery.record_format import StateError
from app.delivery.values_shown import MOST_SHOWN, ShownKey, ValuesShown, decode_shown, new_shown_key, read_shown_key
from app.readmodels.audit import AuditIndex
from app.readmodels.audit_views import MOST_IDS_LISTED, audit_view
from app.readmodels.batch import ReadBatch
from app.readmodels.cursors import CursorError
from tests.unit.readmodels.test_letter_index import PIPELINE, Case

A, B = LetterId(5, 26), LetterId(0, 7, foreign=True)
TASK = OperatorTask("t", Action.REDRIVE, Selection((A,)), 10, "ann", "why", force=True, matched={5: 1})


class Audit(Case):
    """A case whose tasks topic is written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._said = 0
        self.audit = AuditIndex(lambda query: query(self.store))

    def say(self, *records: tuple[TaskKey | EditKey | ShownKey, Any]) -> list[str]:
        batch = ReadBatch(PIPELINE)
        for key, content in records:
            self._said += 1
            value = content if content is None or isinstance(content, bytes) else content.encode()
            batch.add(PIPELINE.tasks_topic, 0, self._said, key.encode(), value)
        self.store.apply(batch)
        return [one.reason for one in batch.unreadable]

    def told(self, **asked: Any) -> list[tuple[Any, ...]]:
        views = [audit_view(one) for one in self.audit.page(limit=100, **asked).entries]
        return [(view["action"], view["by"], view["task"], view["ids"]) for view in views]


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Audit]:
    one = Audit(tmp_path)
    yield one
    one.store.close()


def test_everything_that_a_person_did_or_saw_is_told_newest_first(case: Audit) -> None:
    case.say(
        (TaskKey("t"), TASK),
        (TaskKey("t", "pause"), Note("bob", 20)),
        (TaskKey("t", "end", 5), TaskEnd(25)),
        (EditKey(A, 3), Note("eve", 30, "typo")),
        (ShownKey("s"), ValuesShown("eve", 40, (A, B))),
        (TaskKey("t", "cancel"), Note("ann", 50)),
    )
    assert case.told() == [
        ("cancel", "ann", "t", []),
        ("view", "eve", None, ["5-26", "dlq-0-7"]),
        ("edit", "eve", None, ["5-26"]),
        ("pause", "bob", "t", []),
        ("redrive", "ann", "t", ["5-26"]),
    ]
    assert [action for action, *_ in case.told(since_ms=40)] == ["cancel", "view"]
    case.say((TaskKey("t", "pause"), Note("bob", 60, "", on=False)))
    assert case.told()[0] == ("resume", "bob", "t", [])


def test_pages_of_entries_at_the_same_time_repeat_none(case: Audit) -> None:
    case.say(*((ShownKey(f"{n}"), ValuesShown("eve", 40, (A,))) for n in range(7)))
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = case.audit.page(limit=3, cursor=cursor)
        found += [one.key.name for one in page.entries if isinstance(one.key, ShownKey)]
        cursor = page.next
        if cursor is None:
            break
    assert found == ["6", "5", "4", "3", "2", "1", "0"]


@pytest.mark.parametrize("cursor", ["", "abc", "W10", "WzEsMl0", "é", "A" * 10_000])
def test_a_cursor_of_something_else_is_refused(case: Audit, cursor: str) -> None:
    with pytest.raises(CursorError):
        case.audit.page(limit=1, cursor=cursor)


def test_what_is_forgotten_is_told_no_more(case: Audit) -> None:
    case.say((ShownKey("old"), ValuesShown("eve", 40, (A,))), (ShownKey("new"), ValuesShown("eve", 60, (A,))))
    case.say((TaskKey("t"), TASK))
    assert case.audit.shown_before(50, 10) == [b"shown|old"]
    case.say((ShownKey("old"), None), (TaskKey("t"), None))
    assert case.told() == [("view", "eve", None, ["5-26"])]


def test_a_long_task_lists_its_first_dead_letters(case: Audit) -> None:
    many = tuple(LetterId(0, n) for n in range(MOST_IDS_LISTED + 5))
    case.say((TaskKey("t"), replace(TASK, selection=Selection(many), matched={0: len(many)})))
    [view] = [audit_view(one) for one in case.audit.page(limit=1).entries]
    assert (len(view["ids"]), view["matched"], view["filter"]) == (MOST_IDS_LISTED, len(many), None)


def test_a_record_of_shown_values_is_read_back_and_a_broken_one_is_skipped(case: Audit) -> None:
    shown = ValuesShown("ann", 7, tuple(LetterId(0, n) for n in range(MOST_SHOWN)))
    assert decode_shown(shown.encode()) == shown
    key = new_shown_key(7)
    assert read_shown_key(key.encode()) == key
    for broken in (b"shown|", b"shown|a|b", b"shown|\xff", b"shown|" + b"x" * 100):
        with pytest.raises(StateError):
            read_shown_key(broken)
    for value in (b"{}", b"[]", b'{"v": 1, "by": "x", "at": 1, "ids": ["x"]}'):
        assert len(case.say((ShownKey("s"), value))) == 1
    assert case.told() == []
