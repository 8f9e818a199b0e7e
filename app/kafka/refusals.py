"""Which errors of a write an operator can remove, and how. Pure.

The worker waits when a right or a topic is missing, or when a topic's settings or a policy refuse a write. Events that
need the topic wait. Nothing is lost, and a restart would change nothing. Every other error ends the worker: errors of
the producer itself, and errors that leave open whether a record was written.
"""

from __future__ import annotations

from aiokafka import errors


class RecordRefused(errors.BrokerResponseError):  # type: ignore[misc]
    """INVALID_RECORD: the broker does not take this record. aiokafka has no name for it."""

    errno = 87
    message = "INVALID_RECORD"


_SETTINGS = (
    "topic {topic} refuses what this worker writes ({error}), by its settings or by a policy of the cluster: "
    "run `profile-sync topics check`"
)
_TOO_NARROW = (
    "topic {topic} does not even take a dead letter without key and value: raise its max.message.bytes "
    "(`profile-sync topics check` says to what)"
)
_MISSING = "topic {topic} does not exist or has no leader: run `profile-sync topics check`"

_WAITS: dict[type[errors.KafkaError], str] = {
    errors.TopicAuthorizationFailedError: (
        "the right WRITE on topic {topic} is missing; give this worker's user the ACL, the work goes on by itself"
    ),
    errors.ClusterAuthorizationFailedError: (
        "the right IDEMPOTENT_WRITE on the cluster is missing; give this worker's user the ACL, the work goes on by "
        "itself"
    ),
    errors.UnknownTopicOrPartitionError: _MISSING,
    errors.InvalidTopicError: _MISSING,
    errors.NotLeaderForPartitionError: _MISSING,
    errors.LeaderNotAvailableError: _MISSING,
    errors.NotEnoughReplicasError: (
        "topic {topic} has fewer replicas in sync than min.insync.replicas asks for: start the brokers that are away"
    ),
    errors.NotEnoughReplicasAfterAppendError: (
        "topic {topic} has fewer replicas in sync than min.insync.replicas asks for: start the brokers that are away"
    ),
    errors.PolicyViolationError: _SETTINGS,
    errors.InvalidTimestampError: _SETTINGS,
    errors.UnsupportedForMessageFormatError: _SETTINGS,
    errors.RecordListTooLargeError: _SETTINGS,
    errors.MessageSizeTooLargeError: _TOO_NARROW,
    RecordRefused: _SETTINGS,
}

# After these errors the broker has certainly not written the batch. After any other, it may have.
NOT_WRITTEN: tuple[type[errors.KafkaError], ...] = (
    errors.TopicAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.UnknownTopicOrPartitionError,
    errors.InvalidTopicError,
    errors.NotLeaderForPartitionError,
    errors.LeaderNotAvailableError,
    errors.NotEnoughReplicasError,
    errors.PolicyViolationError,
    errors.InvalidTimestampError,
    errors.UnsupportedForMessageFormatError,
    errors.RecordListTooLargeError,
    errors.MessageSizeTooLargeError,
    RecordRefused,
)


def what_to_do(error: BaseException, topic: str) -> str | None:
    """Why a topic takes no writes, and what to do; None: waiting does not help.

    >>> what_to_do(errors.NotEnoughReplicasError(), "t")[:31]
    'topic t has fewer replicas in s'
    >>> what_to_do(errors.OutOfOrderSequenceNumber(), "t")
    """
    text = _WAITS.get(type(error))
    return None if text is None else text.format(topic=topic, error=type(error).__name__)
