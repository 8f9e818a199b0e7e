"""An administration client whose errors say which broker was asked, what happened and what to check."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription

from app.delivery.record import TopicPartition
from app.kafka.clients import admin_config, bootstrap_servers
from app.kafka.partition_offsets import PartitionOffsets
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of

# A broker on the other side of the world answers within a second. An operator waits this long for an error.
TIMEOUT_SECONDS = 10.0

T = TypeVar("T")

# Our messages contain what the library would print on stderr.
_silent = logging.getLogger(__name__)
_silent.addHandler(logging.NullHandler())
_silent.propagate = False

_AUTHORIZATION = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)
_AUTHENTICATION = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL})
_UNREACHABLE = frozenset(
    {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE}
)


class KafkaAccessError(Exception):
    """Kafka could not be reached, or refused. The message names the address and what to check.

    ``code``: the Kafka error code (``confluent_kafka.KafkaError``), if there is one. ``refused``: Kafka was reached and
    refused access.
    """

    def __init__(self, message: str, code: int | None = None, *, refused: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.refused = refused


class Admin:
    """Wraps an ``AdminClient``. It collects the complaints of its connections, because the calls only time out."""

    def __init__(self, settings: KafkaSettings, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.timeout_seconds = timeout_seconds
        self._addresses = ", ".join(bootstrap_servers(settings))
        self._settings = settings
        self._complaints: list[KafkaError] = []
        self._offsets: PartitionOffsets | None = None
        config = admin_config(settings) | {
            "error_cb": self._complaints.append,
            "socket.connection.setup.timeout.ms": max(1000, int(timeout_seconds * 500)),
        }
        with self.named_errors("connect"):
            self.client = AdminClient(dict(config), logger=_silent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections.

        A long-running process must call this: the client has four threads, and an error that refers to the client may
        keep it alive until the garbage collector runs.
        """
        self.client.__exit__(None, None, None)
        if self._offsets is not None:
            self._offsets.close()

    @contextmanager
    def named_errors(self, action: str, on: str = "") -> Iterator[None]:
        """Turn the library's exceptions into ``KafkaAccessError``. ``action``: what was tried, e.g. "list topics"."""
        try:
            yield
        except KafkaException as error:
            cause = error.args[0]
            message = self._message(cause, action, on)
            # When a connection is refused, the call itself only says that it timed out.
            codes = {cause.code(), *(complaint.code() for complaint in self._complaints)}
            refused = not codes.isdisjoint(_AUTHORIZATION | _AUTHENTICATION)
            raise KafkaAccessError(message, cause.code(), refused=refused) from error

    def result(self, future: Future[T], action: str, on: str = "") -> T:
        """Wait for one answer.

        Raises:
            KafkaAccessError: no answer in time, or a refusal.
        """
        with self.named_errors(action, on):
            try:
                return future.result(self.timeout_seconds + 1)
            except TimeoutError:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None

    def brokers(self) -> list[str]:
        """The addresses of all brokers, as they name themselves.

        Raises:
            KafkaAccessError: no broker can be reached, or it refuses.
        """
        with self.named_errors("list the brokers"):
            answer = self.client.describe_cluster(request_timeout=self.timeout_seconds)
        return sorted(f"{node.host}:{node.port}" for node in self.result(answer, "list the brokers").nodes)

    def topics(self, names: Sequence[str]) -> dict[str, TopicDescription]:
        """The broker's description of these topics, without those that do not exist.

        Raises:
            KafkaAccessError: the broker cannot be reached, or refuses.
        """
        found, denied = self.look_at_topics(names)
        for error in denied.values():
            raise error
        return found

    def look_at_topics(self, names: Sequence[str]) -> tuple[dict[str, TopicDescription], dict[str, KafkaAccessError]]:
        """As ``topics``, with the operations that we may do; and the topics that we may not describe.

        Raises:
            KafkaAccessError: the broker cannot be reached.
        """
        with self.named_errors("look at the topics"):
            answers = self.client.describe_topics(
                TopicCollection(list(names)),
                include_authorized_operations=True,
                request_timeout=self.timeout_seconds,
            )
        found, denied = {}, {}
        for name, answer in answers.items():
            try:
                found[name] = self.result(answer, "look at topic", name)
            except KafkaAccessError as error:
                if error.code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    denied[name] = error
                elif error.code != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        return found, denied

    def begins(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that is still there, of each partition.

        Raises:
            KafkaAccessError: no answer for one of them.
        """
        with self._asking_for_offsets(tps) as offsets:
            return offsets.begins(tps)

    def ends(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset that the next record will have, of each partition.

        Raises:
            KafkaAccessError: no answer for one of them.
        """
        with self._asking_for_offsets(tps) as offsets:
            return offsets.ends(tps)

    @contextmanager
    def _asking_for_offsets(self, tps: Collection[TopicPartition]) -> Iterator[PartitionOffsets]:
        with self.named_errors("ask for the offsets of topic", ", ".join(sorted({topic for topic, _ in tps}))):
            if self._offsets is None:
                self._offsets = PartitionOffsets(
                    self._settings, pipeline_of(self._settings).group, self.timeout_seconds, self._complaints.append
                )
            yield self._offsets

    def _message(self, error: KafkaError, action: str, on: str) -> str:
        where = f"Kafka at {self._addresses}"
        what = f"{action} {on}".strip()
        if error.code() in _AUTHORIZATION:
            who = f"the user {self._settings.sasl_username}" if self._settings.sasl_username else "this client"
            return f"{where} does not allow {who} to {what}: {error.str()}. Ask for the ACL, or another user."
        if error.code() in _UNREACHABLE:
            return self._unreachable(where, what, error)
        advice = _REFUSALS.get(error.code(), "")
        return f"{where} refused to {what}: {error.str()} ({error.name()}). {advice}".rstrip()

    def _unreachable(self, where: str, what: str, error: KafkaError) -> str:
        self.client.poll(0)  # delivers the complaints
        told = {complaint.code(): complaint for complaint in self._complaints}
        for code, advice in _ADVICE.items():
            if code in told:
                return f"{where}: could not {what}: {told[code].str()}. {advice}"
        detail = next((c.str() for c in self._complaints if c.code() == KafkaError._TRANSPORT), error.str())
        if "SSL alert" in detail:  # TLS 1.3: the broker refuses our certificate after the handshake
            return f"{where}: could not {what}: {detail}. {_ADVICE[KafkaError._SSL]}"
        return (
            f"{where} cannot be reached to {what} (waited {self.timeout_seconds:g} s): {detail}. Check "
            "KAFKA_BOOTSTRAP_SERVERS, that the broker runs, firewalls, and that KAFKA_SECURITY_PROTOCOL "
            f"({self._settings.security_protocol}) is what this port speaks."
        )


_REFUSALS = {
    KafkaError.INVALID_REPLICATION_FACTOR: "Set KAFKA_REPLICATION to no more than there are brokers.",
    KafkaError.INVALID_CONFIG: "Does this broker know that setting? Apache Kafka 3.6 and later do.",
    KafkaError.POLICY_VIOLATION: "Create the topic by hand as its owner allows, then run profile-sync topics check.",
}
# By code of a connection's complaint, the most telling first.
_ADVICE = {
    KafkaError._AUTHENTICATION: "Check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM.",
    KafkaError.SASL_AUTHENTICATION_FAILED: "Check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM.",
    KafkaError._SSL: (
        "Check KAFKA_SSL_CAFILE (who signed the broker's certificate), that the broker's certificate names the host "
        "of KAFKA_BOOTSTRAP_SERVERS, and KAFKA_SSL_CERTFILE where the broker asks for one."
    ),
    KafkaError._RESOLVE: "The host name does not resolve: check KAFKA_BOOTSTRAP_SERVERS and the DNS.",
}
