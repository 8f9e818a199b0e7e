"""A producer that publishes while a test disturbs the workers, and checks of everything that it published."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Container, Iterator, Sequence
from types import TracebackType
from typing import Self

from app.profile.samples.samples import sample_events, to_json
from tests.support.deployment import Deployment, Document, Published, without_nulls
from tests.support.simulator_probe import Call
from tests.support.worker_process import WorkerProcess, wait_for

# Some 40 events per second with about 12 calls each, but never more than BACKLOG ahead of the workers. So there is
# always work, and even on a slow machine it is finished soon after the feed ends.
CHUNK, PAUSE_SECONDS, BACKLOG = 4, 0.1, 60


class Feed:
    """Publishes sample events of a few consumers until the ``with`` block ends."""

    def __init__(self, deployment: Deployment, *, seed: int, consumers: int = 40) -> None:
        self.published: list[Published] = []
        self._deployment = deployment
        self._events: Iterator[Document] = (
            to_json(event) for event in sample_events(100_000, seed=seed, consumers=consumers)
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(60)
        if kind is None:
            assert not self._thread.is_alive(), "the feed hangs"
            if self._error is not None:
                raise self._error

    def flowing(self, worker: WorkerProcess, events: int = 20) -> None:
        """Return once this many more events are settled, so that work is in full flow."""
        before = worker.totals()["events"]
        wait_for(lambda: worker.totals()["events"] >= before + events, lambda: f"{worker.totals()}", 30)

    def _settled(self) -> int:
        """The number of settled events, as a worker that answers reports it."""
        for worker in reversed(self._deployment.workers):
            if worker.running:
                status, totals = worker.status("/api/kpi/totals")
                if status == 200:
                    return int(totals["events"])
        return 0

    def _run(self) -> None:
        try:
            settled = 0
            while not self._stop.wait(PAUSE_SECONDS):
                settled = max(settled, self._settled())
                if len(self.published) - settled > BACKLOG:
                    continue
                self.published += self._deployment.publish(*itertools.islice(self._events, CHUNK))
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            self._error = error


def posts_of_parents(calls: Sequence[Call], consumers: Container[str]) -> dict[str, list[str]]:
    """``UpdatedAt`` of every parent row that was sent, by consumer; it rises with each event of a consumer."""
    sent: dict[str, list[str]] = {}
    for call in calls:
        if (call.operation, call.data_extension) == ("Update", "CMT_Consumer") and call.consumer_id in consumers:
            sent.setdefault(str(call.consumer_id), []).append(str(call.rows[0]["UpdatedAt"]))
    return sent


def published_parents(deployment: Deployment, published: Sequence[Published]) -> dict[str, list[str]]:
    """Like ``posts_of_parents``, from the events themselves."""
    parents: dict[str, list[str]] = {}
    for one in published:
        event = deployment.event_of(one)
        if event.consumer is not None:
            parents.setdefault(event.consumer_id, []).append(str(event.consumer["UpdatedAt"]))
    return parents


def assert_order_was_kept(deployment: Deployment, published: Sequence[Published]) -> None:
    """No event of a consumer ran after a later one, and none was left out. Repeats are allowed."""
    expected_of = published_parents(deployment, published)
    sent = posts_of_parents(deployment.simulator.calls(), expected_of)
    for consumer, expected in expected_of.items():
        assert sent[consumer] == sorted(sent[consumer]), f"an older state after a newer one: {sent[consumer]}"
        assert sorted(set(sent[consumer])) == expected


def assert_worked_on_once(deployment: Deployment, published: Sequence[Published]) -> None:
    """Like ``assert_order_was_kept``, and no event ran twice."""
    expected_of = published_parents(deployment, published)
    sent = posts_of_parents(deployment.simulator.calls(), expected_of)
    for consumer, expected in expected_of.items():
        assert sent[consumer] == expected


def assert_rows_are_right(deployment: Deployment, published: Sequence[Published]) -> None:
    """Marketing Cloud holds the last state of every consumer of the feed, and no other rows of these consumers."""
    expected = without_nulls(deployment.expected(published))
    consumers = {deployment.event_of(one).consumer_id for one in published}
    held = without_nulls(deployment.simulator.rows(deployment.catalog))
    for entity, rows in expected.items():
        assert {key: row for key, row in held[entity].items() if key[0] in consumers} == rows, entity
