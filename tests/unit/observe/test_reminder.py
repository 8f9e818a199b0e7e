"""What lasts is said once when it begins, then rarely."""

from __future__ import annotations

from app.observe.reminder import Reminder


def test_a_line_is_due_at_first_then_once_a_minute_and_at_once_when_it_begins_again() -> None:
    now = 100.0
    reminder = Reminder(60.0, lambda: now)
    due = []
    for _ in range(125):
        due.append(reminder.due())
        now += 1
    assert [second for second, one in enumerate(due) if one] == [0, 60, 120]
    reminder.over()
    assert reminder.due()
