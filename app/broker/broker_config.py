"""The configuration of a one-node Apache Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class SecureListener:
    """An additional listener of the broker, with TLS. Clients reach it as ``localhost``.

    ``keystore``: PEM file with the broker's private key (PKCS #8) and its certificate chain. ``truststore``: PEM file
    with the authority of the client certificates; with it, clients must present a certificate. ``users``: name ->
    password, for SASL_SSL; each user can log in with PLAIN and with SCRAM-SHA-512.
    """

    name: str
    protocol: Literal["SSL", "SASL_SSL"]
    keystore: Path
    truststore: Path | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)

    def properties(self) -> dict[str, str]:
        """Server properties of this listener (Apache Kafka documentation, "Security")."""
        prefix = f"listener.name.{self.name.lower()}"
        properties = {f"{prefix}.ssl.keystore.type": "PEM", f"{prefix}.ssl.keystore.location": str(self.keystore)}
        if self.truststore is not None:
            properties[f"{prefix}.ssl.truststore.type"] = "PEM"
            properties[f"{prefix}.ssl.truststore.location"] = str(self.truststore)
            properties[f"{prefix}.ssl.client.auth"] = "required"
        if self.protocol == "SASL_SSL":
            users = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
            jaas = "org.apache.kafka.common.security"
            properties[f"{prefix}.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-512"
            properties[f"{prefix}.plain.sasl.jaas.config"] = f"{jaas}.plain.PlainLoginModule required {users};"
            properties[f"{prefix}.scram-sha-512.sasl.jaas.config"] = f"{jaas}.scram.ScramLoginModule required;"
        return properties

    def scram_credentials(self) -> list[str]:
        """The arguments of ``kafka-storage format --add-scram``, one per user."""
        if self.protocol != "SASL_SSL":
            return []
        return [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in self.users.items()]


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one start: for clients, for the controller, and for the secure listeners in their order."""

    client: int
    controller: int
    secure: tuple[int, ...] = ()


# There is one node, so everything has one replica. Internal topics are small and waits are short, so that a group forms
# at once. Topics are never created automatically, because a misspelt name would create one.
SMALL_AND_QUICK: dict[str, str] = {
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "message.max.bytes": str(16 * 1024 * 1024),
    "log.cleaner.backoff.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
    # A killed broker can register again only after its previous session has ended (default 9 s).
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def single_node(
    data: Path, ports: Ports, secure: Sequence[SecureListener] = (), extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The server properties of broker and controller in one process, reachable from this machine only.

    ``extra``: properties that override all others.
    """
    inside = [("PLAINTEXT", "127.0.0.1", ports.client)]
    inside += [(listener.name, "localhost", port) for listener, port in zip(secure, ports.secure, strict=True)]
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"} | {one.name: one.protocol for one in secure}
    properties = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@127.0.0.1:{ports.controller}",
        "listeners": ",".join(
            [f"{name}://127.0.0.1:{port}" for name, _, port in inside] + [f"CONTROLLER://127.0.0.1:{ports.controller}"]
        ),
        "advertised.listeners": ",".join(f"{name}://{host}:{port}" for name, host, port in inside),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data / "logs"),
        **SMALL_AND_QUICK,
    }
    for listener in secure:
        properties |= listener.properties()
    return properties | dict(extra or {})


def as_properties_file(properties: Mapping[str, str]) -> str:
    """The text of a Java properties file."""
    return "".join(f"{name}={value.replace(chr(92), chr(92) * 2)}\n" for name, value in properties.items())
