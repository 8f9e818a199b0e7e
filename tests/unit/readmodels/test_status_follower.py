"""Others may write into the status topic: this takes little memory and hides no worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from app.delivery.worker_status import WorkerEnd, WorkerStatus
from app.flows.status_records import is_ours, read_last_end, read_workers
from app.readmodels.status_topic import MOST_BYTES, StatusFollower
from tests.unit.engine.world import KAFKA, PIPELINE


def status(name: str, text: str = "") -> WorkerStatus:
    return WorkerStatus(worker=name, at=1, started=1, warnings=(text,))


Flood = Callable[[], Iterator[tuple[bytes, bytes]]]
FLOODS: dict[str, Flood] = {
    "large values": lambda: ((f"worker|{n}".encode(), b"x" * 950_000) for n in range(60)),
    "objects": lambda: ((f"worker|gone-{n}".encode(), b"{}") for n in range(12_000)),
    "incidents": lambda: ((f"incident|{n}".encode(), b'{"v":1}') for n in range(12_000)),
    "other keys": lambda: ((f"other|{n}".encode(), status("a").to_bytes()) for n in range(12_000)),
    "long keys": lambda: ((b"worker|" + b"n" * 400 + str(n).encode(), b"{}") for n in range(1_000)),
    "another's name": lambda: ((f"worker|{n}".encode(), status("a").to_bytes()) for n in range(1_000)),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_what_no_worker_would_write_is_not_kept(flood: Flood) -> None:
    follower = StatusFollower(KAFKA, PIPELINE, is_ours)
    for key, value in flood():
        follower.take(key, value)
    follower.take(status("a").key, status("a").to_bytes())
    follower.take(b"end|last", WorkerEnd(worker="a", at=1).to_bytes())
    follower.take(None, b"{}")
    assert set(follower.records()) == {"worker|a", "end|last"}
    assert set(read_workers(follower.records())) == {"a"}
    assert read_last_end(follower.records()) is not None


def test_what_is_ours_and_too_much_pushes_out_what_was_heard_of_longest_ago_but_nothing_of_our_own() -> None:
    follower = StatusFollower(KAFKA, PIPELINE, is_ours)
    own = status("own")
    follower.put(own.key.decode(), own.to_bytes())
    old = status("old")
    follower.take(old.key, old.to_bytes())
    with capture_logs() as logged:
        for number in range(20_000):
            one = status(f"w-{number}", "x" * 900)
            follower.take(one.key, one.to_bytes())
    records = follower.records()
    assert sum(len(key) + len(value) for key, value in records.items()) <= MOST_BYTES
    assert {"worker|own", "worker|w-19999"} <= set(records)
    assert not {"worker|old", "worker|w-0"} & set(records)
    assert len([line for line in logged if line["log_level"] == "warning"]) == 1
    follower.put(own.key.decode(), None)
    assert "worker|own" not in follower.records()


def test_what_was_taken_back_takes_no_room() -> None:
    follower = StatusFollower(KAFKA, PIPELINE, is_ours)
    with capture_logs() as logged:
        for _ in range(20_000):
            one = status("w", "x" * 900)
            follower.take(one.key, one.to_bytes())
            follower.take(one.key, None)
    assert follower.records() == {}
    assert logged == []
