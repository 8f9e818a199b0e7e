"""The values of open dead letters that Kafka may delete soon, by the index of dead letters and the topics' settings."""

from __future__ import annotations

from collections.abc import Mapping

from app.delivery.dead_letter_record import Holder
from app.delivery.expiring_values import ExpiringValues, expiring, warned_before
from app.delivery.pipeline import Pipeline
from app.readmodels.letters import LetterIndex


def holder_topics(pipeline: Pipeline) -> dict[Holder, str]:
    """The topics that hold values of dead letters."""
    return {Holder.DLQ: pipeline.dlq_topic, Holder.MAIN: pipeline.topic}


def values_that_expire(
    letters: LetterIndex, pipeline: Pipeline, retentions: Mapping[str, int], now_ms: int
) -> list[ExpiringValues]:
    """What people are told, for each topic from which values go.

    Args:
        retentions: of the topics, in ms; negative: unlimited.
    """
    found = []
    for holder, topic in holder_topics(pipeline).items():
        retention_ms = retentions.get(topic, -1)
        if (before_ms := warned_before(retention_ms, now_ms)) is not None:
            found.append(expiring(topic, retention_ms, letters.kept_before(holder, before_ms)))
    return [one for one in found if one is not None]
