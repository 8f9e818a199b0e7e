"""Which pipeline and which topics a durable record is about. No I/O.

An offset identifies an event only within one topic. So a partition record names the topic that its offsets belong to,
and the ID that the broker gave to that topic (KIP-516: a recreated topic has another ID). The record also holds the IDs
of this program's own topics, because offsets into them, and the consumer records, are valid for these topics only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.delivery.state_fields import members, text


class Role(StrEnum):
    """What a topic is for."""

    SOURCE = "source"
    RETRY = "retry"
    ALERTS = "alerts"
    CONSUMERS = "consumers"  # consumer records


class Difference(StrEnum):
    """Why a record is not about this pipeline."""

    FLOW = "flow"
    TOPIC = "topic"
    RECREATED = "recreated"
    CONSUMERS_LOST = "consumers lost"


@dataclass(frozen=True, slots=True)
class PipelineIdentity:
    """A flow, its main topic, and the topic IDs by role, as far as the broker reports them."""

    flow: str
    topic: str
    ids: Mapping[Role, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form in the partition record."""
        return {"flow": self.flow, "topic": self.topic, "ids": {role.value: given for role, given in self.ids.items()}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PipelineIdentity:
        """Read what ``to_json`` made; roles that this program does not know are left out.

        Raises:
            MalformedPart, KeyError: not an identity.
        """
        ids = members(members(document)["ids"])
        known = {Role(role): text(topic_id) for role, topic_id in ids.items() if role in list(Role)}
        return cls(text(document["flow"]), text(document["topic"]), known)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a record's identity relates to the identity of the running pipeline.

    ``difference``: why the pipeline must not go on with the record; None: it may. ``identity``: the identity to note in
    the record from now on. ``adopted``: the record did not hold all of it before. ``recreated``: our topics that were
    recreated; offsets into them are no longer valid.
    """

    identity: PipelineIdentity
    difference: Difference | None = None
    adopted: bool = False
    recreated: frozenset[Role] = frozenset()


def compare(recorded: PipelineIdentity | None, running: PipelineIdentity) -> Comparison:
    """Whether a record is about the running pipeline; an ID that is missing on either side matches any ID.

    >>> one, other = (PipelineIdentity("consumers", "profiles", {Role.SOURCE: topic_id}) for topic_id in ("a", "b"))
    >>> compare(one, other).difference
    <Difference.RECREATED: 'recreated'>
    >>> compare(None, one).adopted
    True
    """
    if recorded is None:
        return Comparison(running, adopted=True)
    # Keep recorded IDs that the broker does not report now: it may report them again later.
    merged = PipelineIdentity(running.flow, running.topic, {**recorded.ids, **running.ids})
    other = {role for role, topic_id in running.ids.items() if recorded.ids.get(role, topic_id) != topic_id}
    if recorded.flow != running.flow:
        difference: Difference | None = Difference.FLOW
    elif recorded.topic != running.topic:
        difference = Difference.TOPIC
    elif Role.SOURCE in other:
        difference = Difference.RECREATED
    elif Role.CONSUMERS in other:
        difference = Difference.CONSUMERS_LOST
    else:
        difference = None
    adopted = merged.ids.keys() != recorded.ids.keys() or running.ids.keys() != recorded.ids.keys()
    return Comparison(merged, difference, adopted, frozenset(other))


def refusal(difference: Difference, recorded: PipelineIdentity, running: PipelineIdentity, group: str) -> str:
    """What is wrong, and the ways to go on; one line."""
    if difference is Difference.FLOW:
        return (
            f"The state of group {group} belongs to the pipeline {recorded.flow}, not {running.flow}. Use another "
            "KAFKA_GROUP for this worker."
        )
    if difference is Difference.TOPIC:
        return (
            f"The state of group {group} is about topic {recorded.topic}, not {running.topic}: events would be skipped "
            f"as settled. Set KAFKA_TOPIC={recorded.topic}, or use another KAFKA_GROUP for {running.topic} "
            "(KAFKA_START says where it begins)."
        )
    if difference is Difference.RECREATED:
        return (
            f"Topic {running.topic} is not the one that the state of group {group} is about: it was deleted and "
            f"recreated (its ID is {running.ids.get(Role.SOURCE)}, was {recorded.ids.get(Role.SOURCE)}). New events "
            f"would be skipped as settled. If its offsets differ (recreated, mirrored), {NEW_GROUP}. If it holds the "
            "same records at the same offsets (restored, linked), stop the group's workers and run "
            "`profile-sync topics adopt`."
        )
    return (
        f"The topic with the consumer records of group {group} was deleted and recreated, so each consumer's last "
        f"events are not known. Restore it; or {NEW_GROUP}. If it was restored, or if older events may "
        "overwrite newer ones, stop the group's workers and run `profile-sync topics adopt`."
    )


def topic_gone(topic: str, group: str) -> str:
    """What is wrong if the main topic no longer exists, and the ways to go on; one line."""
    return (
        f"Topic {topic} does not exist, and the state of group {group} is about it. Do not create it again: the group "
        "would skip its events as settled, so its workers would stop. Restore it with the same records at the same "
        f"offsets, stop the group's workers and run `profile-sync topics adopt`; or {NEW_GROUP}."
    )


def other_record(topic: str, partition: int, offset: int, group: str) -> str:
    """What is wrong if a settled offset holds another record, and the ways to go on; one line."""
    return (
        f"Partition {partition} of {topic} holds another record at offset {offset} than the one that group {group} "
        "settled there: the log lost records (an unclean leader election, a lost disk), or it was restored from "
        f"another state. New events would be skipped as settled: {NEW_GROUP}. If it holds the same events at the same "
        "offsets (rewritten, masked), stop the group's workers and run `profile-sync topics adopt`."
    )


NEW_GROUP = "use a new KAFKA_GROUP, with KAFKA_START for where it begins"
