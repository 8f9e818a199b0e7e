"""What pages, commands and the engine may ask about the whole cluster.

Every worker follows the compacted topics of its pipeline into a SQLite file of its own, so no worker asks another one.
The topics are the truth: the file may be deleted at any time and is then rebuilt from them.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

import structlog

from app.delivery.consumer_record import ConsumerState
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline import Pipeline
from app.kafka.admin import KafkaAccessError
from app.readmodels.audit import AuditIndex
from app.readmodels.consumer_index import ConsumerIndex
from app.readmodels.followed import ALL, Followed, topic_of
from app.readmodels.follower import EndBehind, Follower, SessionOver
from app.readmodels.letters import LetterIndex
from app.readmodels.partition_cache import PartitionCache
from app.readmodels.progress import Progress
from app.readmodels.slot import Slot, SlotError, take_slot
from app.readmodels.state_topics import Stopped, TopicMissing
from app.readmodels.store import Store, is_damage, remove
from app.readmodels.tasks import TaskIndex
from app.readmodels.trouble import FollowerTrouble
from app.readmodels.unavailable import ReadModelUnavailable
from app.settings import ConfigurationError, KafkaSettings

log = structlog.stdlib.get_logger(__name__)

# Between two tries to reach a broker, or to find a topic that does not exist yet.
RETRY_SECONDS = 1.0
# An answer is complete when it holds everything that the topics held at most this long ago.
FRESH_SECONDS = 5.0
# The thread needs at most this long to notice a stop and to leave the broker.
_STOP_SECONDS = 15.0

T = TypeVar("T")


class ReadModels:
    """Follows the topics in a thread of its own, and answers from any thread.

    Args:
        data_dir: None keeps the data in a temporary folder.
        unreadable: called with the topic of every record that was skipped.
        topics: what is followed; questions about other topics are answered from what an earlier run has left in the
            file, so do not ask them.
        optional: topics that need not exist; they count as empty.
        check: see ``Store``.

    ``consumers``: how the consumers' last events ended. ``letters``: the dead letters. ``tasks``: operators' tasks.
    ``audit``: what persons did and saw.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        pipeline: Pipeline,
        data_dir: Path | None,
        *,
        unreadable: Callable[[str], None] | None = None,
        topics: Collection[Followed] = ALL,
        optional: Collection[Followed] = (),
        check: bool = True,
    ) -> None:
        self._pipeline = pipeline
        self._check_file = check
        self._followed = frozenset(topics)
        self._data_dir = data_dir
        count_unreadable = unreadable or (lambda _topic: None)
        self._progress = Progress()
        self._trouble = FollowerTrouble(self._topics)
        self._partitions = PartitionCache(self._ask, lambda: count_unreadable(pipeline.state_topic))
        self._stop = threading.Event()
        self._damaged = threading.Event()
        self._follower = Follower(
            kafka, pipeline, self._progress, self._interrupted, count_unreadable, topics=topics, optional=optional
        )
        self.consumers = ConsumerIndex(self._query)
        self.letters = LetterIndex(pipeline.letters_topic, self._progress, self._query, self._known_partitions)
        self.tasks = TaskIndex(pipeline.tasks_topic, self._progress, self._query)
        self.audit = AuditIndex(self._query)
        self._thread: threading.Thread | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._slot: Slot | None = None
        self._store: Store | None = None

    def start(self) -> None:
        """Take a file and begin to follow. Checking a file from an earlier run takes about a second per gigabyte.

        Raises:
            SlotError: no file is available in ``data_dir``.
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
        self._trouble.connecting()
        self._thread = threading.Thread(target=self._run, name="read-models", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the file; does nothing if ``start`` was not called."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._slot is not None:
            if self._damaged.is_set():  # found by the last question; the next run must not find it again
                remove(self._slot.path)
            self._slot.release()
            self._slot = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    # How fresh the answers are.
    def caught_up(self, *about: Followed) -> bool:
        """Whether the answers hold everything that the topics held a moment ago.

        ``about``: the topics that are meant; none: all that are followed.
        """
        topics = [topic_of(self._pipeline, one) for one in about] or None
        return self._progress.caught_up(FRESH_SECONDS, topics) and self._partitions.all_readable()

    def reading(self) -> tuple[int, int]:
        """How many records were read of those that had to be read in, and how many they are."""
        return self._progress.reading()

    def behind_seconds(self) -> float:
        """How old the answers are."""
        return self._progress.behind_seconds()

    def trouble(self) -> str | None:
        """Why nothing new arrives, in plain words; None while following."""
        return self._trouble.text

    def broken(self) -> str | None:
        """Why the file cannot be written or this program cannot follow, if a try failed just now for that reason."""
        return self._trouble.own()

    @property
    def trouble_is_own(self) -> bool:
        """Whether the trouble lies in the file or in this program, not in Kafka."""
        return self._trouble.is_own

    def check(self) -> None:
        """Check that the thread is alive.

        Raises:
            RuntimeError: the thread has ended, so the answers would grow old.
        """
        if self._thread is not None and not self._thread.is_alive() and not self._stop.is_set():
            raise RuntimeError("the thread that follows the state topics has ended")

    async def wait_until(self, topic: str, partition: int, offset: int, timeout: float) -> bool:  # noqa: ASYNC109
        """Whether everything below ``offset`` of a state topic's partition was applied within ``timeout`` seconds."""
        return await self._progress.wait_until(topic, partition, offset, timeout)

    def position(self, topic: str, partition: int) -> int:
        """The offset of a state topic's partition below which everything was applied."""
        return self._progress.position(topic, partition)

    # Answers.
    def partitions(self) -> dict[int, PartitionState]:
        """The record that counts of every partition, with the counts of closed days. Shared: do not change it.

        A record that cannot be read is left out, logged and counted. Until it is replaced, no answer is complete.

        Raises:
            ReadModelUnavailable: the file is being replaced.
        """
        return self._partitions.records(self._opened())

    def consumer_ids(self) -> list[str]:
        """Every consumer that has a record.

        Raises:
            ReadModelUnavailable: the file is being replaced.
        """
        store = self._opened()
        return self._ask(store, store.consumer_ids)

    def consumer(self, consumer_id: str) -> list[tuple[int, ConsumerState]]:
        """(partition, record) of a consumer, for every partition that has a record of it.

        Raises:
            ReadModelUnavailable: the file is being replaced.
        """
        store = self._opened()
        found = self._ask(store, lambda: store.consumer_values(consumer_id))
        return [(partition, ConsumerState.decode(value)) for partition, _, value in found]

    def was_erased(self, consumer_id: str) -> bool:
        """Whether a deletion of a consumer's profile was settled, on any partition.

        Raises:
            ReadModelUnavailable: the file is being replaced.
        """
        return any(state.erased >= 0 for _, state in self.consumer(consumer_id))

    def consumer_record(self, partition: int, consumer_id: str) -> tuple[int, ConsumerState] | None:
        """(epoch, record) of a consumer on one partition; takes about 10 microseconds, from any thread.

        The answer reflects what was applied so far, so call ``wait_until`` first. While the partition's records are
        being read in, this raises: None would wrongly say that the consumer is unknown.

        Raises:
            ReadModelUnavailable: the partition is being rebuilt, because its file or its topic was lost.
        """
        if self._progress.building(self._pipeline.consumers_topic, partition):
            raise ReadModelUnavailable(f"consumer records of partition {partition} are being read in; wait_until first")
        store = self._opened()
        found = self._ask(store, lambda: store.consumer_value(partition, consumer_id))
        return (found[0], ConsumerState.decode(found[1])) if found else None

    @property
    def _topics(self) -> list[str]:
        return [topic_of(self._pipeline, one) for one in Followed if one in self._followed]

    def _known_partitions(self) -> Mapping[int, PartitionState]:
        """The partition records, if they are followed."""
        return self.partitions() if Followed.STATE in self._followed else {}

    def _query(self, query: Callable[[Store], T], /) -> T:
        store = self._opened()
        return self._ask(store, lambda: query(store))

    def _opened(self) -> Store:
        if self._store is None:
            raise ReadModelUnavailable("the read models are not open")
        return self._store

    def _ask(self, store: Store, query: Callable[[], T], /) -> T:
        try:
            return query()
        except sqlite3.Error as error:
            if is_damage(error, store.path) and self._store is store:
                self._damaged.set()
            raise ReadModelUnavailable(f"the read model's file cannot be read ({error}); it is rebuilt") from error

    # The follower's thread.
    def _interrupted(self) -> bool:
        self._trouble.still_following()
        return self._stop.is_set() or self._damaged.is_set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._damaged.is_set():
                    self._replace_file()
                self._follower.follow(self._opened(), self._trouble.connected)
            except Stopped:
                continue
            except SessionOver as change:
                log.info("following again from the start of a session", reason=str(change))
                continue
            except EndBehind as behind:
                self._trouble.report(str(behind))
            except TopicMissing as missing:
                self._trouble.missing(str(missing))
            except KafkaAccessError as error:
                self._trouble.report(str(error), error.__cause__)
            except ConfigurationError as error:
                self._trouble.report(str(error))
            except sqlite3.Error as error:
                self._trouble.report(f"the read model's file cannot be written: {error}", own=True)
                if self._slot is not None and is_damage(error, self._slot.path):
                    self._damaged.set()
            except Exception as error:  # noqa: BLE001 - if this thread ended, the answers would stay stale for ever
                self._trouble.report(f"unexpected {type(error).__name__}", error, own=True, traceback=True)
            self._stop.wait(RETRY_SECONDS)

    def _open(self) -> None:
        assert self._slot is not None
        path = self._slot.path
        try:
            self._store = Store(path, self._pipeline, check=self._check_file)
        except sqlite3.Error as error:
            if not is_damage(error, path):
                raise
            log.warning("the read model's file cannot be used, it is rebuilt", file=path.name, reason=str(error))
            remove(path)
            self._store = Store(path, self._pipeline, check=self._check_file)
        self._damaged.clear()

    def _replace_file(self) -> None:
        """Delete the file and begin with an empty one; until then every question finds no store."""
        assert self._slot is not None
        log.warning("the read model's file is damaged, it is rebuilt", file=self._slot.path.name)
        self._progress.build(self._topics)
        damaged, self._store = self._store, None
        if damaged is not None:
            damaged.close()
        self._slot.path.parent.mkdir(parents=True, exist_ok=True)
        remove(self._slot.path)
        self._open()
