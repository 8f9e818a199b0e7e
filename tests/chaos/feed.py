"""Publishes a run's events at an even pace, in small bursts, while the blows fall."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.chaos.events import Draft
from tests.support.worker_process import WorkerProcess

PAUSE_SECONDS = 0.1
# The feed is ahead of the workers by at most the events of this many seconds, so that a run ends soon after its last
# one.
BACKLOG_SECONDS = 20.0
ASK_EVERY_SECONDS = 1.0
# Three blows at the broker within half a minute, each with a start and a reconnect after it, took more than 60 s.
DELIVERY_SECONDS = 180.0
# A broker that does not answer within this time is asked again, or the partition's new leader is.
ANSWER_SECONDS = 5.0


class Feed(threading.Thread):
    """``per_second`` events until all are published. ``awake``: workers that can be asked how far they are. ``codecs``:
    compression of the records, drawn for each burst.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        drafts: Iterator[Draft],
        *,
        per_second: float,
        seed: int,
        awake: Callable[[], Mapping[int, WorkerProcess]],
        codecs: Sequence[str] = ("none",),
    ) -> None:
        super().__init__(name="feed", daemon=True)
        self.published: list[tuple[bytes | None, bytes | None]] = []
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self._topic = pipeline_of(kafka).topic
        self._producers = [
            Producer(
                {
                    "bootstrap.servers": kafka.bootstrap_servers,
                    "enable.idempotence": True,
                    "partitioner": "murmur2_random",
                    "compression.type": codec,
                    "linger.ms": 1,
                    "socket.timeout.ms": int(ANSWER_SECONDS * 1000),
                    "delivery.timeout.ms": int(DELIVERY_SECONDS * 1000),
                    "reconnect.backoff.max.ms": 1000,
                    # Brokers go away all the time here, so the client's log lines are dropped.
                    "log_level": 0,
                }
            )
            for codec in codecs
        ]
        self._drafts = drafts
        self._per_second = per_second
        self._random = random.Random(seed)
        self._awake = awake
        self._settled = 0
        self._asked = 0.0

    def run(self) -> None:
        try:
            self._publish_all()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that started the feed
            self.error = error

    def _publish_all(self) -> None:
        allowed, last = 0.0, time.monotonic()
        while not self.stop.wait(PAUSE_SECONDS):
            now = time.monotonic()
            # After a pause the feed does not publish all late events at once.
            allowed = min(allowed + (now - last) * self._per_second, 2 * self._per_second)
            last = now
            if allowed < 1 or self._ahead():
                continue
            number = min(int(allowed), self._random.randint(1, max(1, int(self._per_second / 2))))
            chunk = list(itertools.islice(self._drafts, number))
            if not chunk:
                return
            allowed -= len(chunk)
            self._publish(chunk)

    def _publish(self, chunk: Sequence[Draft]) -> None:
        """Return when the broker has acknowledged the events, however long it is away."""
        errors: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                errors.append(error)

        producer = self._random.choice(self._producers) if len(self._producers) > 1 else self._producers[0]
        for draft in chunk:
            producer.produce(self._topic, draft.value, draft.key, on_delivery=delivered)
        left = producer.flush(DELIVERY_SECONDS)
        if errors:
            raise KafkaException(errors[0])
        if left:
            raise AssertionError(f"{left} events not acknowledged within {DELIVERY_SECONDS:g} s")
        self.published += ((draft.key, draft.value) for draft in chunk)

    def _ahead(self) -> bool:
        most = BACKLOG_SECONDS * self._per_second
        if len(self.published) - self._settled < most:
            return False
        if time.monotonic() - self._asked < ASK_EVERY_SECONDS:
            return True
        self._asked = time.monotonic()
        for worker in self._awake().values():
            status, totals = worker.status("/api/kpi/totals")
            if status == 200:
                self._settled = max(self._settled, int(totals["events"]))
        return len(self.published) - self._settled >= most
