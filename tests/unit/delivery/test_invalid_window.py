"""Twenty invalid events of a reason within ten minutes are an incident, wherever they were seen."""

from __future__ import annotations

from app.delivery.invalid_window import AGAIN_MS, MANY, WINDOW_MS, InvalidWindow
from app.delivery.worker_status import InvalidCount, WorkerStatus

NOW = 1_763_000_000_000
REASON = "EVENT-SCHEMA"


def seen(number: int, first: int = NOW, step: int = 1, reason: str = REASON) -> InvalidWindow:
    window = InvalidWindow()
    for n in range(number):
        window.saw(reason, first + n * step)
    return window


def other(count: int, since: int = NOW) -> WorkerStatus:
    return WorkerStatus(worker="b", at=NOW, started=NOW, invalid={REASON: InvalidCount(count=count, since=since)})


def test_from_twenty_on_it_is_an_incident() -> None:
    assert seen(MANY - 1).to_report([], NOW + 100) == {}
    assert seen(MANY).to_report([], NOW + 100) == {REASON: InvalidCount(count=MANY, since=NOW)}


def test_what_is_longer_ago_than_ten_minutes_does_not_count() -> None:
    step = WINDOW_MS // (MANY - 1)
    assert seen(MANY, step=step - 1).to_report([], NOW + (MANY - 1) * (step - 1)) != {}
    assert seen(MANY, step=step + 1).to_report([], NOW + (MANY - 1) * (step + 1)) == {}


def test_reasons_are_counted_apart() -> None:
    window = seen(MANY - 1)
    window.saw("EVENT-NOT-JSON", NOW)
    assert window.to_report([], NOW + 100) == {}


def test_all_workers_count_together_and_who_saw_none_says_nothing() -> None:
    expected = {REASON: InvalidCount(count=MANY, since=NOW - 50)}
    assert seen(5).to_report([other(MANY - 5, since=NOW - 50)], NOW + 100) == expected
    assert seen(0).to_report([other(MANY)], NOW + 100) == {}


def test_a_flood_is_one_report_a_minute_and_none_when_it_is_over() -> None:
    window, reports = InvalidWindow(), 0
    for second in range(600):
        for _ in range(100):
            window.saw(REASON, NOW + second * 1000)
        reports += len(window.to_report([], NOW + second * 1000))
    assert reports == 600_000 // AGAIN_MS
    end = NOW + 600_000
    for second in range(900):
        reports += len(window.to_report([], end + second * 1000))
    assert reports == 600_000 // AGAIN_MS + 1
    assert window.counts(end + 900_000) == {}
