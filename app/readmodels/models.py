"""What pages, commands and the engine may ask about the whole cluster.

Every worker follows the two compacted state topics into a SQLite file of its own, so none has to ask its peers. The
topics are the truth; the file may be deleted at any time and is built anew from them.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException

from app.delivery.closed_days import decode_document, document_keys
from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import Counts, added
from app.delivery.partition_record import PartitionState, StateError
from app.kafka.admin import KafkaAccessError
from app.readmodels.follower import EndBehind, Follower, SessionOver
from app.readmodels.progress import Progress
from app.readmodels.slot import Slot, SlotError, take_slot
from app.readmodels.state_topics import Stopped, TopicMissing
from app.readmodels.store import Store, is_damage, remove
from app.settings import ConfigurationError, KafkaSettings

log = structlog.stdlib.get_logger(__name__)

# Between two tries to reach a broker, or to find a topic that is not there yet.
RETRY_SECONDS = 1.0
# A worker makes topics that are missing when it starts; only one that stays away is worth a line.
MADE_SECONDS = 10.0
# An answer counts as complete when it holds everything that stood in the topics at most this long ago.
FRESH_SECONDS = 5.0
# A trouble of its own counts for so long: between two tries it connects, reads and fails again.
BROKEN_FOR_SECONDS = 10.0
# The thread needs this long at most to notice a stop and to leave the broker.
_STOP_SECONDS = 15.0

# The same trouble, whichever of them a try meets.
_AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.LEADER_NOT_AVAILABLE,
}

T = TypeVar("T")


class ReadModelUnavailable(Exception):
    """The read models cannot answer right now (being built, or the file is damaged); they mend themselves."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    epoch: int
    version: int
    state: PartitionState | None


class ReadModels:
    """Follows the state topics in a thread of its own, and answers from any thread.

    ``data_dir`` None keeps the data in a temporary folder, for commands that read once. ``unreadable`` is told the
    topic of every state record that had to be skipped.
    """

    def __init__(
        self, kafka: KafkaSettings, data_dir: Path | None, *, unreadable: Callable[[str], None] | None = None
    ) -> None:
        self._kafka = kafka
        self._data_dir = data_dir
        self._count_unreadable = unreadable or (lambda _topic: None)
        self._progress = Progress()
        self._stop = threading.Event()
        self._damaged = threading.Event()
        self._follower = Follower(kafka, self._progress, self._interrupted, self._count_unreadable)
        self._thread: threading.Thread | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._slot: Slot | None = None
        self._store: Store | None = None
        self._trouble: str | None = "not started"
        self._absent_since = 0.0
        self._own_trouble = False
        self._failed: tuple[float, str] | None = None  # the last trouble of its own: when (monotonic), and what
        self._kind: str | None = self._trouble
        self._decoded: dict[int, _Decoded] = {}
        self._closed: dict[int, tuple[frozenset[bytes], Counts]] = {}
        self._decoding = threading.Lock()

    def start(self) -> None:
        """Take a file and begin to follow; checks a file from before, which takes a second per gigabyte or so.

        Raises:
            SlotError: no file can be had in ``data_dir``.
        """
        folder = self._data_dir
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="profile-sync-")
            folder = Path(self._temporary.name)
        self._slot = take_slot(folder)
        self._progress.build(self._topics)
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            raise SlotError(f"DATA_DIR {folder}: {self._slot.path.name} cannot be written: {error}") from error
        self._trouble = "not connected yet"
        self._thread = threading.Thread(target=self._run, name="read-models", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the file; harmless when not started."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._slot is not None:
            self._slot.release()
            self._slot = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    # How far.
    def caught_up(self) -> bool:
        """Whether the answers hold everything that stood in the topics a moment ago."""
        if not self._progress.caught_up(FRESH_SECONDS):
            return False
        with self._decoding:
            return all(decoded.state is not None for decoded in self._decoded.values())

    def behind_seconds(self) -> float:
        """How old the answers are."""
        return self._progress.behind_seconds()

    def trouble(self) -> str | None:
        """Why nothing new arrives, in plain words; None while following."""
        return self.broken() or self._trouble

    def broken(self) -> str | None:
        """Why the file cannot be written or this program cannot follow, if a try failed for that just now."""
        failed = self._failed
        return failed[1] if failed is not None and time.monotonic() - failed[0] < BROKEN_FOR_SECONDS else None

    def check(self) -> None:
        """See that the thread lives.

        Raises:
            RuntimeError: it has ended; the answers would grow old.
        """
        if self._thread is not None and not self._thread.is_alive() and not self._stop.is_set():
            raise RuntimeError("the thread that follows the state topics has ended")

    @property
    def trouble_is_own(self) -> bool:
        """Whether the trouble lies in the file or in this program, not in Kafka."""
        return self._own_trouble or self.broken() is not None

    async def wait_until(self, topic: str, partition: int, offset: int, timeout: float) -> bool:  # noqa: ASYNC109
        """Whether everything below ``offset`` of a state topic's partition was applied within ``timeout`` seconds."""
        return await self._progress.wait_until(topic, partition, offset, timeout)

    def position(self, topic: str, partition: int) -> int:
        """Everything below this offset of a state topic's partition was applied."""
        return self._progress.position(topic, partition)

    # Answers.
    def partitions(self) -> dict[int, PartitionState]:
        """The record that counts of every partition, with the counts of closed days; shared, so not to be changed.

        A record that cannot be read is left out, logged and counted, and nothing is complete until it is replaced.

        Raises:
            ReadModelUnavailable: the file is being replaced.
        """
        store = self._opened()
        newest = self._ask(store, store.partition_versions)
        with self._decoding:
            for partition, epoch, version in newest:
                before = self._decoded.get(partition)
                if before is None or (before.epoch, before.version) != (epoch, version):
                    self._decoded[partition] = self._decode(store, partition, epoch, version)
            for partition in self._decoded.keys() - {partition for partition, _, _ in newest}:
                del self._decoded[partition]
            return {p: decoded.state for p, decoded in self._decoded.items() if decoded.state is not None}

    def consumer_ids(self) -> list[str]:
        """Every consumer that has a record.

        Raises:
            ReadModelUnavailable: the file is being replaced.
        """
        store = self._opened()
        return self._ask(store, store.consumer_ids)

    def consumer(self, consumer_id: str) -> list[tuple[int, ConsumerState]]:
        """(partition, record) of a consumer, for every partition where it was seen.

        Raises:
            ReadModelUnavailable: the file is being replaced.
        """
        store = self._opened()
        found = self._ask(store, lambda: store.consumer_values(consumer_id))
        return [(partition, ConsumerState.decode(value)) for partition, _, value in found]

    def consumer_record(self, partition: int, consumer_id: str) -> tuple[int, ConsumerState] | None:
        """(epoch, record) of a consumer on one partition; some 10 microseconds, from any thread.

        It says what was applied so far: ``wait_until`` first. Raises rather than call a consumer unknown whose record
        is still to be read in.

        Raises:
            ReadModelUnavailable: the partition is being built anew (its file or its topic was lost).
        """
        if self._progress.building(self._kafka.consumers_topic, partition):
            raise ReadModelUnavailable(f"consumer records of partition {partition} are being read in; wait_until first")
        store = self._opened()
        found = self._ask(store, lambda: store.consumer_value(partition, consumer_id))
        return (found[0], ConsumerState.decode(found[1])) if found else None

    @property
    def _topics(self) -> tuple[str, str]:
        return self._kafka.state_topic, self._kafka.consumers_topic

    def _opened(self) -> Store:
        if self._store is None:
            raise ReadModelUnavailable("the read models are not open")
        return self._store

    def _ask(self, store: Store, question: Callable[[], T]) -> T:
        try:
            return question()
        except sqlite3.Error as error:
            if is_damage(error, store.path) and self._store is store:
                self._damaged.set()
            raise ReadModelUnavailable(f"the read model's file cannot be read ({error}); it is built anew") from error

    def _decode(self, store: Store, partition: int, epoch: int, version: int) -> _Decoded:
        found = self._ask(store, lambda: store.partition_value(partition, epoch))
        if found is None:  # replaced between the two questions; the next call sees the new one
            return _Decoded(epoch, -1, None)
        try:
            state = PartitionState.decode(found[1])
            state.counts = added(self._closed_days(store, partition, state), state.counts)
            return _Decoded(epoch, found[0], state)
        except StateError as error:
            now = self._ask(store, lambda: store.partition_value(partition, epoch))
            if now is None or now[0] != found[0]:  # replaced meanwhile, and a document of closed days with it
                return _Decoded(epoch, -1, None)
            log.error(
                "the record of a partition cannot be read, so the counts are not complete",
                partition=partition,
                epoch=epoch,
                offset=version,
                reason=str(error),
            )
            self._count_unreadable(self._kafka.state_topic)
            return _Decoded(epoch, found[0], None)

    def _closed_days(self, store: Store, partition: int, state: PartitionState) -> Counts:
        """The counts that the record's documents hold; decoded anew only when it names others."""
        keys = frozenset(document_keys(partition, state))
        before = self._closed.get(partition)
        if before is not None and before[0] == keys:
            return before[1]
        closed: Counts = {}
        for key in keys:
            value = self._ask(store, partial(store.document, key))
            if value is None:
                raise StateError("a document of closed days is missing")
            closed |= decode_document(value)
        self._closed[partition] = keys, closed
        return closed

    # The thread.
    def _interrupted(self) -> bool:
        if self._kind is not None and self._trouble is None and self.broken() is None:
            self._say(None)  # it lasts: what it writes arrives
        return self._stop.is_set() or self._damaged.is_set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._damaged.is_set():
                    self._replace_file()
                self._follower.follow(self._opened(), lambda: self._say(None))
            except Stopped:
                continue
            except SessionOver as change:
                log.info("following anew", reason=str(change))
                continue
            except EndBehind as behind:
                self._say(str(behind))
            except TopicMissing as missing:
                self._absent_since = self._absent_since or time.monotonic()
                fresh = time.monotonic() - self._absent_since < MADE_SECONDS
                self._say(f"topic {missing} does not exist; `profile-sync topics create` makes it", fresh=fresh)
            except KafkaAccessError as error:
                self._say(str(error), error.__cause__)
            except ConfigurationError as error:
                self._say(str(error))
            except sqlite3.Error as error:
                self._say(f"the read model's file cannot be written: {error}", own=True)
                if self._slot is not None and is_damage(error, self._slot.path):
                    self._damaged.set()
            except Exception as error:  # noqa: BLE001 - a thread that ended would answer stale numbers for ever
                self._say(f"unexpected {type(error).__name__}", error, own=True, traceback=True)
            self._stop.wait(RETRY_SECONDS)

    def _say(
        self,
        trouble: str | None,
        cause: BaseException | None = None,
        *,
        own: bool = False,
        traceback: bool = False,
        fresh: bool = False,
    ) -> None:
        """Log a change of state once, though its wording may differ from try to try; not yet what is ``fresh``."""
        self._trouble, self._own_trouble = trouble, own
        if fresh:
            return
        if trouble is None:
            self._absent_since = 0.0
        if own and trouble is not None:
            self._failed = time.monotonic(), trouble
        elif trouble is None and self.broken() is not None:
            return  # it connects before each try that fails
        before, self._kind = self._kind, _kind(trouble, cause)
        if self._kind == before:
            return
        if trouble is None:
            log.info("following the state topics", topics=list(self._topics))
        else:
            log.warning(
                "not following the state topics, trying on", reason=trouble, exc_info=cause if traceback else None
            )

    def _open(self) -> None:
        assert self._slot is not None
        path = self._slot.path
        try:
            self._store = Store(path, *self._topics)
        except sqlite3.Error as error:
            if not is_damage(error, path):
                raise
            log.warning("read model's file is of no use, it is built anew", file=path.name, reason=str(error))
            remove(path)
            self._store = Store(path, *self._topics)
        self._damaged.clear()

    def _replace_file(self) -> None:
        """Throw the file away and begin with an empty one; questions in between find no store."""
        assert self._slot is not None
        log.warning("read model's file is damaged, it is built anew", file=self._slot.path.name)
        self._progress.build(self._topics)
        damaged, self._store = self._store, None
        if damaged is not None:
            damaged.close()
        self._slot.path.parent.mkdir(parents=True, exist_ok=True)
        remove(self._slot.path)
        self._open()


def _kind(trouble: str | None, cause: BaseException | None) -> str | None:
    if isinstance(cause, KafkaException):
        code = cause.args[0].code()
        return "away" if code in _AWAY else f"Kafka error {code}"
    return trouble
