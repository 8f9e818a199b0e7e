"""Dead letters and tasks on a real broker: what the index holds, and what a choice of topics needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from app.delivery.dead_letter_record import DeadLetter, HistoryLine, LetterStatus
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.operator_task import Action, LetterFilter, Note, OperatorTask, Selection, TaskEnd, TaskKey
from app.delivery.partition_record import PartitionState
from app.delivery.record_format import partition_key
from app.readmodels import Followed, ReadModels, ReadModelUnavailable, wait_until_caught_up
from app.readmodels.batch import ReadBatch
from app.readmodels.followed import topic_of
from app.readmodels.letter_page import ShownStatus
from app.readmodels.store import Store
from app.readmodels.tasks import TaskProgress, TaskState
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import Eventually, KafkaProbe
from tests.unit.readmodels.test_letter_index import letter, readmitted

Start = Callable[..., ReadModels]
ONE, TWO = LetterId(0, 5), LetterId(3, 1)


@pytest.fixture
def start(tmp_path: Path, kafka_settings: KafkaSettings) -> Iterator[Start]:
    """Starts read models in the test's folder, and stops them at its end."""
    running: list[ReadModels] = []

    def start(*topics: Followed, folder: Path | None = tmp_path, **options: object) -> ReadModels:
        chosen = topics or tuple(Followed)
        models = ReadModels(kafka_settings, pipeline_of(kafka_settings), folder, topics=chosen, **options)  # type: ignore[arg-type]
        models.start()
        running.append(models)
        return models

    yield start
    for models in running:
        models.stop()


class Written:
    """Writes dead letters and tasks as owners and commands do."""

    def __init__(self, kafka: KafkaProbe, settings: KafkaSettings) -> None:
        self.kafka = kafka
        self.pipeline = pipeline_of(settings)

    def letter(self, letter_id: LetterId, epoch: int, content: DeadLetter | None) -> None:
        record = letter_key(letter_id, epoch), content.encode() if content else None
        self.kafka.produce(self.pipeline.letters_topic, [record], partition=letter_id.partition)

    def task(self, key: TaskKey, content: OperatorTask | Note | TaskEnd) -> None:
        self.kafka.produce(self.pipeline.tasks_topic, [(key.encode(), content.encode())], partition=0)


@pytest.fixture
def written(kafka: KafkaProbe, kafka_settings: KafkaSettings) -> Written:
    return Written(kafka, kafka_settings)


async def test_an_owner_and_a_person_find_dead_letters_and_tasks(written: Written, start: Start) -> None:
    models = start()
    line = HistoryLine(1, "redrive", "synced", task="t")
    written.letter(ONE, 2, letter(event="e-5"))
    written.letter(ONE, 1, letter(LetterStatus.SETTLED))  # a former owner, late
    written.letter(TWO, 1, letter(LetterStatus.SETTLED, history=(line,)))
    written.task(TaskKey("t"), OperatorTask("t", Action.REDRIVE, Selection(), 10, "me", matched={0: 1, 3: 1}))
    written.task(TaskKey("t", "end", 3), TaskEnd(20, {"synced": 1}))
    state = PartitionState(upto=9)
    state.readmit(ONE.offset, readmitted())
    written.kafka.produce(written.pipeline.state_topic, [(partition_key(0, 1), state.encode())], partition=0)

    assert await models.letters.wait_until(0, 2, timeout=30)
    assert await models.letters.wait_until(3, 1, timeout=30)
    assert await models.tasks.wait_until(2, timeout=30)
    assert await models.wait_until(written.pipeline.state_topic, 0, 1, timeout=30)
    assert models.letters.record(ONE) == (2, letter(event="e-5"))
    assert [one for one, _, _ in models.letters.open_after(0, -1, LetterFilter(), 9)] == [ONE]
    assert [(one.id, one.status) for one in models.letters.find("e-5")] == [(ONE, ShownStatus.REDRIVING)]
    assert models.letters.position(0) == 2
    assert [[task.id for task in models.tasks.running(partition)] for partition in (0, 3)] == [["t"], []]
    assert models.tasks.state("t") is TaskState.RUNNING
    assert models.tasks.progress("t") == TaskProgress(2, 1, {"synced": 1}, 1)


def test_records_that_cannot_be_read_are_counted_logged_and_passed_over(
    written: Written, start: Start, eventually: Eventually
) -> None:
    written.letter(ONE, 1, letter())
    odd = [(b"0|1|5", b"{}"), (b"1|1|5", letter().encode()), (b"odd", None)]
    written.kafka.produce(written.pipeline.letters_topic, odd, partition=0)
    written.kafka.produce(written.pipeline.tasks_topic, [(b"t", b"[]"), (b"a|b", b"x")], partition=0)
    skipped: list[str] = []
    with capture_logs() as lines:
        models = start(unreadable=skipped.append)
        eventually(models.caught_up, "caught up")
    assert sorted(skipped) == sorted([written.pipeline.letters_topic] * 3 + [written.pipeline.tasks_topic] * 2)
    assert "state records were skipped because they cannot be read" in [line["event"] for line in lines]
    assert models.letters.record(ONE) == (1, letter())
    assert models.tasks.all(9) == []


def test_only_the_chosen_topics_are_needed_and_what_is_missing_but_optional_counts_as_empty(
    written: Written, kafka_settings: KafkaSettings, start: Start, eventually: Eventually
) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_settings.bootstrap_servers})
    gone = [written.pipeline.letters_topic, written.pipeline.tasks_topic]
    for future in admin.delete_topics(gone, operation_timeout=30).values():
        future.result(30)
    eventually(lambda: not set(gone) & set(admin.list_topics(timeout=10).topics), "an installation made before")
    written.kafka.produce(
        written.pipeline.state_topic, [(partition_key(0, 1), PartitionState(upto=4).encode())], partition=0
    )
    counts = start(Followed.STATE, folder=None)
    eventually(counts.caught_up, "caught up without them")
    assert counts.partitions()[0].upto == 4
    consumer = start(Followed.STATE, Followed.LETTERS, folder=None, optional=(Followed.LETTERS,))
    eventually(consumer.caught_up, "caught up although a topic is missing")
    assert consumer.letters.of_consumer("C-1") == []
    letters = start(Followed.LETTERS, folder=None)
    eventually(lambda: "dead-letters-changelog does not exist" in (letters.trouble() or ""), "what is missing is named")


def test_what_was_read_is_read_on_and_topics_that_are_not_chosen_stay_as_they_were(
    written: Written, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        written.letter(LetterId(0, number), 1, letter(event=f"e-{number}"))
    first = start(Followed.LETTERS, Followed.TASKS, Followed.STATE)
    told: list[tuple[int, int]] = []
    wait_until_caught_up(first, lambda read, total: told.append((read, total)))
    assert told[-1] == (300, 300)
    first.stop()
    counts = start(Followed.STATE)
    wait_until_caught_up(counts)
    counts.stop()

    written.letter(ONE, 1, None)
    applied: list[int] = []
    original = Store.apply

    def apply(store: Store, batch: ReadBatch) -> None:
        applied.append(batch.records)
        original(store, batch)

    monkeypatch.setattr(Store, "apply", apply)
    again = start(Followed.LETTERS, Followed.TASKS, Followed.STATE)
    wait_until_caught_up(again, lambda read, total: told.append((read, total)))
    assert sum(applied) == 1, "only what is new"
    assert told[-1] == (1, 1)
    assert again.letters.count() == 299
    assert again.letters.record(ONE) is None
    assert [path.name for path in tmp_path.glob("*.sqlite")] == ["readmodel-0.sqlite"]


async def test_dead_letters_are_read_after_all_else_and_their_owner_is_told_nothing_meanwhile(
    written: Written, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        written.letter(LetterId(0, number), 1, letter())
    written.kafka.produce(
        written.pipeline.state_topic, [(partition_key(1, 1), PartitionState(upto=4).encode())], partition=1
    )
    written.task(TaskKey("t"), OperatorTask("t", Action.REDRIVE, Selection(), 10, "me"))
    order: list[str] = []
    original = ReadBatch.add

    def add(batch: ReadBatch, topic: str, *record: object) -> None:
        order.append(topic)
        original(batch, topic, *record)  # type: ignore[arg-type]

    monkeypatch.setattr(ReadBatch, "add", add)
    models = start()
    with pytest.raises(ReadModelUnavailable, match="partition 0"):
        models.letters.record(ONE)
    assert await models.letters.wait_until(0, 50, timeout=30)
    assert models.letters.record(ONE) is not None
    names = {written.pipeline.state_topic, written.pipeline.tasks_topic}
    assert set(order[:2]) == names
    assert set(order[2:]) == {written.pipeline.letters_topic}


async def test_many_dead_letters_make_no_other_answer_wait(
    written: Written, start: Start, kafka_settings: KafkaSettings
) -> None:
    """While dead letters are being read in, the counts stay complete and their new records arrive."""
    value = letter().encode()
    for partition in range(4):
        records = [(letter_key(LetterId(partition, number), 1), value) for number in range(10_000)]
        written.kafka.produce(written.pipeline.letters_topic, records, partition=partition)
    models = start()
    deadline = time.monotonic() + 60
    complete_before = False
    while True:
        others, everything = models.caught_up(Followed.STATE, Followed.CONSUMERS), models.caught_up()
        if not any(models.letters.building(partition) for partition in range(4)):
            break
        complete_before |= others
        assert not everything
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert complete_before
    assert models.letters.count() == 40_000
    assert [topic_of(written.pipeline, one) for one in Followed] == models._topics
