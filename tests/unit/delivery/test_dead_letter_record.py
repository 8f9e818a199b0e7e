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

from app.cmt.request_id import LONGEST as REQUEST_ID_LENGTH
from app.delivery.counts import FailureCount
from app.delivery.dead_letter_changes import opened
from app.delivery.dead_letter_record import (
    HISTORY_KEPT,
    TASKS_KEPT,
    DeadLetter,
    HistoryLine,
    Holder,
    LetterStatus,
    ValuePlace,
    with_line,
    with_task,
)
from app.delivery.error_registry import REGISTRY
from app.delivery.failed_attempt import ATTEMPTS_KEPT, FailedAttempt, with_attempt
from app.delivery.fingerprint import Fingerprint
from app.delivery.headers import cut
from app.delivery.letter_id import LetterId, letter_key, parse_letter_key, read_letter_id
from app.delivery.operator_task import (
    BY_BYTES,
    MOST_IDS,
    MOST_LETTERS,
    NOTE_BYTES,
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
from app.delivery.outcome import RecordCount
from app.delivery.readmitted import Handling
from app.delivery.record import LATEST_MS, SourceRecord
from app.delivery.record_format import StateError
from app.delivery.state_fields import LARGEST
from app.delivery.values_shown import ValuesShown, decode_shown
from app.delivery.verdict import Verdict
from app.engine.handled_letters import entry_of
from app.engine.letter_sources import KnownLetter
from app.profile.entities import EntityType
from tests.unit.delivery.test_partition_record import fingerprints, places, settled, settlements, tries

_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=9)
_times = st.integers(0, 253_402_300_799_999)
_numbers = st.integers(0, 2**53 - 1)
lines = st.builds(HistoryLine, _times, _texts, _texts, _texts, _texts, _texts, _texts)
letters = st.builds(
    DeadLetter,
    st.sampled_from(LetterStatus),
    settlements.map(lambda one: replace(one, rows="")),
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


@pytest.mark.parametrize(("names", "changed_ms", "selected"), [(63, 20, True), (64, 9, True), (64, 20, False)])
def test_where_names_of_tasks_may_be_missing_no_task_handles_a_dead_letter_again(
    names: int, changed_ms: int, selected: bool
) -> None:
    """The record names the last 64 tasks. An older one that is not over must not take its dead letter again."""
    one = letter(tasks=tuple(f"t-{number}" for number in range(names)), changed_ms=changed_ms)
    assert task(id="first", created_ms=10).selects(LetterId(0, 1), one) is selected
    assert TASKS_KEPT == 64


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


# How long texts may be: other programs can write into these topics too

WIDE = "\U0001f600"  # four bytes of UTF-8, and one character
CONTROL = "\x01"  # six bytes of JSON
LONG = "B" * 1_000_000


def largest(name: str, by: str, note: str) -> DeadLetter:
    """The largest record that this program writes, from the longest of everything that a producer and people give."""
    failures = tuple(FailureCount(kind.value, code) for kind in EntityType for code in sorted(REGISTRY))
    counts = tuple(RecordCount(kind.value, LARGEST, LARGEST) for kind in EntityType)
    last = settled(
        consumer_id=name,
        event_id=name,
        reason="CMT-ROW-INVALID",
        rows="C" + "x" * 9_000,
        failures=failures,
        records=counts,
    )
    last = replace(last, deleted=(("pet", ("y" * 9_000,)),), market="m" * 16)
    task_id = "m-" + SourceRecord("t" * 249, 2**31 - 1, LARGEST, 0, None, None).id
    tries: tuple[FailedAttempt, ...] = ()
    for _ in range(ATTEMPTS_KEPT + 1):
        tries = with_attempt(tries, LATEST_MS, "CMT-ROW-INVALID")
    verdict = Verdict(last, cut(WIDE * 10_000), 0, LATEST_MS, True, "r" * REQUEST_ID_LENGTH, tries)
    found = opened(verdict, ValuePlace(Holder.DLQ, LARGEST), size=LARGEST, has_key=True, now_ms=LATEST_MS)
    for number in range(HISTORY_KEPT + TASKS_KEPT):
        known = KnownLetter(LetterId(0, LARGEST), 1, found)
        of_task = task(id=f"{number}-{task_id}"[: len(task_id)], by=cut(by, BY_BYTES), note=cut(note, NOTE_BYTES))
        again = entry_of(known, Handling.REDRIVE, found.place, of_task)
        found = opened(
            verdict, found.place, size=1, has_key=True, now_ms=LATEST_MS, again=again, before=found, note=of_task.note
        )
    return replace(found, redrives=LARGEST)


@pytest.mark.parametrize("sign", [WIDE, CONTROL, "x"], ids=["wide", "control", "plain"])
def test_the_largest_record_that_this_program_writes_is_read(sign: str) -> None:
    name, by, note = sign * 512, sign * BY_BYTES, sign * NOTE_BYTES
    found = largest(name, by, note)
    assert (len(found.history), len(found.tasks)) == (HISTORY_KEPT, TASKS_KEPT)
    assert DeadLetter.decode(found.encode()) == found
    wish = task(by=cut(by, BY_BYTES), note=cut(note, NOTE_BYTES), consumers={0: (name,)})
    assert decode_task("t", wish.encode()) == wish
    said = Note(wish.by, 1, wish.note)
    assert decode_note(said.encode()) == said


def texts_of(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where texts stand in a JSON document: the names and numbers that lead there."""
    if isinstance(document, str):
        return [path]
    parts = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [found for name, part in parts for found in texts_of(part, (*path, name))]


def replaced(document: Any, path: tuple[Any, ...], text: str) -> Any:
    copy = orjson.loads(orjson.dumps(document))
    part = copy
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = text
    return orjson.dumps(copy)


def test_no_text_of_a_record_may_have_any_length() -> None:
    line = HistoryLine(1, "redrive", "failed", "CMT-TIMEOUT", "me", "t", "why")
    counted = settled(
        reason="CMT-TIMEOUT", records=(RecordCount("pet", 1, 1),), failures=(FailureCount("pet", "CMT-TIMEOUT"),)
    )
    one = letter(
        settlement=counted,
        tasks=("t",),
        history=(line,),
        attempts=(FailedAttempt(1, "CMT-TIMEOUT"),),
        place=ValuePlace(Holder.DLQ, 1),
        request_id="r",
    )
    chosen = LetterFilter("f", "r", "m", "o", "e", "c")
    wish = task(selection=Selection((LetterId(0, 1),), chosen), note="n", consumers={0: ("c",)})
    readers: list[tuple[bytes, Callable[[bytes], object]]] = [
        (one.encode(), DeadLetter.decode),
        (wish.encode(), lambda value: decode_task("t", value)),
        (Note("me", 1, "why").encode(), decode_note),
        (ValuesShown("me", 1, (LetterId(0, 1),)).encode(), decode_shown),
    ]
    for encoded, read in readers:
        document = orjson.loads(encoded)
        read(encoded)
        paths = texts_of(document)
        assert len(paths) >= 2
        for path in paths:
            try:
                read(replaced(document, path, LONG))
            except StateError:
                continue
            pytest.fail(f"{read}: {path} may have a million characters")
    with pytest.raises(StateError):
        decode_end(TaskEnd(1, {LONG: 1}).encode())
    for key in (TaskKey(LONG), TaskKey(LONG, "pause"), TaskKey(LONG, "end", 0)):
        with pytest.raises(StateError):
            parse_tasks_key(key.encode())


def test_no_list_of_a_record_may_have_any_length() -> None:
    many = 100_000
    for changes in (
        {"tasks": ("t",) * many},
        {"history": (HistoryLine(1, "redrive"),) * many},
        {"attempts": (FailedAttempt(1, "x"),) * many},
        {"settlement": settled(failures=(FailureCount("pet", "x"),) * many)},
        {"settlement": settled(records=(RecordCount("pet", 1, 1),) * many)},
        {"settlement": settled(rows="x" * many)},
    ):
        with pytest.raises(StateError):
            DeadLetter.decode(letter(**changes).encode())
    with pytest.raises(StateError):
        decode_end(TaskEnd(1, {str(number): 1 for number in range(many)}).encode())
    with pytest.raises(StateError):
        decode_shown(ValuesShown("me", 1, (LetterId(0, 1),) * many).encode())
