"""Read models on a real broker hold what the state topics hold, whatever happens to file, topic or broker."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
from structlog.testing import capture_logs

from app.broker.local_broker import LocalBroker
from app.delivery.closed_days import document_key, encode_document
from app.delivery.consumer_record import ConsumerState, consumer_key
from app.delivery.counts import Counts
from app.delivery.partition_record import PartitionState
from app.delivery.record_format import partition_key
from app.readmodels import ReadModels, ReadModelUnavailable
from app.readmodels.batch import ReadBatch
from app.readmodels.followed import Followed, topic_of
from app.readmodels.kpi import Filter, daily
from app.readmodels.store import Store
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import Eventually, KafkaProbe, MakeKafkaSettings
from tests.support.records import consumer_state, partition_state, settlement

Start = Callable[..., ReadModels]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts read models in the test's folder, and stops them at its end."""
    running: list[ReadModels] = []

    def start(kafka: KafkaSettings, folder: Path | None = tmp_path, **options: object) -> ReadModels:
        models = ReadModels(kafka, pipeline_of(kafka), folder, **options)  # type: ignore[arg-type]
        models.start()
        running.append(models)
        return models

    yield start
    for models in running:
        models.stop()


class States:
    """Writes state records as engines do."""

    def __init__(self, kafka: KafkaProbe, settings: KafkaSettings) -> None:
        self._kafka = kafka
        self._settings = settings

    def partition(self, partition: int, epoch: int, state: PartitionState | None) -> None:
        self.raw(partition, partition_key(partition, epoch), state.encode() if state else None)

    def raw(self, partition: int, key: bytes, value: bytes | None) -> None:
        self._kafka.produce(pipeline_of(self._settings).state_topic, [(key, value)], partition=partition)

    def consumer(self, partition: int, epoch: int, consumer_id: str, state: ConsumerState | None) -> None:
        record = (consumer_key(partition, epoch, consumer_id), state.encode() if state else None)
        self._kafka.produce(pipeline_of(self._settings).consumers_topic, [record], partition=partition)


@pytest.fixture
def states(kafka: KafkaProbe, kafka_settings: KafkaSettings) -> States:
    return States(kafka, kafka_settings)


def _upto(models: ReadModels) -> dict[int, int]:
    return {partition: state.upto for partition, state in models.partitions().items()}


def _numbered(upto: int) -> PartitionState:
    return PartitionState(upto=upto)


def test_every_partition_shows_its_newest_record(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually
) -> None:
    states.partition(0, 1, _numbered(1))
    states.partition(2, 1, _numbered(5))
    models = start(kafka_settings)
    eventually(models.caught_up, "caught up")
    assert _upto(models) == {0: 1, 2: 5}
    states.partition(0, 1, _numbered(9))
    eventually(lambda: _upto(models) == {0: 9, 2: 5}, "the new record")
    assert models.caught_up()


def test_a_write_of_a_former_owner_that_arrives_late_changes_nothing(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually
) -> None:
    models = start(kafka_settings)
    states.partition(1, 3, _numbered(100))
    states.partition(1, 4, _numbered(200))
    states.partition(1, 3, None)
    states.partition(1, 3, _numbered(150))  # frozen before, sent now
    states.partition(1, 4, _numbered(201))
    eventually(lambda: _upto(models) == {1: 201}, "the new owner's record")
    states.partition(1, 3, _numbered(151))
    states.partition(0, 1, _numbered(1))
    eventually(lambda: 0 in _upto(models), "the record after it")
    assert _upto(models)[1] == 201


async def test_a_consumer_is_found_with_the_epoch_that_counts(
    kafka_settings: KafkaSettings, states: States, start: Start
) -> None:
    pipeline = pipeline_of(kafka_settings)
    models = start(kafka_settings)
    states.consumer(3, 2, "C-1", consumer_state(7, event_id="new"))
    states.consumer(3, 1, "C-1", consumer_state(5, event_id="late"))
    assert await models.wait_until(pipeline.consumers_topic, 3, 2, timeout=30)
    found = models.consumer_record(3, "C-1")
    assert found is not None
    assert (found[0], found[1].recent[0].event_id) == (2, "new")
    assert models.consumer("C-1") == [(3, found[1])]
    assert models.consumer_record(2, "C-1") is None
    states.consumer(3, 2, "C-1", None)
    assert await models.wait_until(pipeline.consumers_topic, 3, 3, timeout=30)
    left = models.consumer_record(3, "C-1")
    assert left is not None
    assert left[0] == 1, "a tombstone removes its own epoch only"


async def test_waiting_for_an_offset_ends_when_it_is_applied_and_not_before(
    kafka_settings: KafkaSettings, states: States, start: Start
) -> None:
    models = start(kafka_settings)
    topic = pipeline_of(kafka_settings).consumers_topic
    assert await models.wait_until(topic, 0, 0, timeout=30)
    waiting = asyncio.create_task(models.wait_until(topic, 0, 2, timeout=30))
    states.consumer(0, 1, "C-1", consumer_state(0))
    assert await models.wait_until(topic, 0, 1, timeout=30)
    assert not waiting.done()
    states.consumer(0, 1, "C-2", consumer_state(1))
    assert await waiting
    assert models.consumer_record(0, "C-2") is not None
    assert models.position(topic, 0) == 2


def test_a_restart_reads_on_where_the_file_ends(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually, tmp_path: Path
) -> None:
    states.partition(0, 1, _numbered(1))
    first = start(kafka_settings)
    eventually(first.caught_up, "caught up")
    first.stop()
    # Only the file says this. If the topic were read again from its beginning, it would be overwritten.
    with sqlite3.connect(tmp_path / "readmodel-0.sqlite") as file:
        file.execute("UPDATE partitions SET value = ?", (_numbered(777).encode(),))
    file.close()
    states.partition(1, 1, _numbered(2))
    second = start(kafka_settings)
    eventually(second.caught_up, "caught up again")
    assert _upto(second) == {0: 777, 1: 2}


def _delete(path: Path) -> None:
    path.unlink()


def _scribble(path: Path) -> None:
    path.write_bytes(b"scribble" * 5000)


def _other_version(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 12345")
    file.close()


@pytest.mark.parametrize("spoil", [_delete, _scribble, _other_version])
def test_a_file_that_is_lost_or_damaged_is_rebuilt(
    kafka_settings: KafkaSettings,
    states: States,
    start: Start,
    eventually: Eventually,
    tmp_path: Path,
    spoil: Callable[[Path], None],
) -> None:
    states.partition(0, 1, _numbered(1))
    states.consumer(0, 1, "C-1", consumer_state())
    first = start(kafka_settings)
    eventually(first.caught_up, "caught up")
    first.stop()
    spoil(tmp_path / "readmodel-0.sqlite")
    second = start(kafka_settings)
    eventually(second.caught_up, "rebuilt")
    assert _upto(second) == {0: 1}
    assert second.consumer_record(0, "C-1") is not None


def test_a_file_deleted_under_a_running_worker_is_rebuilt(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually, tmp_path: Path
) -> None:
    states.partition(0, 1, _numbered(1))
    states.consumer(0, 1, "C-1", consumer_state())
    models = start(kafka_settings)
    eventually(models.caught_up, "caught up")
    for file in tmp_path.glob("readmodel-0.sqlite*"):
        file.unlink()
    answers: list[object] = []

    def found() -> bool:
        # A new thread has no connection yet, so it finds the file missing.
        def ask() -> None:
            try:
                answers.append(models.consumer_record(0, "C-1"))
            except ReadModelUnavailable:
                answers.append("unavailable")

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return isinstance(answers[-1], tuple) and models.caught_up()

    eventually(found, "rebuilt")
    assert answers[0] == "unavailable"
    assert None not in answers, "a consumer was called unknown while its record was still to be read in"
    assert _upto(models) == {0: 1}


def test_two_workers_share_a_folder(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually, tmp_path: Path
) -> None:
    states.partition(0, 1, _numbered(1))
    one, other = start(kafka_settings), start(kafka_settings)
    for models in (one, other):
        eventually(models.caught_up, "caught up")
        assert _upto(models) == {0: 1}
    assert {path.name for path in tmp_path.glob("*.sqlite")} == {"readmodel-0.sqlite", "readmodel-1.sqlite"}


def test_the_file_of_another_group_is_not_taken_for_ours(
    make_kafka_settings: MakeKafkaSettings, kafka: KafkaProbe, start: Start, eventually: Eventually
) -> None:
    one, other = make_kafka_settings(), make_kafka_settings()
    States(kafka, one).partition(0, 1, _numbered(1))
    first = start(one)
    eventually(first.caught_up, "caught up")
    first.stop()
    second = start(other)
    eventually(second.caught_up, "caught up")
    assert second.partitions() == {}


def test_records_that_cannot_be_read_are_skipped_and_counted(
    kafka_settings: KafkaSettings, kafka: KafkaProbe, states: States, start: Start, eventually: Eventually
) -> None:
    skipped: list[str] = []
    models = start(kafka_settings, unreadable=skipped.append)
    states.partition(0, 1, _numbered(1))
    states.consumer(0, 1, "C-1", consumer_state())
    broken = [(b"nonsense", b"x"), (consumer_key(0, 1, "C-1"), b"{")]
    kafka.produce(pipeline_of(kafka_settings).consumers_topic, broken, partition=0)
    states.raw(0, b"\xff\xfe", b"x")
    states.partition(1, 1, _numbered(2))
    eventually(lambda: _upto(models) == {0: 1, 1: 2}, "the record behind the broken ones")
    eventually(lambda: len(skipped) == 3, "all counted")
    assert models.consumer_record(0, "C-1") is not None, "the record before the broken one stays"


def test_counts_with_a_partition_that_cannot_be_read_are_not_called_complete(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually
) -> None:
    skipped: list[str] = []
    models = start(kafka_settings, unreadable=skipped.append)
    states.partition(0, 1, _numbered(1))
    states.raw(1, partition_key(1, 1), b'{"v": 2, "of": "a newer program"}')
    eventually(lambda: _upto(models) == {0: 1} and bool(skipped), "read")
    assert not models.caught_up()
    assert len(skipped) == 1, "told once, not with every look"
    states.partition(1, 1, _numbered(5))
    eventually(lambda: _upto(models) == {0: 1, 1: 5} and models.caught_up(), "complete again")


def test_days_that_left_the_record_are_counted_with_it(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually
) -> None:
    def counted(**synced: int) -> Counts:
        return {day.replace("_", "-")[1:]: {"DE": {"events": {"synced": n}}} for day, n in synced.items()}

    def totals() -> list[dict[str, str | int]]:
        return [{"day": row["day"], "synced": row["synced"]} for row in daily(models.partitions(), Filter())]

    models = start(kafka_settings)
    states.raw(0, document_key(0, 3, "2026-10", 1), encode_document(counted(_2026_10_30=5, _2026_10_31=6)))
    states.raw(0, document_key(0, 3, "2026-10", 2), encode_document(counted(_2026_10_30=99)))  # never named
    record = PartitionState(counts=counted(_2026_10_31=1, _2026_11_01=7), closed_months={"2026-10": (3, 1)})
    states.partition(0, 3, record)
    expected = [("2026-10-30", 5), ("2026-10-31", 7), ("2026-11-01", 7)]
    eventually(lambda: [(row["day"], row["synced"]) for row in totals()] == expected, "summed")
    eventually(models.caught_up, "complete")
    # The next move: another document counts, and the one before is removed.
    states.raw(0, document_key(0, 3, "2026-10", 3), encode_document(counted(_2026_10_31=7)))
    states.partition(0, 3, PartitionState(counts=counted(_2026_11_01=8), closed_months={"2026-10": (3, 3)}))
    states.raw(0, document_key(0, 3, "2026-10", 1), None)
    expected = [("2026-10-31", 7), ("2026-11-01", 8)]
    eventually(lambda: [(row["day"], row["synced"]) for row in totals()] == expected, "the new document")
    states.raw(0, document_key(0, 3, "2026-10", 3), None)
    states.partition(0, 3, PartitionState(counts=counted(_2026_11_01=9), closed_months={"2026-10": (3, 4)}))
    eventually(lambda: models.partitions() == {} and not models.caught_up(), "a missing document is not passed over")


def test_a_recreated_topic_replaces_the_known_data(
    kafka_settings: KafkaSettings, kafka: KafkaProbe, states: States, start: Start, eventually: Eventually
) -> None:
    states.partition(0, 1, _numbered(1))
    states.partition(1, 1, _numbered(1))
    first = start(kafka_settings)
    eventually(first.caught_up, "caught up")
    first.stop()
    _recreate(kafka_settings, eventually)
    # As many records as before, so that the offsets alone would look right.
    states.partition(0, 1, _numbered(50))
    states.partition(1, 1, _numbered(60))
    second = start(kafka_settings)
    eventually(second.caught_up, "caught up")
    assert _upto(second) == {0: 50, 1: 60}


def test_a_topic_recreated_under_a_running_worker_replaces_the_known_data(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually
) -> None:
    states.partition(0, 1, _numbered(1))
    states.partition(1, 1, _numbered(1))
    models = start(kafka_settings)
    eventually(models.caught_up, "caught up")
    _recreate(kafka_settings, eventually)
    states.partition(0, 1, _numbered(50))
    eventually(lambda: _upto(models) == {0: 50} and models.caught_up(), "the new topic's records")


def _recreate(settings: KafkaSettings, eventually: Eventually) -> None:
    pipeline = pipeline_of(settings)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    for future in admin.delete_topics([pipeline.state_topic], operation_timeout=30).values():
        future.result(30)
    eventually(lambda: pipeline.state_topic not in admin.list_topics(timeout=10).topics, "deleted")
    new = NewTopic(pipeline.state_topic, settings.partitions, 1, config={"cleanup.policy": "compact"})
    for future in admin.create_topics([new], operation_timeout=30).values():
        future.result(30)


def test_a_topic_cut_off_beyond_our_position_is_read_again(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually
) -> None:
    pipeline = pipeline_of(kafka_settings)
    states.partition(0, 1, _numbered(1))
    first = start(kafka_settings)
    eventually(first.caught_up, "caught up")
    first.stop()
    states.partition(0, 2, _numbered(2))
    states.partition(0, 1, None)  # never seen by the file: the records up to here are cut off
    states.partition(0, 2, _numbered(3))
    admin = AdminClient({"bootstrap.servers": kafka_settings.bootstrap_servers})
    # Only a topic with the delete policy lets its records be cut off.
    _set_policy(admin, pipeline.state_topic, "compact,delete")
    for future in admin.delete_records([TopicPartition(pipeline.state_topic, 0, 3)]).values():
        future.result(30)
    second = start(kafka_settings)
    eventually(second.caught_up, "caught up")
    assert _upto(second) == {0: 3}


def _set_policy(admin: AdminClient, topic: str, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def test_topics_that_come_later_are_found(
    make_kafka_settings: MakeKafkaSettings, kafka: KafkaProbe, start: Start, eventually: Eventually
) -> None:
    settings = make_kafka_settings(create=False)
    pipeline = pipeline_of(settings)
    models = start(settings)
    eventually(lambda: "does not exist" in (models.trouble() or ""), "told what is missing")
    assert not models.caught_up()
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    topics = [NewTopic(topic_of(pipeline, one), 2, 1) for one in Followed]
    for future in admin.create_topics(topics).values():
        future.result(30)
    States(kafka, settings).partition(1, 1, _numbered(1))
    eventually(lambda: _upto(models) == {1: 1} and models.caught_up(), "followed")
    assert models.trouble() is None


@pytest.mark.slow
def test_a_broker_that_goes_and_comes_back_is_followed_again(
    tmp_path: Path, start: Start, eventually: Eventually
) -> None:
    broker = LocalBroker()
    try:
        broker.start()
        settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, topic="t", group="g", partitions=1)
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        for future in admin.create_topics(
            [NewTopic(topic_of(pipeline_of(settings), one), 1, 1) for one in Followed]
        ).values():
            future.result(30)
        probe = KafkaProbe(broker.bootstrap_servers)
        States(probe, settings).partition(0, 1, _numbered(1))
        models = start(settings)
        eventually(models.caught_up, "caught up")
        broker.kill()
        eventually(lambda: not models.caught_up() and models.trouble() is not None, "noticed")
        assert "KAFKA_BOOTSTRAP_SERVERS" in str(models.trouble()) or "Kafka at" in str(models.trouble())
        assert _upto(models) == {0: 1}, "what is known is still told"
        broker.restart()
        States(KafkaProbe(broker.bootstrap_servers), settings).partition(0, 1, _numbered(2))
        eventually(lambda: _upto(models) == {0: 2} and models.caught_up(), "followed again")
    finally:
        broker.close()


def test_stopping_is_prompt_with_and_without_a_broker(
    kafka_settings: KafkaSettings, start: Start, eventually: Eventually, tmp_path: Path
) -> None:
    reachable = start(kafka_settings)
    eventually(reachable.caught_up, "caught up")
    away = start(kafka_settings.model_copy(update={"bootstrap_servers": "127.0.0.1:1"}), tmp_path / "other")
    for models in (reachable, away):
        began = time.monotonic()
        models.stop()
        assert time.monotonic() - began < 3


def test_a_command_leaves_no_file_behind(kafka_settings: KafkaSettings, start: Start, eventually: Eventually) -> None:
    models = start(kafka_settings, None)
    eventually(models.caught_up, "caught up")
    folder = Path(models._temporary.name)  # type: ignore[union-attr]
    assert folder.exists()
    models.stop()
    assert not folder.exists()


def test_a_long_history_is_read_to_its_end(
    kafka_settings: KafkaSettings, kafka: KafkaProbe, start: Start, eventually: Eventually
) -> None:
    pipeline = pipeline_of(kafka_settings)
    value = partition_state(settlement()).encode()
    for partition in range(4):
        records = [(partition_key(partition, 1), value)] * 500
        kafka.produce(pipeline.state_topic, records, partition=partition)
        keys = [(consumer_key(partition, 1, f"C-{n}"), consumer_state(n).encode()) for n in range(2_000)]
        kafka.produce(pipeline.consumers_topic, keys, partition=partition)
    models = start(kafka_settings)
    eventually(models.caught_up, "caught up")
    assert sorted(models.partitions()) == [0, 1, 2, 3]
    assert all(models.consumer_record(p, f"C-{n}") is not None for p in range(4) for n in (0, 777, 1_999))


def test_a_full_disk_is_told_once_and_nothing_is_thrown_away_or_missed(
    kafka_settings: KafkaSettings, states: States, start: Start, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.readmodels.trouble.BROKEN_FOR_SECONDS", 3.0)  # longer than a try, as the real one
    states.partition(0, 1, _numbered(1))
    models = start(kafka_settings)
    eventually(models.caught_up, "caught up")
    store = models._store
    assert store is not None
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    tries = 0

    def apply(batch: ReadBatch) -> None:
        nonlocal tries
        tries += 1
        store._writer.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own SQLITE_FULL
        Store.apply(store, batch)

    store.apply = apply  # type: ignore[method-assign]
    with capture_logs() as lines:
        for number in range(50):
            states.consumer(0, 1, f"C-{number}" + "x" * 3_000, consumer_state(number, 1_795_000_000_000))
        eventually(lambda: tries >= 3, "several tries")
        assert models.trouble() == "the read model's file cannot be written: database or disk is full"
        assert (models.trouble_is_own, models.broken()) == (True, models.trouble())
        assert _upto(models) == {0: 1}, "what was read is still there"
        del store.apply
        store._writer.execute("PRAGMA max_page_count = 1073741823")
        eventually(lambda: len(models.consumer_ids()) == 50, "all consumers")
        eventually(lambda: lines[-1]["event"] == "following the state topics", "that it is over is told")
        assert models.trouble() is None
    said = [line["event"] for line in lines if "following the state topics" in line["event"]]
    assert said == ["not following the state topics, retrying", "following the state topics"]
