"""What each client is told for each kind of connection."""

from __future__ import annotations

import pytest
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth, server_list
from faust.types.auth import AuthProtocol
from faust.utils.urls import urllist
from pydantic import ValidationError

from app.kafka import clients
from app.kafka.limits import copy_bytes
from app.settings import KafkaSettings

PASSWORD = "open-sesame"


def _settings(**values: object) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": "one:9092,two:9093", **values})


def _login(protocol: str = "SASL_SSL", mechanism: str = "SCRAM-SHA-512") -> KafkaSettings:
    return _settings(security_protocol=protocol, sasl_mechanism=mechanism, sasl_username="sync", sasl_password=PASSWORD)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("one:9092", ("one:9092",)),
        (" one:9092 , two:9093,", ("one:9092", "two:9093")),
        ("one", ("one:9092",)),
        ("[::1]:9094", ("[::1]:9094",)),
        ("10.0.0.7:1", ("10.0.0.7:1",)),
    ],
)
def test_brokers_are_read_from_the_list(given: str, expected: tuple[str, ...]) -> None:
    assert clients.bootstrap_servers(_settings(bootstrap_servers=given)) == expected


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("one:port", "'one:port'"),
        ("one:99999", "'one:99999'"),
        ("::1:9092", "'::1:9092'"),
        # What may hold a password is not repeated.
        ("kafka://one:9092", "entry 2"),
        (f"sync:{PASSWORD}@one:1", "entry 2"),
        (f"sasl://sync:{PASSWORD}@one:1", "entry 2"),
        (f"one:1;password={PASSWORD}", "entry 2"),
        (f"one:1 {PASSWORD}", "entry 2"),
        (f"one:1/{PASSWORD}", "entry 2"),
    ],
)
def test_what_is_not_host_and_port_is_named_unless_it_may_be_a_password(given: str, named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        _settings(bootstrap_servers=f"good:1,{given}")
    [problem] = refused.value.errors(include_input=False)
    said = f"KAFKA_BOOTSTRAP_SERVERS: {named} is not host:port (several: host1:9092,host2:9092)"
    assert problem["msg"] == f"Value error, {said}"


def test_an_empty_list_of_brokers_is_a_problem() -> None:
    with pytest.raises(ValidationError, match="names no broker"):
        _settings(bootstrap_servers=" , ")


@pytest.mark.parametrize(("session", "seconds"), [(1.0, 2.0), (6.0, 3.0), (45.0, 20.0), (300.0, 20.0)])
def test_a_broker_that_does_not_answer_is_given_up_within_the_session(session: float, seconds: float) -> None:
    settings = _settings(session_timeout_seconds=session)

    assert settings.request_seconds == seconds
    config = clients.librdkafka_config(settings)
    # An answer, and a connection.
    assert config["socket.timeout.ms"] == config["socket.connection.setup.timeout.ms"] == seconds * 1000
    assert clients.aiokafka_producer_config(settings)["request_timeout_ms"] == seconds * 1000


def test_plain_text_needs_nothing_but_the_brokers() -> None:
    settings = _settings()

    assert clients.librdkafka_config(settings) == {
        "bootstrap.servers": "one:9092,two:9093",
        "security.protocol": "PLAINTEXT",
        "client.id": "profile-sync",
        "socket.timeout.ms": 20_000,
        "socket.connection.setup.timeout.ms": 20_000,
    }
    assert clients.aiokafka_config(settings)["ssl_context"] is None
    assert clients.faust_connection(settings).credentials is None


def test_faust_reads_the_same_brokers_from_the_address_it_gets() -> None:
    connection = clients.faust_connection(_settings(bootstrap_servers="one:9092,[::1]:9093,three"))

    assert server_list(urllist(connection.broker), 1) == ["one:9092", "[::1]:9093", "three:9092"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_a_login_means_the_same_to_all_three_clients(protocol: str, mechanism: str) -> None:
    settings = _login(protocol, mechanism)

    config = clients.librdkafka_config(settings)
    assert config["security.protocol"] == protocol
    assert (config["sasl.mechanism"], config["sasl.username"], config["sasl.password"]) == (mechanism, "sync", PASSWORD)

    ours = clients.aiokafka_config(settings)
    fausts = credentials_to_aiokafka_auth(clients.faust_connection(settings).credentials)
    for name in ("security_protocol", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password"):
        assert fausts[name] == ours[name]
    assert (fausts["ssl_context"] is None) == (ours["ssl_context"] is None) == (protocol == "SASL_PLAINTEXT")


def test_tls_without_login_reaches_faust_as_tls() -> None:
    credentials = clients.faust_connection(_settings(security_protocol="SSL")).credentials

    assert isinstance(credentials, SSLCredentials)
    assert credentials.protocol is AuthProtocol.SSL


@pytest.mark.parametrize("settings", [_settings(security_protocol="SSL"), _login()])
def test_tls_always_verifies_certificate_and_host_name(settings: KafkaSettings) -> None:
    assert clients.librdkafka_config(settings)["ssl.endpoint.identification.algorithm"] == "https"
    credentials = clients.faust_connection(settings).credentials
    assert isinstance(credentials, SASLCredentials | SSLCredentials)
    fausts = credentials.context if isinstance(credentials, SSLCredentials) else credentials.ssl_context
    for context in (clients.aiokafka_config(settings)["ssl_context"], fausts):
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize(
    "made",
    [
        clients.librdkafka_config(_login()),
        clients.admin_config(_login()),
        clients.producer_config(_login()),
        clients.consumer_config(_login(), "group"),
        clients.aiokafka_config(_login()),
        clients.aiokafka_producer_config(_login()),
        clients.faust_connection(_login()),
        clients.faust_connection(_login()).credentials,
        _login(),
    ],
    ids=lambda made: type(made).__name__,
)
def test_printing_shows_no_password(made: object) -> None:
    assert PASSWORD not in repr(made)
    assert PASSWORD not in str(made)
    assert PASSWORD not in f"{made}"


def test_a_batch_never_exceeds_a_small_main_topic_while_a_copy_still_fits() -> None:
    settings = _settings(max_message_bytes=5000)

    config = clients.producer_config(settings)
    assert config["batch.size"] == 5000
    assert config["message.max.bytes"] == copy_bytes(settings)
    assert clients.aiokafka_producer_config(settings)["max_batch_size"] == 5000
    assert clients.aiokafka_producer_config(settings)["max_request_size"] >= copy_bytes(settings)


def test_keys_are_spread_as_java_and_faust_do() -> None:
    assert clients.producer_config(_settings())["partitioner"] == "murmur2_random"


def test_reading_commits_nothing_by_itself() -> None:
    config = clients.consumer_config(_settings(), "readers")

    assert config["group.id"] == "readers"
    assert config["enable.auto.commit"] is False


def test_a_login_without_a_password_does_not_get_this_far() -> None:
    with pytest.raises(ValidationError, match="KAFKA_SASL_PASSWORD"):
        _settings(security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="sync")
