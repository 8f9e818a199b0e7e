"""A topic that ends before what was read of it: a broker that does not know yet, or records that are lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.delivery.pipeline import Pipeline
from app.delivery.record_format import partition_key
from app.readmodels.batch import ReadBatch
from app.readmodels.follower import LOWER_END_SECONDS, EndBehind, Follower
from app.readmodels.progress import Progress
from app.readmodels.state_topics import TopicFacts
from app.readmodels.store import Store
from app.settings import KafkaSettings
from tests.support.records import partition_state, settlement

PIPELINE = Pipeline("consumers", "main", "group")
KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:9", partitions=2)
STATE, CONSUMERS = PIPELINE.state_topic, PIPELINE.consumers_topic


class Case:
    """A follower that has read the state topic up to offset 10 of both partitions."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.progress = Progress()
        self.store = Store(folder / "store.sqlite", PIPELINE)
        self.follower = Follower(KAFKA, PIPELINE, self.progress, lambda: False, lambda _: None, lambda: self.now)
        for topic in (STATE, CONSUMERS):
            self.store.reset(topic, f"id of {topic}", time.time())
        batch = ReadBatch(PIPELINE)
        for number in (0, 1):
            batch.add(STATE, number, 9, partition_key(number, 1), partition_state(settlement()).encode())
        self.store.apply(batch)
        self.progress.looked({(STATE, 0): 10, (STATE, 1): 10}, time.monotonic())
        self.progress.moved({(STATE, 0): 10, (STATE, 1): 10})

    def look(self, *ends: int, begin: int = 0, topic_id: str = f"id of {STATE}") -> dict[tuple[str, int], int]:
        """Where reading goes on after a look that found these ends."""
        facts = {
            STATE: TopicFacts(STATE, topic_id, {0: begin, 1: begin}, dict(enumerate(ends))),
            CONSUMERS: TopicFacts(CONSUMERS, f"id of {CONSUMERS}", {0: 0, 1: 0}, {0: 0, 1: 0}),
        }
        return self.follower._positions(self.store, facts)

    @property
    def known(self) -> int:
        return len(self.store.partition_versions())


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_counts_stay_while_the_end_is_lower_and_are_not_called_complete(case: Case) -> None:
    assert case.progress.caught_up(5)
    with pytest.raises(EndBehind, match="ends before the records already read"):
        case.look(10, 4)
    assert case.known == 2
    assert not case.progress.caught_up(5)


def test_reading_goes_on_where_it_was_when_the_end_has_caught_up(case: Case) -> None:
    for _ in range(3):
        with pytest.raises(EndBehind):
            case.look(4, 4)
        case.now += LOWER_END_SECONDS / 4
    assert case.look(10, 12)[STATE, 1] == 10
    assert case.known == 2
    # The next time counts from the beginning.
    case.now += LOWER_END_SECONDS
    with pytest.raises(EndBehind):
        case.look(4, 4)


def test_an_end_that_stays_lower_is_that_of_a_truncated_topic(case: Case) -> None:
    with pytest.raises(EndBehind):
        case.look(4, 4)
    case.now += LOWER_END_SECONDS
    assert case.look(4, 4)[STATE, 0] == 0
    assert case.known == 0


@pytest.mark.parametrize(("begin", "topic_id"), [(11, f"id of {STATE}"), (0, "another one")])
def test_another_topic_or_one_cut_off_at_its_beginning_is_read_anew_at_once(
    case: Case, begin: int, topic_id: str
) -> None:
    case.look(12, 12, begin=begin, topic_id=topic_id)
    assert case.known == 0
