"""Dead-letter records and operators' tasks: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.dead_letter_record import (
    HISTORY_KEPT,
    TASKS_KEPT,
    DeadLetter,
    HistoryLine,
    LetterStatus,
    with_line,
    with_task,
)
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId, letter_key, parse_letter_key, read_letter_id
from app.delivery.operator_task import (
    MOST_IDS,
    MOST_LETTERS,
    Action,
    EditKey,
    LetterFilter,
    Note,
    OperatorTask,
    Selection,
    TaskEnd,
    TaskKey,
    decode_end,
    decode_note,
    decode_task,
    new_task_id,
    parse_tasks_key,
)
from app.delivery.record_format import StateError
from tests.unit.delivery.test_partition_record import fingerprints, places, settled, settlements, tries

_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=9)
_times = st.integers(0, 253_402_300_799_999)
_numbers = st.integers(0, 2**53 - 1)
lines = st.builds(HistoryLine, _times, _texts, _texts, _texts, _texts, _texts, _texts)
letters = st.builds(
    DeadLetter,
    st.sampled_from(LetterStatus),
    settlements,
    fingerprints,
    _texts,
    _times,
    _times,
    _times,
    st.none() | places,
    _texts,
    tries,
    _numbers,
    st.lists(_texts, max_size=3).map(tuple),
    st.lists(lines, max_size=3).map(tuple),
    st.none() | places,
    _numbers,
    st.booleans(),
    _times,
)
ids = st.builds(LetterId, st.integers(0, 2**31 - 1), _numbers, st.booleans())
filters = st.builds(
    LetterFilter, _texts, _texts, _texts, _texts, _texts, _texts, st.none() | _times, st.none() | _times
)
tasks = st.builds(
    OperatorTask,
    st.just("t"),
    st.sampled_from(Action),
    st.builds(Selection, st.lists(ids, max_size=3).map(tuple), filters),
    _times,
    _texts,
    _texts,
    st.none() | st.floats(0.001, 1000),
    st.booleans(),
    st.dictionaries(_numbers, st.integers(0, MOST_LETTERS), max_size=2),
    st.dictionaries(_numbers, st.lists(_texts, max_size=2).map(tuple), max_size=2),
)


def letter(**changes: Any) -> DeadLetter:
    settlement = settled(reason="CMT-TIMEOUT")
    kind = Fingerprint("CMT-TIMEOUT", "pet", "NEW")
    return replace(DeadLetter(LetterStatus.OPEN, settlement, kind, "m", 1, 5, 5, None), **changes)


def task(**changes: Any) -> OperatorTask:
    return replace(OperatorTask("t", Action.REDRIVE, Selection(), 10, "me"), **changes)


@given(letters)
def test_a_dead_letter_record_is_read_back(one: DeadLetter) -> None:
    assert DeadLetter.decode(one.encode()) == one


@given(tasks)
def test_a_task_is_read_back(one: OperatorTask) -> None:
    assert decode_task("t", one.encode()) == one


def test_more_dead_letters_than_a_partition_can_have_are_refused() -> None:
    with pytest.raises(StateError):
        decode_task("t", task(matched={0: MOST_LETTERS + 1}).encode())


@given(st.builds(Note, _texts, _times, _texts, st.booleans()), st.dictionaries(_texts, _numbers, max_size=3), _times)
def test_notes_and_ends_are_read_back(note: Note, done: dict[str, int], at: int) -> None:
    assert decode_note(note.encode()) == note
    assert decode_end(TaskEnd(at, done).encode()) == TaskEnd(at, done)


@given(ids, _numbers)
def test_keys_are_read_back(one: LetterId, number: int) -> None:
    assert parse_letter_key(letter_key(one, number)) == (one, number)
    assert read_letter_id(str(one)) == one
    for key in (TaskKey("t"), TaskKey("t", "pause"), TaskKey("t", "cancel"), TaskKey("t", "end", number)):
        assert parse_tasks_key(key.encode()) == key
    assert parse_tasks_key(EditKey(one, number).encode()) == EditKey(one, number)


@given(st.binary(max_size=30) | st.text(alphabet="0123456789|-dlqendeditpausecancel", max_size=24).map(str.encode))
def test_other_keys_are_refused_or_written_in_this_one_way(key: bytes) -> None:
    with contextlib.suppress(StateError):
        assert letter_key(*parse_letter_key(key)) == key
    with contextlib.suppress(StateError):
        assert parse_tasks_key(key).encode() == key


@pytest.mark.parametrize(
    "text", ["", "5", "5-", "-5-1", "5-1-2", "05-1", "5-01", "dlq-5", "2147483648-1", "5-9" + "9" * 16, "٣-١"]
)
def test_what_is_no_id_names_no_dead_letter(text: str) -> None:
    assert read_letter_id(text) is None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(letters, tasks, st.data())
def test_a_record_with_one_part_replaced_is_refused_or_harmless(
    one: DeadLetter, wish: OperatorTask, data: st.DataObject
) -> None:
    for encoded, read in ((one.encode(), DeadLetter.decode), (wish.encode(), lambda value: decode_task("t", value))):
        document = orjson.loads(encoded)
        name = data.draw(st.sampled_from(sorted(document)))
        document[name] = data.draw(JUNK.filter(lambda value: _is_json(value)))
        try:
            again = read(orjson.dumps(document))
        except StateError:
            continue
        assert read(again.encode()) == again  # type: ignore[attr-defined]


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


@given(st.binary(max_size=40))
def test_bytes_that_are_no_record_raise_the_readers_own_error(value: bytes) -> None:
    readers: list[Callable[[bytes], object]] = [
        DeadLetter.decode,
        decode_note,
        decode_end,
        lambda given: decode_task("t", given),
    ]
    for read in readers:
        with pytest.raises(StateError):
            read(value)


def test_a_task_may_not_name_more_dead_letters_than_are_handled_in_time() -> None:
    many = tuple(LetterId(0, offset) for offset in range(MOST_IDS + 1))
    with pytest.raises(StateError, match="at most 10000 dead letters"):
        decode_task("t", task(selection=Selection(many)).encode())


def test_a_filter_names_what_is_known_of_a_dead_letter() -> None:
    one = letter(settlement=settled(reason="CMT-TIMEOUT", market="DE"))
    assert LetterFilter().matches(one)
    fits = {
        "fingerprint": "CMT-TIMEOUT:pet:NEW",
        "reason": "CMT-TIMEOUT",
        "market": "DE",
        "operation": "NEW",
        "entity": "pet",
        "consumer": "c",
        "since_ms": 5,
        "until_ms": 6,
    }
    for name, value in fits.items():
        assert LetterFilter(**{name: value}).matches(one), name  # type: ignore[arg-type]
    misses = dict.fromkeys(fits, "other") | {"since_ms": 6, "until_ms": 5}
    for name, value in misses.items():
        assert not LetterFilter(**{name: value}).matches(one), name  # type: ignore[arg-type]


def test_a_task_with_a_filter_takes_what_was_there_when_it_was_made() -> None:
    here = LetterId(0, 1)
    assert task().selects(here, letter(opened_ms=10))
    assert not task().selects(here, letter(opened_ms=11))
    named = task(selection=Selection((here,)))
    assert named.selects(here, letter(opened_ms=11))
    assert not named.selects(LetterId(0, 2), letter())


def test_a_task_takes_an_open_dead_letter_once() -> None:
    here = LetterId(0, 1)
    for closed in (letter(status=LetterStatus.SETTLED), letter(status=LetterStatus.DISCARDED), letter(tasks=("t",))):
        assert not task().selects(here, closed)
    assert task().selects(here, letter(tasks=("other",)))


def test_history_and_tasks_do_not_grow_for_ever() -> None:
    history, tasks_of = (HistoryLine(0, "failed"),), ()
    for number in range(1, 200):
        history = with_line(history, HistoryLine(number, "redrive"))
        tasks_of = with_task(tasks_of, f"t-{number}")
    assert (history[0].action, history[-1].at_ms, len(history)) == ("failed", 199, HISTORY_KEPT)
    assert (tasks_of[-1], len(tasks_of)) == ("t-199", TASKS_KEPT)
    assert with_task(tasks_of, "t-199") == tasks_of
    assert with_task((), "") == ()


def test_task_ids_sort_by_time_and_are_not_given_twice() -> None:
    earlier, later = (new_task_id(Action.REDRIVE, ms) for ms in (1_795_000_000_000, 1_795_000_060_000))
    assert earlier < later
    assert len({new_task_id(Action.REDRIVE, 0) for _ in range(100)}) == 100
    assert TaskKey(earlier).encode() == earlier.encode()
