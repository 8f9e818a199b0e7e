"""Which values of open dead letters Kafka may delete soon, and what people are told."""

from __future__ import annotations

import pytest

from app.delivery.dead_letter_record import DeadLetter, Holder, LetterStatus, ValuePlace, kept_since
from app.delivery.expiring_values import WARN_MS, ExpiringValues, expiring, warned_before
from app.delivery.fingerprint import Fingerprint
from app.delivery.record import DAY_MS, start_of
from tests.support.records import settlement

NOW = start_of("2026-11-29") + 5_000
QUARTER = 90 * DAY_MS


def test_the_warning_begins_two_weeks_before_the_first_value_can_go() -> None:
    assert WARN_MS == 14 * DAY_MS
    before = warned_before(QUARTER, NOW)
    assert before == NOW - 76 * DAY_MS


@pytest.mark.parametrize("retention_ms", [-1, -5])
def test_without_a_limit_no_value_goes(retention_ms: int) -> None:
    assert warned_before(retention_ms, NOW) is None


def test_a_retention_shorter_than_two_weeks_warns_at_once() -> None:
    before = warned_before(3_600_000, NOW)
    assert before is not None and before > NOW


def test_a_topic_from_which_nothing_goes_is_not_named() -> None:
    assert expiring("g.dlq", QUARTER, (0, None)) is None


@pytest.mark.parametrize(
    ("letters", "oldest", "text"),
    [
        (
            1_234,
            "2026-09-06",
            "Kafka may delete the values of 1,234 open dead letters from g.dlq, the first from 2026-12-05 on",
        ),
        (1, "2026-09-06", "Kafka may delete the value of 1 open dead letter from g.dlq from 2026-12-05 on"),
    ],
)
def test_people_are_told_how_many_from_when_on_and_what_to_do(letters: int, oldest: str, text: str) -> None:
    found = expiring("g.dlq", QUARTER, (letters, start_of(oldest)))
    assert found == ExpiringValues("g.dlq", letters, start_of("2026-12-05"))
    assert found.text == text
    assert found.remedy == f"Redrive or discard {'it' if letters == 1 else 'them'}, or raise retention.ms of g.dlq."


@pytest.mark.parametrize(
    ("place", "day", "since"),
    [
        (ValuePlace(Holder.DLQ, 7), "2026-01-31", NOW),
        (ValuePlace(Holder.MAIN, 7), "2026-01-31", start_of("2026-01-31")),  # only the day of the event is known
        (ValuePlace(Holder.MAIN, 7), "2026-02-31", NOW),  # another program wrote this
        (None, "2026-01-31", None),
    ],
)
def test_how_old_the_record_with_the_bytes_can_be(place: ValuePlace | None, day: str, since: int | None) -> None:
    kind = Fingerprint("CMT-TIMEOUT", "pet", "NEW")
    letter = DeadLetter(LetterStatus.OPEN, settlement(day=day), kind, "m", 1, NOW, NOW, place)
    assert kept_since(letter) == since
