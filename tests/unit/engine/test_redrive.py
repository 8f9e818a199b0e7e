"""Redrive, discard, edit and erasure of dead letters: order, counts, and what a crash at any write leaves behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import cells
from app.delivery.dead_letter_record import Holder, LetterStatus, ValuePlace
from app.delivery.headers import edited_headers
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.operator_task import Action, decode_task
from app.delivery.outcome import Outcome
from app.delivery.partition_record import PartitionState
from app.delivery.readmitted import MOST_READMITTED, MOST_REDRIVEN
from app.delivery.record import SourceRecord
from app.delivery.state_fields import LARGEST
from app.engine.letter_sources import ValuesUnavailable
from app.kafka.durable_producer import TooLarge, Write
from tests.support.examples import examples
from tests.unit.engine.fakes import MemoryStates
from tests.unit.engine.world import MAX_ATTEMPTS, PIPELINE, Event, Lost, World

DEAD = {Outcome.FAILED.value, Outcome.INVALID.value}


@pytest.fixture(autouse=True)
def looking_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.redrive.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("app.engine.foreign_letters.READ_SECONDS", 0.0)
    monkeypatch.setattr("app.engine.republished.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("app.engine.republished.LOOK_SECONDS", 0.0)


async def until(condition: Callable[[], object], steps: int = 20_000) -> None:
    """Let the loop run until the condition holds."""
    for step in range(steps):
        if condition():
            return
        await asyncio.sleep(0 if step % 50 else 0.0001)
    raise AssertionError("the condition never held")


async def dead_letters_of(*events: Event, **more: object) -> World:
    """A world in which these events have ended; what failed would succeed now."""
    world = World(list(events), **more)  # type: ignore[arg-type]
    await world.start()
    assert await world.run()
    world.flow.mended = True
    return world


def assert_everything_adds_up(world: World) -> None:
    """What holds at rest, whatever happened."""
    state, letters = world.state(), world.letters().known
    assert (state.readmitted, state.erasing, state.verdicts, state.parked) == ({}, {}, {}, {})
    of_letters = {letter.offset: known.record.settlement.outcome.value for letter, known in letters.items()}
    counted = Counter(world.outcomes())
    assert sum(counted.values()) == len(world.events), "each event counts once"
    others = counted - Counter(of_letters.values())
    assert set(others) <= {"synced", "partial", "superseded"}, "every failed event has a dead letter"
    is_open = [known.record for known in letters.values() if known.record.status is LetterStatus.OPEN]
    assert Counter(record.settlement.reason for record in is_open) == Counter(state.dead_letters)
    assert all(record.settlement.outcome.value in DEAD for record in is_open)
    failures = Counter[str]()
    for cell in cells([world.counts()]):
        if cell.kind == "failures":
            failures[cell.key[2]] += cell.numbers[0]
    reasons = Counter(failure.reason for record in is_open for failure in record.settlement.failures)
    assert Counter({reason: n for reason, n in failures.items() if n}) == reasons
    for known in letters.values():
        tasks = [line.task for line in known.record.history if line.task]
        assert len(tasks) == len(set(tasks)), "a task handled a dead letter twice"
        assert set(tasks) <= set(known.record.tasks)
        if known.record.status is LetterStatus.OPEN and known.record.place is not None:
            assert known.record.place.offset < len(world.topics[PIPELINE.dlq_topic])


# One at a time


async def test_a_redrive_runs_the_event_again_and_moves_its_count() -> None:
    world = await dead_letters_of(Event("a", "never"), Event("b"))
    assert world.outcomes() == {"failed": 1, "synced": 1}
    assert world.letter(0).place == ValuePlace(Holder.DLQ, 0)
    world.wish("t")
    await until(world.tasks_are_over)
    letter = world.letter(0)
    assert (world.outcomes(), world.state().dead_letters) == ({"synced": 2}, {})
    assert (letter.status, letter.redrives, letter.tasks) == (LetterStatus.SETTLED, 1, ("t",))
    assert [(line.action, line.outcome, line.by, line.note) for line in letter.history] == [
        ("failed", "failed", "", ""),
        ("redrive", "synced", "me", "note of t"),
    ]
    assert world.attempts_of(0) == [1, 2, 3, 1], "a redrive has all its attempts"
    assert_everything_adds_up(world)
    await world.stop()


async def test_what_fails_again_is_the_same_dead_letter_with_a_longer_history() -> None:
    world = await dead_letters_of(Event("a", "never"))
    world.flow.mended = False
    world.wish("t")
    await until(world.tasks_are_over)
    letter = world.letter(0)
    assert (letter.status, letter.redrives, letter.tasks) == (LetterStatus.OPEN, 1, ("t",))
    assert letter.place == ValuePlace(Holder.DLQ, 1), "the newest copy"
    assert [line.action for line in letter.history] == ["failed", "redrive"]
    assert len(letter.attempts) == MAX_ATTEMPTS
    assert (world.outcomes(), world.dead_letters()) == ({"failed": 1}, [0, 0])
    assert sum(world.state().dead_letters.values()) == 1
    assert_everything_adds_up(world)
    headers = dict(world.topics[PIPELINE.dlq_topic][1].headers)
    assert (headers["x-sync-redrive-count"], headers["x-sync-task-id"]) == (b"1", b"t")
    await world.stop()


async def test_a_discard_runs_nothing_and_moves_the_count() -> None:
    world = await dead_letters_of(Event("a", "never"), Event("b", "refused"))
    world.wish("t", Action.DISCARD, 1)
    await until(world.tasks_are_over)
    assert world.outcomes() == {"failed": 1, "discarded": 1}
    assert world.letter(1).status is LetterStatus.DISCARDED
    assert world.attempts_of(1) == [1]
    assert world.handled_outcomes == [Outcome.DISCARDED]
    assert_everything_adds_up(world)
    await world.stop()


async def test_what_a_later_state_has_superseded_is_not_sent_unless_forced() -> None:
    world = await dead_letters_of(Event("a", "never"), Event("a"), Event("a", "refused"))
    world.wish("t", Action.REDRIVE, 0)
    await until(world.tasks_are_over)
    assert world.outcomes() == {"superseded": 1, "synced": 1, "failed": 1}
    assert world.order_of("a") == [0, 1, 2]
    assert_everything_adds_up(world)
    forced = await dead_letters_of(Event("a", "never"), Event("a"))
    forced.wish("t", Action.REDRIVE, 0, force=True)
    await until(forced.tasks_are_over)
    assert forced.outcomes() == {"synced": 2}
    assert forced.order_of("a") == [0, 1, 0]
    await world.stop()
    await forced.stop()


async def test_an_edit_changes_what_runs_and_keeps_the_original() -> None:
    world = await dead_letters_of(Event("a", "never"))
    world.flow.mended = False
    world.edit(0, Event("a", "ok"))
    world.wish("t", Action.REDRIVE, 0)
    await until(world.tasks_are_over)
    letter = world.letter(0)
    assert (world.outcomes(), letter.status) == ({"synced": 1}, LetterStatus.SETTLED)
    assert letter.original == ValuePlace(Holder.DLQ, 0)
    assert_everything_adds_up(world)
    await world.stop()


async def test_an_edit_cannot_make_it_another_consumers_event() -> None:
    world = await dead_letters_of(Event("a", "never"), Event("b"))
    world.edit(0, Event("b", "ok"))
    world.wish("t")
    await until(world.tasks_are_over)
    assert (world.outcomes(), world.letter(0).settlement.reason) == ({"invalid": 1, "synced": 1}, "EVENT-KEY-MISMATCH")
    assert world.order_of("b") == [1]
    assert_everything_adds_up(world)
    await world.stop()


async def test_an_invalid_event_can_be_redriven_when_it_is_valid_now() -> None:
    world = await dead_letters_of(Event("a", "invalid"))
    assert world.outcomes() == {"invalid": 1}
    world.wish("t")
    await until(world.tasks_are_over)
    assert world.outcomes() == {"synced": 1}
    assert_everything_adds_up(world)
    await world.stop()


async def test_bytes_that_are_gone_leave_the_dead_letter_open_and_only_discard_helps() -> None:
    world = await dead_letters_of(Event("a", "never"), Event("a"))
    world.gone |= {(PIPELINE.dlq_topic, 0), (PIPELINE.topic, 0)}
    world.wish("t")
    await until(world.tasks_are_over)
    letter = world.letter(0)
    assert (letter.status, letter.place, letter.history[-1].reason) == (LetterStatus.OPEN, None, "SYNC-VALUE-GONE")
    assert (world.outcomes(), world.dead_letters()) == ({"failed": 1, "synced": 1}, [0])
    assert world.order_of("a") == [0, 1], "it never ran as a null value"
    assert_everything_adds_up(world)
    world.wish("d", Action.DISCARD)
    await until(world.tasks_are_over)
    assert world.outcomes() == {"discarded": 1, "synced": 1}
    await world.stop()


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_dead_letters_that_lost_their_records_are_told_of(lost: int) -> None:
    world = await dead_letters_of(Event("a", "never"), Event("b", "never"))
    await world.stop()
    kept = world.topics[PIPELINE.letters_topic]
    world.topics[PIPELINE.letters_topic] = [
        one for one in kept if one.key not in {record.key for record in kept[:lost]}
    ]
    with capture_logs() as logs:
        await world.start()
        world.wish("t", Action.DISCARD)
        await until(world.tasks_are_over)
        await world.stop()
    told = [(one["open"], one["without_record"]) for one in logs if "no record any more" in one["event"]]
    assert told == ([(2, lost)] if lost else [])


async def test_bytes_that_only_the_main_topic_still_has_are_run() -> None:
    world = await dead_letters_of(Event("a", "never"), Event("b", "never"))
    world.gone |= {(PIPELINE.dlq_topic, 0), (PIPELINE.dlq_topic, 1)}
    world.wish("t")
    await until(world.tasks_are_over)
    assert world.outcomes() == {"synced": 2}
    assert_everything_adds_up(world)
    await world.stop()


async def test_an_edit_whose_bytes_are_gone_is_not_replaced_by_what_the_producer_sent() -> None:
    world = await dead_letters_of(Event("a", "never"))
    world.edit(0, Event("a"))
    world.gone.add((PIPELINE.dlq_topic, 1))
    world.wish("t")
    await until(world.tasks_are_over)
    assert world.outcomes() == {"failed": 1}
    assert world.letter(0).history[-1].reason == "SYNC-VALUE-GONE"
    await world.stop()


async def test_a_deleted_profile_closes_the_dead_letters_before_it() -> None:
    world = await dead_letters_of(
        Event("a", "never"), Event("a", "invalid"), Event("b", "never"), Event("a", "delete"), Event("a", "refused")
    )
    await until(world.tasks_are_over)
    reasons = {offset: world.letter(offset).settlement.reason for offset in (0, 1)}
    assert reasons == {0: "SYNC-ERASED", 1: "SYNC-ERASED"}
    assert world.outcomes() == {"superseded": 2, "failed": 2, "synced": 1}
    assert [world.letter(offset).status for offset in (2, 4)] == [LetterStatus.OPEN] * 2
    assert_everything_adds_up(world)
    await world.stop()


async def test_an_event_that_fails_after_a_later_delete_of_the_profile_is_closed_too() -> None:
    """Invalid events are buried beside the lanes, so a DELETE may be settled before."""
    world = World([Event("a", "invalid"), Event("a", "delete")])
    await world.start()
    world.producer.closed_topics.add(PIPELINE.dlq_topic)
    await until(lambda: world.outcomes() == {"synced": 1} and not world.state().erasing)
    world.producer.closed_topics.clear()
    assert await world.run()
    await until(world.tasks_are_over)
    assert world.outcomes() == {"superseded": 1, "synced": 1}
    assert_everything_adds_up(world)
    await world.stop()


async def test_a_dead_letter_that_lost_its_value_never_runs_as_a_null_value() -> None:
    world = World([])
    write = Write(PIPELINE.topic, 0, b"a", b"a|delete", (("x-sync-value-omitted", b"true"),))
    world.events.append(Event("a", "invalid"))
    world.topics[PIPELINE.topic].append(write)
    await world.start()
    assert await world.run()
    assert (world.outcomes(), world.letter(0).settlement.reason) == ({"invalid": 1}, "EVENT-VALUE-OMITTED")
    assert world.flow.effects == []
    await world.stop()


# Records of other programs

SPRING = (
    ("kafka_dlt-original-topic", b"elsewhere"),
    ("kafka_dlt-exception-fqcn", b"org.example.Broken"),
    ("kafka_dlt-exception-message", b"Ann's pet"),
)


def put(world: World, topic: str, *writes: tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]) -> None:
    """Another program writes into a topic."""
    log = world.topics.setdefault(topic, [])
    log.extend(Write(topic, 0, key, value, headers) for key, value, headers in writes)


async def test_a_foreign_record_is_listed_and_redriven_as_a_new_event() -> None:
    world = await dead_letters_of(Event("a", "never"))
    put(world, PIPELINE.dlq_topic, (b"b", b"b|ok", (*SPRING, ("theirs", b"1"))), (b"c", None, ()))
    await until(lambda: len(world.letters().known) == 3)
    foreign = world.letters().known[LetterId(0, 1, foreign=True)].record
    assert foreign.message == "spring-kafka: org.example.Broken, from elsewhere", "no message: it may quote values"
    assert foreign.fingerprint.entity == "spring-kafka"
    world.events.append(Event("b"))
    world.wish("t")
    await until(world.tasks_are_over)
    assert world.topics[PIPELINE.topic][1].headers == (("theirs", b"1"),)
    assert await world.run()
    assert world.order_of("b") == [1]
    null = world.letters().known[LetterId(0, 2, foreign=True)].record
    assert (null.status, null.tasks) == (LetterStatus.OPEN, ("t",)), "a null value runs only as a single one, forced"
    assert world.outcomes() == {"synced": 2}
    world.wish("d", Action.DISCARD)
    await until(world.tasks_are_over)
    statuses = [known.record.status.value for _, known in sorted(world.letters().known.items())]
    assert statuses == ["settled", "settled", "discarded"]
    await world.stop()


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_task_does_not_end_before_what_the_brokers_kept_back(
    foreign: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await dead_letters_of(Event("a", "never"))
    if foreign:
        put(world, PIPELINE.dlq_topic, (b"b", b"b|ok", SPRING))
        world.events.append(Event("b"))
        await until(lambda: len(world.letters().known) == 2)
    name = "read_foreign" if foreign else "read"
    values, refused = world.context.letter_values, 0
    answer = getattr(values, name)

    async def read(partition: int, wanted: Any) -> Any:
        nonlocal refused
        refused += 1
        if refused < 4:
            raise ValuesUnavailable("the brokers do not answer")
        return await answer(partition, wanted)

    monkeypatch.setattr(values, name, read)
    world.wish("t")
    await until(world.tasks_are_over)
    assert {known.record.status for known in world.letters().known.values()} == {LetterStatus.SETTLED}
    assert refused >= 4
    await world.stop()


async def test_a_foreign_record_without_a_readable_key_can_only_be_discarded() -> None:
    world = await dead_letters_of(Event("a", "never"))
    put(world, PIPELINE.dlq_topic, (None, b"b|ok", SPRING), (b"\xff", b"b|ok", SPRING))
    await until(lambda: len(world.letters().known) == 3)
    published = len(world.topics[PIPELINE.topic])
    world.wish("t", Action.REDRIVE, 1, 2, foreign=True, force=True)
    await until(world.tasks_are_over)
    foreign = [known.record for one, known in sorted(world.letters().known.items()) if one.foreign]
    assert [(one.status, one.history[-1].reason) for one in foreign] == [
        (LetterStatus.OPEN, "it has no readable key: discard it")
    ] * 2
    assert len(world.topics[PIPELINE.topic]) == published
    await world.stop()


@pytest.mark.parametrize("partition", [0, 5])
async def test_a_foreign_record_of_a_deleted_profile_is_redriven_only_alone_and_forced(partition: int) -> None:
    world = await dead_letters_of(Event("a", "never"))
    put(world, PIPELINE.dlq_topic, (b"b", b"b|ok", SPRING))
    await until(lambda: len(world.letters().known) == 2)
    [one] = [letter for letter in world.letters().known if letter.foreign]
    states = world.context.states
    assert isinstance(states, MemoryStates)
    states.known[partition, "b"] = (1, ConsumerState(9, "DE", erased=7))
    world.wish("all")
    await until(world.tasks_are_over)
    left = world.letters().known[one].record
    assert left.status is LetterStatus.OPEN
    assert left.history[-1].reason == "the consumer's profile was deleted: redrive it alone, with --force"
    world.events.append(Event("b"))
    world.wish("one", Action.REDRIVE, one.offset, foreign=True, force=True)
    await until(world.tasks_are_over)
    assert world.letters().known[one].record.status is LetterStatus.SETTLED
    assert await world.run()
    assert world.order_of("b") == [1]
    await world.stop()


@pytest.mark.parametrize("name", ["ann@host", None])
async def test_a_dead_letter_that_is_published_again_is_a_redrive_and_counts_once(name: str | None) -> None:
    world = await dead_letters_of(Event("a", "never"))
    letter = world.topics[PIPELINE.dlq_topic][0]
    world.events.append(Event("a", "invalid"))  # it has an offset, and is no event
    headers = letter.headers if name is None else (*letter.headers, ("x-sync-published-by", name.encode()))
    put(world, PIPELINE.topic, (letter.key, letter.value, headers))  # type: ignore[arg-type]
    await until(lambda: world.outcomes() == {"synced": 1})
    await until(world.tasks_are_over)
    record = world.letter(0)
    assert (record.status, record.history[-1].by) == (LetterStatus.SETTLED, name or "published again")
    [wish] = [write.value for write in world.topics[PIPELINE.tasks_topic] if write.key == b"m-0-1"]
    assert (
        decode_task("m-0-1", wish or b"").note
        == ("with publish" if name else "by another program") + ", at 0-1 of the main topic"
    )
    assert world.state().upto == 1
    assert world.order_of("a") == [0]
    await world.stop()


async def test_a_dead_letter_that_is_published_again_without_its_value_runs_as_it_was() -> None:
    world = await dead_letters_of(Event("a", "never"))
    letter = world.topics[PIPELINE.dlq_topic][0]
    world.events.append(Event("a", "invalid"))  # it has an offset, and is no event
    put(world, PIPELINE.topic, (letter.key, None, letter.headers))  # type: ignore[arg-type]
    await until(lambda: world.outcomes() == {"synced": 1})
    assert len(world.topics[PIPELINE.dlq_topic]) == 1, "no other bytes"
    await world.stop()


@pytest.mark.parametrize("lost", ["x-sync-source-offset", "x-sync-source-partition", "x-sync-source-topic"])
@pytest.mark.parametrize("becomes", [None, b"", b"4611686018427387904", b"-1"])
async def test_a_record_with_our_headers_is_no_new_event_whatever_they_say(lost: str, becomes: bytes | None) -> None:
    world = await dead_letters_of(Event("a", "never"))
    letter = world.topics[PIPELINE.dlq_topic][0]
    headers = {name: value for name, value in letter.headers if not name.startswith("kafka_dlt-")}
    del headers[lost]
    if becomes is not None:
        headers[lost] = becomes
    put(world, PIPELINE.topic, (letter.key, letter.value, tuple(headers.items())))  # type: ignore[arg-type]
    await until(lambda: any(one.foreign for one in world.letters().known))
    assert (world.outcomes(), world.order_of("a")) == ({"failed": 1}, [0])
    await world.stop()


async def test_what_can_fit_no_dead_letter_is_listed_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.republished.PATIENCE_SECONDS", 1e9)
    monkeypatch.setattr("app.engine.republished.MOST_WAITING", 2)
    world = await dead_letters_of(Event("a"), Event("b"))
    headers = edited_headers(SourceRecord(PIPELINE.topic, 0, 1, 0, b"c", b"x"))
    put(world, PIPELINE.topic, *((b"c", b"x", headers) for _ in range(5)))
    await until(lambda: sum(one.foreign for one in world.letters().known) == 5)
    elsewhere = edited_headers(SourceRecord(PIPELINE.topic, 1, 1, 0, b"c", b"x"))
    put(world, PIPELINE.topic, *((b"c", b"x", elsewhere) for _ in range(5)))
    await until(lambda: sum(one.foreign for one in world.letters().known) >= 5 + 3)
    await world.stop()


@pytest.mark.parametrize("fits", [True, False])
async def test_what_is_published_again_and_does_not_fit_stops_nobody(fits: bool) -> None:
    """The main topic may take more than the dead-letter topic does."""
    world = await dead_letters_of(Event("a", "never"))
    write_one, largest = world.producer.write_one, len(Event("a").value or b"")

    async def refusing(record: Write) -> int:
        if record.topic == PIPELINE.dlq_topic and len(record.value or b"") > largest:
            raise TooLarge("refused")
        return await write_one(record)

    world.producer.write_one = refusing  # type: ignore[method-assign]
    headers = edited_headers(SourceRecord(PIPELINE.topic, 0, 0 if fits else 77, 0, b"a", b"x"))
    world.events += [Event("a", "invalid"), Event("b")]
    put(world, PIPELINE.topic, (b"a", b"a|ok" + b" " * 2 * largest, headers), (b"b", Event("b").value, ()))
    await until(lambda: world.outcomes() == ({"synced": 2} if fits else {"failed": 1, "synced": 1}))
    assert world.bugs == []
    if not fits:
        await until(lambda: any(one.foreign for one in world.letters().known))
        world.wish("t", Action.REDRIVE)
        await until(world.tasks_are_over)
        [foreign] = [known.record for one, known in world.letters().known.items() if one.foreign]
        assert (foreign.status, foreign.place) == (LetterStatus.OPEN, None), (
            "its value is gone, and it never runs as null"
        )
    await world.stop()


@pytest.mark.parametrize("change", ["key", "group", "offset"])
async def test_what_claims_to_be_a_dead_letter_and_fits_none_is_listed_and_never_run(change: str) -> None:
    world = await dead_letters_of(Event("a", "never"))
    letter = world.topics[PIPELINE.dlq_topic][0]
    headers = dict(letter.headers)
    if change == "group":
        headers["kafka_dlt-original-consumer-group"] = b"other"
    if change == "offset":
        headers["x-sync-source-offset"] = b"7"
    put(world, PIPELINE.topic, (b"b" if change == "key" else letter.key, letter.value, tuple(headers.items())))  # type: ignore[arg-type]
    await until(lambda: any(one.foreign for one in world.letters().known))
    await until(lambda: world.state().upto == 1)
    assert world.outcomes() == {"failed": 1}
    assert world.order_of("a") == [0]
    assert world.order_of("b") == []
    [foreign] = [known.record for one, known in world.letters().known.items() if one.foreign]
    assert foreign.status is LetterStatus.OPEN
    await world.stop()


# Beside new events


async def test_later_events_of_the_consumer_wait_behind_a_redrive_and_others_do_not() -> None:
    world = await dead_letters_of(Event("a", "never"))
    world.flow.gate = asyncio.Event()
    world.wish("t")
    await until(lambda: world.flow.under_way["a"])
    world.flow.gate, gate = None, world.flow.gate
    world.publish(Event("a"), Event("b"))
    await until(lambda: world.outcomes().get("synced") == 1)
    assert world.order_of("b") == [2]
    assert world.order_of("a") == [0]
    gate.set()
    assert await world.run()
    assert world.order_of("a") == [0, 1]
    assert_everything_adds_up(world)
    await world.stop()


async def test_a_busy_lane_ends_before_the_redrive_and_what_follows_waits() -> None:
    world = await dead_letters_of(Event("a", "never"))
    world.flow.gate = asyncio.Event()
    world.publish(Event("a", "partial"))
    await until(lambda: world.flow.under_way["a"])
    world.wish("t")
    await until(lambda: "a" in world.partition.parked)
    world.publish(Event("a"))
    await until(lambda: len(world.topics[PIPELINE.retry_topic]) == MAX_ATTEMPTS - 1 or 2 in world.state().parked)
    world.flow.gate.set()
    assert await world.run()
    await until(world.tasks_are_over)
    assert world.order_of("a") == [0, 1, 2]
    assert world.outcomes() == {"superseded": 1, "synced": 2}
    assert_everything_adds_up(world)
    await world.stop()


async def test_nothing_is_begun_while_the_target_is_down_and_nothing_is_used_up() -> None:
    world = await dead_letters_of(Event("a", "refused"), breaker_failures=3)
    world.flow.target_is_up = False
    world.publish(*(Event(f"c{number}") for number in range(5)))
    await until(lambda: world.breaker.is_open)
    world.wish("t")
    for _ in range(500):
        await asyncio.sleep(0)
    assert world.state().readmitted == {}
    world.flow.target_is_up = True
    assert await world.run()
    await until(world.tasks_are_over)
    assert (world.outcomes(), world.letter(0).redrives) == ({"synced": 6}, 1)
    await world.stop()


@pytest.mark.parametrize("action", [Action.REDRIVE, Action.DISCARD])
async def test_no_more_is_begun_than_the_partition_record_has_room_for(
    monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    monkeypatch.setattr("app.engine.record_room.READMITTED_BYTES", 2_500)  # two or three
    world = await dead_letters_of(*(Event(name, "never") for name in "abcdefgh"))
    world.wish("t", action)
    await until(world.tasks_are_over)
    states = [write.value for write in world.topics[PIPELINE.state_topic] if write.value and b'"upto"' in write.value]
    most = max(len(PartitionState.decode(value).readmitted) for value in states)
    assert 1 < most < 4
    assert sum(world.outcomes().values()) == 8
    assert world.state().dead_letters == {}, "all of them were handled all the same"
    assert_everything_adds_up(world)
    await world.stop()


@pytest.mark.parametrize("named", [True, False])
async def test_a_record_of_an_event_that_the_topic_does_not_have_holds_no_task_up(
    named: bool,
) -> None:
    world = await dead_letters_of(Event("a", "never"))
    odd = LetterId(0, 500)
    put(world, PIPELINE.letters_topic, (letter_key(odd, world.generation), world.letter(0).encode(), ()))
    await world.stop()
    await world.start()
    with capture_logs() as logs:
        world.wish("t", Action.REDRIVE, *([0, odd.offset] if named else []))
        await until(world.tasks_are_over)
        world.wish("t2", Action.DISCARD)
        await until(world.tasks_are_over)
    assert (world.outcomes(), world.state().dead_letters) == ({"synced": 1}, {})
    assert world.letter(odd.offset).status is LetterStatus.OPEN, "nothing is known of such an event"
    warnings = [line for line in logs if line["log_level"] == "warning"]
    assert [line["dead_letter"] for line in warnings] == [str(odd)], "it is said once"
    await world.stop()


async def test_redrives_that_were_counted_to_the_end_leave_a_record_that_can_be_read() -> None:
    world = await dead_letters_of(Event("a", "never"))
    world.flow.mended = False
    record = replace(world.letter(0), redrives=LARGEST)
    put(world, PIPELINE.letters_topic, (letter_key(LetterId(0, 0), world.generation), record.encode(), ()))
    await world.stop()
    await world.start()
    world.wish("t")
    await until(world.tasks_are_over)
    assert (world.letter(0).redrives, world.letter(0).tasks) == (LARGEST, ("t",))
    await world.stop()


async def test_what_is_only_closed_waits_for_no_target_that_is_down() -> None:
    many = MOST_READMITTED + 10
    events = [Event(f"c{number}@a", "never") for number in range(many)]
    world = await dead_letters_of(
        *events, Event("dan@b", "never"), Event("eve@b", "never"),
        breaker_failures=3, probe_seconds=3600.0, concurrency=20, max_parked=5000,
    )  # fmt: skip
    world.flow.gate = asyncio.Event()
    world.wish("t", Action.REDRIVE, *range(many))
    await until(lambda: len(world.state().readmitted) == MOST_REDRIVEN)
    world.flow.down = {"a"}
    world.flow.gate.set()
    world.flow.gate = None
    world.wish("d", Action.DISCARD, many)
    world.publish(Event("eve@b", "delete"))
    await until(lambda: world.letter(many).status is LetterStatus.DISCARDED)
    await until(lambda: world.letter(many + 1).settlement.reason == "SYNC-ERASED")
    await world.die()


async def test_what_was_begun_is_finished_after_a_cancel_and_nothing_more_is_begun() -> None:
    world = await dead_letters_of(*(Event(f"c{number}", "refused") for number in range(5)))
    world.flow.gate = asyncio.Event()
    world.wish("t", rate=1e-9)
    await until(lambda: world.state().readmitted)
    world.cancel("t")
    world.flow.gate.set()
    await until(world.tasks_are_over)
    assert world.outcomes() == {"synced": 1, "failed": 4}
    assert_everything_adds_up(world)
    await world.stop()


async def test_a_task_takes_what_was_open_when_it_was_made() -> None:
    world = await dead_letters_of(Event("a", "refused"))
    world.flow.mended = False
    world.wish("t")
    await until(world.tasks_are_over)
    world.publish(Event("b", "refused"))
    assert await world.run()
    assert world.letter(1).tasks == ()
    await world.stop()


# Forgetting


async def test_what_was_closed_long_ago_is_forgotten_and_what_is_open_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await dead_letters_of(Event("a", "never"), Event("b", "never"))
    world.edit(0, Event("a"))
    world.wish("t", Action.REDRIVE, 0)
    await until(world.tasks_are_over)
    monkeypatch.setattr("app.engine.forgetting.LOOK_SECONDS", 0.0)
    await world.stop()
    await world.start()
    await until(lambda: 0 in world.ownership.partitions)
    for _ in range(300):
        await asyncio.sleep(0)
    assert {letter.offset for letter in world.letters().known} == {0, 1}, "kept for 90 days"
    await world.stop()
    world.dlq_keep_days = -1
    await world.start()
    await until(lambda: {letter.offset for letter in world.letters().known} == {1})
    tombstones = [write.key for write in world.topics[PIPELINE.tasks_topic] if write.value is None]
    assert {b"edit|0-0|2", b"t"} <= set(tombstones)
    await world.stop()


# Crashes

SCRIPTS = ["ok", "once", "never", "refused", "invalid", "delete", "partial"]
events = st.lists(st.builds(Event, st.sampled_from("ab"), st.sampled_from(SCRIPTS)), min_size=1, max_size=6)
actions = st.sampled_from(["redrive", "discard", "edit", "redrive mended", "cancel"])


@given(
    events,
    events,
    st.lists(st.tuples(actions, st.integers(0, 5)), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(Lost), st.booleans()), min_size=1, max_size=4),
)
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_crash_at_any_write_loses_nothing_and_repeats_no_decision(
    before: list[Event], after: list[Event], wishes: list[tuple[str, int]], crashes: list[tuple[int, Lost, bool]]
) -> None:
    async def history() -> None:
        world = World(before)
        late: list[Write] = []  # of the last owner
        made = 0
        for dies_at, lost, at_once in crashes:
            await world.start(dies_at=dies_at, lost=lost)
            if at_once:
                world.arrive_late(late)
            if made == 0:
                world.publish(*after)
            if made < len(wishes):
                wish(world, made, *wishes[made])
                made += 1
            await until(lambda: world.producer.dead.is_set() or (world.is_done() and world.tasks_are_over()))
            if not at_once:
                world.arrive_late(late)
            late = world.producer.late
            await world.die()
        await world.start()
        for number in range(made, len(wishes)):
            wish(world, number, *wishes[number])
        assert await world.run()
        await until(world.tasks_are_over)
        world.arrive_late(late)
        assert_everything_adds_up(world)
        assert_no_older_state_came_last(world)
        await world.stop()

    asyncio.run(history())


def wish(world: World, number: int, what: str, offset: int) -> None:
    """What an operator does."""
    if what == "edit":
        letter = world.letters().known
        known = next((one for one in letter if one.offset == offset), None)
        if known is not None:
            consumer = letter[known].record.settlement.consumer_id or "a"
            world.edit(offset, Event(consumer, "ok"))
        world.wish(f"t{number}", Action.REDRIVE, offset)
    elif what == "cancel":
        world.cancel(f"t{number - 1}")
    else:
        world.flow.mended = world.flow.mended or what == "redrive mended"
        world.wish(f"t{number}", Action.DISCARD if what == "discard" else Action.REDRIVE)


def assert_no_older_state_came_last(world: World) -> None:
    """The last effect of a consumer is that of its newest synced event, if an event of it was synced at all."""
    letters = {letter.offset: known.record.settlement for letter, known in world.letters().known.items()}
    for consumer in "ab":
        of_consumer = [offset for name, offset, _ in world.flow.effects if name == consumer]
        reached = [
            offset
            for offset in set(of_consumer)
            if letters.get(offset) is None or letters[offset].outcome in (Outcome.SYNCED, Outcome.PARTIAL)
        ]
        if reached:
            last = [offset for offset in of_consumer if offset in reached][-1]
            assert last == max(reached), f"{consumer}: {of_consumer}"
