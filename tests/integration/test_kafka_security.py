"""TLS and logins on a real broker, for each of the three clients that this program uses."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import Consumer, KafkaError, Producer
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from app.broker.broker_config import SecureListener
from app.broker.local_broker import LocalBroker
from app.kafka import topics
from app.kafka.admin import KafkaAccessError
from app.kafka.clients import aiokafka_config, aiokafka_producer_config, consumer_config, producer_config
from app.kafka.topic_specs import topic_specs
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.brokers import own_broker

USER, GUEST, PASSWORD = "sync", "guest", "correct-horse-battery"
# A user who is not named here, the guest, may log in but do nothing.
RIGHTS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": f"User:ANONYMOUS;User:{USER};User:machine",
    # The principal of a client certificate is its common name.
    "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
}
FAUST_APP = Path(__file__).with_name("secure_faust_app.py")


@dataclass(frozen=True)
class SecureBroker:
    """A broker with the listeners LOGIN (SASL over TLS), MUTUAL (client certificates), ELSEWHERE (wrong host name)."""

    broker: LocalBroker
    folder: Path

    def settings(self, listener: str, **values: object) -> KafkaSettings:
        given: dict[str, object] = {
            "bootstrap_servers": self.broker.secure_bootstrap_servers(listener),
            "ssl_cafile": self.folder / "ca.pem",
            "topic": "secure",
            "group": f"secure-{listener.lower()}",
            "partitions": 1,
        }
        return KafkaSettings.model_validate(given | values)

    def sasl(self, mechanism: str, **values: object) -> KafkaSettings:
        login = {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": mechanism,
            "sasl_username": USER,
            "sasl_password": PASSWORD,
            "group": f"secure-{mechanism.lower()}",
        }
        return self.settings("LOGIN", **(login | values))

    def mutual(self, **values: object) -> KafkaSettings:
        files = {"ssl_certfile": self.folder / "client.pem", "ssl_keyfile": self.folder / "client.key"}
        return self.settings("MUTUAL", **({"security_protocol": "SSL"} | files | values))


def _keystore(leaf: trustme.LeafCert, path: Path) -> Path:
    # Kafka reads keys as PKCS #8 only.
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other-ca.pem"))
    client = authority.issue_cert("client@example.com", common_name="machine")
    client.private_key_pem.write_to_path(str(folder / "client.key"))
    client.cert_chain_pems[0].write_to_path(str(folder / "client.pem"))
    good = _keystore(authority.issue_cert("localhost"), folder / "broker.pem")
    elsewhere = _keystore(authority.issue_cert("kafka.example.com"), folder / "elsewhere.pem")
    listeners = [
        SecureListener("LOGIN", "SASL_SSL", good, users={USER: PASSWORD, GUEST: PASSWORD}),
        SecureListener("MUTUAL", "SSL", good, truststore=folder / "ca.pem"),
        SecureListener("ELSEWHERE", "SSL", elsewhere),
    ]
    with own_broker(LocalBroker(secure=listeners, extra_config=RIGHTS)) as broker:
        yield SecureBroker(broker, folder)


@pytest.fixture(scope="module", params=["PLAIN", "SCRAM-SHA-512", "mutual TLS"])
def settings(secure: SecureBroker, request: pytest.FixtureRequest) -> KafkaSettings:
    """Settings for a working listener, with topics created through it."""
    made = secure.mutual() if request.param == "mutual TLS" else secure.sasl(request.param)
    assert topics.create(made, pipeline_of(made)).problems == ()
    return made


def test_confluent_kafka_writes_and_reads(settings: KafkaSettings) -> None:
    pipeline = pipeline_of(settings)
    failures: list[object] = []
    producer = Producer(dict(producer_config(settings)))
    producer.produce(
        pipeline.topic, key=b"k", value=b"by confluent", on_delivery=lambda error, _: failures.append(error)
    )
    assert producer.flush(20) == 0
    assert failures == [None]

    consumer = Consumer(dict(consumer_config(settings, "confluent-" + pipeline.group)))
    consumer.subscribe([pipeline.topic])
    values, at_end = set(), False
    try:
        while not at_end:
            message = consumer.poll(20)
            assert message is not None, "nothing within 20 s"
            if message.error() is None:
                values.add(message.value())
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF
                at_end = True
    finally:
        consumer.close()
    assert b"by confluent" in values


async def test_aiokafka_writes_and_reads(settings: KafkaSettings) -> None:
    pipeline = pipeline_of(settings)
    async with AIOKafkaProducer(**aiokafka_producer_config(settings)) as producer:
        sent = await producer.send_and_wait(pipeline.topic, key=b"k", value=b"by aiokafka")

    async with AIOKafkaConsumer(pipeline.topic, auto_offset_reset="earliest", **aiokafka_config(settings)) as consumer:
        async with asyncio.timeout(20):
            async for record in consumer:
                if record.offset == sent.offset:
                    assert record.value == b"by aiokafka"
                    break


def test_faust_writes_and_reads(settings: KafkaSettings) -> None:
    done = subprocess.run(
        [sys.executable, str(FAUST_APP), pipeline_of(settings).topic],
        env={name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}
        | _environment(settings),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert "sent by Faust" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr


def _environment(settings: KafkaSettings) -> dict[str, str]:
    values = settings.model_dump(exclude_none=True, exclude={"sasl_password"})
    named = {f"KAFKA_{name.upper()}": str(value) for name, value in values.items()}
    if settings.sasl_password is not None:
        named["KAFKA_SASL_PASSWORD"] = settings.sasl_password.get_secret_value()
    return named


def test_a_wrong_password_is_said_to_be_one_and_not_shown(secure: SecureBroker) -> None:
    settings = secure.sasl("SCRAM-SHA-512", sasl_password="open-sesame")
    with pytest.raises(KafkaAccessError) as refused:
        topics.check(settings, pipeline_of(settings), timeout_seconds=4)

    assert "KAFKA_SASL_PASSWORD" in str(refused.value)
    assert "open-sesame" not in str(refused.value)


def test_a_broker_signed_by_a_stranger_is_refused(secure: SecureBroker) -> None:
    settings = secure.sasl("PLAIN", ssl_cafile=secure.folder / "other-ca.pem")

    with pytest.raises(KafkaAccessError, match="KAFKA_SSL_CAFILE"):
        topics.check(settings, pipeline_of(settings), timeout_seconds=4)


def test_a_missing_client_certificate_is_refused(secure: SecureBroker) -> None:
    settings = secure.mutual(ssl_certfile=None, ssl_keyfile=None)

    with pytest.raises(KafkaAccessError, match="KAFKA_SSL_CERTFILE"):
        topics.check(settings, pipeline_of(settings), timeout_seconds=4)


async def test_a_certificate_for_another_host_is_refused_by_both_libraries(secure: SecureBroker) -> None:
    settings = secure.settings("ELSEWHERE", security_protocol="SSL")

    with pytest.raises(KafkaAccessError, match="names the host"):
        await asyncio.to_thread(topics.check, settings, pipeline_of(settings), timeout_seconds=4)

    producer = AIOKafkaProducer(**aiokafka_producer_config(settings))
    with pytest.raises(KafkaConnectionError):
        await producer.start()
    await producer.stop()


def test_plain_text_to_a_tls_port_says_what_to_check(secure: SecureBroker) -> None:
    settings = KafkaSettings(bootstrap_servers=secure.broker.secure_bootstrap_servers("LOGIN"))

    with pytest.raises(KafkaAccessError, match="KAFKA_SECURITY_PROTOCOL"):
        topics.check(settings, pipeline_of(settings), timeout_seconds=4)


def test_a_user_without_permission_is_told_so(secure: SecureBroker) -> None:
    guest = secure.sasl("PLAIN", sasl_username=GUEST)
    pipeline = pipeline_of(guest)

    with pytest.raises(KafkaAccessError) as refused:
        topics.create(guest, pipeline)
    assert f"does not allow the user {GUEST}" in str(refused.value)
    assert "ACL" in str(refused.value)

    problems = topics.check(guest, pipeline)
    named = {spec.name for spec in topic_specs(guest, pipeline)}
    assert {problem.topic for problem in problems} == named | {pipeline.group, "cluster"}
    assert all(f"--allow-principal User:{GUEST} " in problem.remedy for problem in problems)
