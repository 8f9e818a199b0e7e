"""The SQLite file: the two topics as tables, and nothing that cannot be thrown away."""

from __future__ import annotations

import os
import resource
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.delivery.consumer_record import consumer_key
from app.delivery.pipeline import Pipeline
from app.delivery.record_format import partition_key
from app.readmodels.batch import ReadBatch
from app.readmodels.store import Store, is_damage, remove
from tests.support.records import consumer_state, partition_state

PIPELINE = Pipeline("consumers", "main", "group")
STATE, CONSUMERS = PIPELINE.state_topic, PIPELINE.consumers_topic


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "r.sqlite", PIPELINE)
    yield opened
    opened.close()


def _batch(*records: tuple[str, int, int, bytes | None, bytes | None]) -> ReadBatch:
    batch = ReadBatch(PIPELINE)
    for record in records:
        batch.add(*record)
    return batch


def test_the_highest_epoch_counts_whatever_order_writes_arrive_in(store: Store) -> None:
    store.apply(_batch((STATE, 1, 10, partition_key(1, 5), b"new owner")))
    store.apply(_batch((STATE, 1, 11, partition_key(1, 4), b"frozen worker, too late")))
    assert store.partition_versions() == [(1, 5, 10)]
    assert store.partition_value(1, 5) == (10, b"new owner")


def test_of_one_epoch_the_later_record_counts(store: Store) -> None:
    store.apply(_batch((STATE, 1, 10, partition_key(1, 5), b"a"), (STATE, 1, 11, partition_key(1, 5), b"b")))
    store.apply(_batch((STATE, 1, 12, partition_key(1, 5), b"c")))
    assert store.partition_value(1, 5) == (12, b"c")


def test_a_tombstone_removes_its_own_epoch_only(store: Store) -> None:
    store.apply(_batch((STATE, 1, 10, partition_key(1, 4), b"old"), (STATE, 1, 11, partition_key(1, 5), b"new")))
    store.apply(_batch((STATE, 1, 12, partition_key(1, 4), None)))
    assert store.partition_versions() == [(1, 5, 11)]
    store.apply(_batch((STATE, 1, 13, partition_key(1, 4), b"back"), (STATE, 1, 14, partition_key(1, 5), None)))
    assert store.partition_versions() == [(1, 4, 13)]


def test_a_consumer_is_found_on_each_partition_under_its_highest_epoch(store: Store) -> None:
    old, new, other = consumer_state(1).encode(), consumer_state(2).encode(), consumer_state(3).encode()
    store.apply(
        _batch(
            (CONSUMERS, 1, 10, consumer_key(1, 7, "C|1"), new),
            (CONSUMERS, 1, 11, consumer_key(1, 6, "C|1"), old),
            (CONSUMERS, 2, 4, consumer_key(2, 3, "C|1"), other),
        )
    )
    assert store.consumer_value(1, "C|1") == (7, new)
    assert sorted(store.consumer_values("C|1")) == [(1, 7, new), (2, 3, other)]
    assert store.consumer_value(3, "C|1") is None
    assert store.consumer_value(1, "C") is None


def test_a_consumer_whose_record_is_removed_is_forgotten(store: Store) -> None:
    store.apply(_batch((CONSUMERS, 1, 10, consumer_key(1, 7, "C-1"), consumer_state().encode())))
    store.apply(_batch((CONSUMERS, 1, 11, consumer_key(1, 7, "C-1"), None)))
    assert store.consumer_value(1, "C-1") is None


def test_records_that_cannot_be_read_leave_what_was_there(store: Store) -> None:
    good = consumer_state().encode()
    store.apply(_batch((CONSUMERS, 1, 10, consumer_key(1, 7, "C-1"), good)))
    batch = _batch(
        (CONSUMERS, 1, 11, consumer_key(1, 7, "C-1"), b"not json"),
        (CONSUMERS, 1, 12, consumer_key(1, 7, "C-1"), b'{"v": 99}'),
        (CONSUMERS, 1, 13, consumer_key(1, 7, "C-1"), b'{"v": 1}'),
        (CONSUMERS, 1, 14, b"no key of ours", good),
        (CONSUMERS, 1, 15, None, good),
        (CONSUMERS, 1, 16, b"\xff|1|x", good),
        (STATE, 1, 3, b"1|99999999999999999999999", b"x"),
    )
    assert [(one.topic, one.offset) for one in batch.unreadable] == [
        (CONSUMERS, 11), (CONSUMERS, 12), (CONSUMERS, 13), (CONSUMERS, 14), (CONSUMERS, 15), (CONSUMERS, 16), (STATE, 3)
    ]  # fmt: skip
    store.apply(batch)
    assert store.consumer_value(1, "C-1") == (7, good)
    assert store.positions(CONSUMERS) == {1: 17}


def test_data_and_positions_change_together_or_not_at_all(store: Store) -> None:
    store.apply(_batch((STATE, 1, 10, partition_key(1, 5), b"a")))
    broken = _batch((STATE, 1, 11, partition_key(1, 5), b"b"))
    broken.positions[STATE, 1] = 2**70  # SQLite cannot hold it: fails after the data was written
    with pytest.raises(OverflowError):
        store.apply(broken)
    assert store.partition_value(1, 5) == (10, b"a")
    assert store.positions(STATE) == {1: 11}


def test_the_file_is_found_again_as_it_was_left(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    first = Store(path, PIPELINE)
    first.reset(STATE, "topic-id", 5.0)
    first.apply(_batch((STATE, 1, 10, partition_key(1, 5), b"a")))
    first.close()
    second = Store(path, PIPELINE)
    assert second.known_topic(STATE) == ("topic-id", 5.0)
    assert second.known_topic(CONSUMERS) is None
    assert second.positions(STATE) == {1: 11}
    assert second.partition_value(1, 5) == (10, b"a")
    second.close()


def test_a_reset_forgets_one_topic_and_keeps_the_other(store: Store) -> None:
    store.apply(
        _batch(
            (STATE, 1, 10, partition_key(1, 5), partition_state().encode()),
            (CONSUMERS, 1, 4, consumer_key(1, 5, "C-1"), consumer_state().encode()),
        )
    )
    store.reset(STATE, "another-id", 1.0)
    assert store.partition_versions() == []
    assert store.positions(STATE) == {}
    assert store.consumer_value(1, "C-1") is not None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"this is no database" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\0" * (path.stat().st_size - 4096)),
        lambda path: _execute(path, "PRAGMA user_version = 99"),
        lambda path: _execute(path, "INSERT INTO topics VALUES ('other-group-partitions-changelog', 'x', 0)"),
    ],
    ids=["no database", "overwritten", "other version", "other group"],
)
def test_a_file_that_is_of_no_use_is_refused(tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "r.sqlite"
    store = Store(path, PIPELINE)
    for offset in range(200):
        value = consumer_state(offset).encode()
        store.apply(_batch((CONSUMERS, 1, offset, consumer_key(1, 1, f"C-{offset}"), value)))
    store.close()
    spoil(path)
    with pytest.raises(sqlite3.DatabaseError) as refused:
        Store(path, PIPELINE).close()
    assert is_damage(refused.value, path)
    remove(path)
    Store(path, PIPELINE).close()


def test_a_command_checks_the_whole_file_only_after_the_machine_was_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.sqlite"
    store = Store(path, PIPELINE)
    for offset in range(200):
        value = consumer_state(offset).encode()
        store.apply(_batch((CONSUMERS, 1, offset, consumer_key(1, 1, f"C-{offset}"), value)))
    store.close()
    content = path.read_bytes()
    page = len(content) - 4096  # a page of data; those of the schema come first
    path.write_bytes(content[:page] + b"\0" * 4096)
    Store(path, PIPELINE, check=False).close()
    monkeypatch.setattr("app.readmodels.store._boot_id", lambda: "another start")
    with pytest.raises(sqlite3.DatabaseError):
        Store(path, PIPELINE, check=False)
    monkeypatch.setattr("app.readmodels.store._boot_id", lambda: "")
    with pytest.raises(sqlite3.DatabaseError):
        Store(path, PIPELINE, check=False)


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_reader_never_takes_an_empty_file_for_an_empty_cluster(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.sqlite", PIPELINE)
    remove(store.path)
    with pytest.raises(sqlite3.OperationalError) as missing:
        store.consumer_value(1, "C-1")
    assert is_damage(missing.value, store.path)
    assert not store.path.exists()
    store.close()


def test_a_full_disk_is_no_damage(store: Store) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert not is_damage(full, store.path)


def test_a_process_without_file_descriptors_has_no_damaged_file(store: Store) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, before[1]))
    try:
        with pytest.raises(sqlite3.OperationalError) as refused:
            store.consumer_value(1, "C-1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(taken[0])
    assert not is_damage(refused.value, store.path)
    assert store.consumer_value(1, "C-1") is None


def test_threads_read_while_another_writes(store: Store) -> None:
    failures: list[sqlite3.Error] = []

    def read() -> None:
        try:
            for _ in range(200):
                store.consumer_value(1, "C-1")
                store.partition_versions()
        except sqlite3.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for offset in range(200):
        store.apply(_batch((STATE, 1, offset, partition_key(1, 5), b"x")))
    for thread in threads:
        thread.join(30)
    assert failures == []


_KEYS = st.tuples(st.integers(0, 2), st.integers(1, 3))


@settings(deadline=None)  # how busy the machine is says nothing about the code
@given(st.lists(st.tuples(_KEYS, st.none() | st.binary(min_size=1, max_size=3)), max_size=30), st.data())
def test_however_records_are_batched_the_highest_living_epoch_counts(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[tuple[int, int], bytes | None]], data: st.DataObject
) -> None:
    table: dict[tuple[int, int], bytes] = {}
    store = Store(tmp_path_factory.mktemp("store") / "r.sqlite", PIPELINE)
    batch = ReadBatch(PIPELINE)
    for offset, ((partition, epoch), value) in enumerate(records):
        batch.add(STATE, partition, offset, partition_key(partition, epoch), value)
        if value is None:
            table.pop((partition, epoch), None)
        else:
            table[partition, epoch] = value
        if data.draw(st.booleans()):
            store.apply(batch)
            batch = ReadBatch(PIPELINE)
    store.apply(batch)
    expected = {p: max(e for q, e in table if q == p) for p, _ in table}
    assert {p: e for p, e, _ in store.partition_versions()} == expected
    for partition, epoch in expected.items():
        found = store.partition_value(partition, epoch)
        assert found is not None
        assert found[1] == table[partition, epoch]
    store.close()
