"""The text that a local broker is configured with."""

from __future__ import annotations

from pathlib import Path

from app.broker.broker_config import Ports, SecureListener, as_properties_file, single_node
from app.broker.container_broker import environment

DATA = Path("/data")


def test_every_listener_is_bound_to_loopback() -> None:
    secure = SecureListener("LOGIN", "SASL_SSL", Path("key.pem"), users={"sync": "secret"})

    properties = single_node(DATA, Ports(1, 2, (3,)), [secure])

    assert properties["listeners"].split(",") == [
        "PLAINTEXT://127.0.0.1:1",
        "LOGIN://127.0.0.1:3",
        "CONTROLLER://127.0.0.1:2",
    ]
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1,LOGIN://localhost:3"
    assert properties["listener.security.protocol.map"] == "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL"


def test_groups_form_at_once_and_topics_only_on_purpose() -> None:
    properties = single_node(DATA, Ports(1, 2))

    assert properties["group.initial.rebalance.delay.ms"] == "0"
    assert properties["group.min.session.timeout.ms"] == "1000"
    assert properties["offsets.topic.replication.factor"] == "1"
    assert properties["auto.create.topics.enable"] == "false"


def test_extra_properties_win() -> None:
    assert single_node(DATA, Ports(1, 2), extra={"node.id": "7"})["node.id"] == "7"


def test_a_listener_that_wants_client_certificates_requires_them() -> None:
    properties = SecureListener("MUTUAL", "SSL", Path("key.pem"), truststore=Path("ca.pem")).properties()

    assert properties["listener.name.mutual.ssl.client.auth"] == "required"
    assert properties["listener.name.mutual.ssl.truststore.location"] == "ca.pem"


def test_printing_a_listener_shows_no_password() -> None:
    assert "secret" not in repr(SecureListener("LOGIN", "SASL_SSL", Path("key.pem"), users={"sync": "secret"}))


def test_a_backslash_survives_the_properties_file() -> None:
    assert as_properties_file({"path": "C:\\data"}) == "path=C:\\\\data\n"


def test_a_container_tells_clients_the_port_of_this_machine() -> None:
    variables = environment(19092, {"log.retention.ms": "5"})

    assert variables["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:19092"
    assert variables["KAFKA_LOG_RETENTION_MS"] == "5"
    assert variables["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
