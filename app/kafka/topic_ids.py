"""The ID that a broker gives to a topic when it is created (KIP-516): a topic that is created again has another ID."""

from __future__ import annotations

from confluent_kafka.admin import TopicDescription

# All zeros, as text: from a broker before 2.8, which gives no IDs.
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"


def topic_id(description: TopicDescription) -> str:
    """The ID as text; empty if the broker gives none."""
    given = "" if description.topic_id is None else str(description.topic_id)
    return "" if given == _NO_ID else given
