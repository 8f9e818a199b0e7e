"""The configuration of each Kafka client (confluent-kafka, aiokafka, Faust) from the same settings.

TLS always verifies the broker's certificate and host name. The results hold the password; their ``repr`` masks it.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.kafka.limits import STATE_RECORD_BYTES, copy_bytes
from app.settings import ConfigurationError, KafkaSettings, parse_servers

if TYPE_CHECKING:
    from faust.auth import Credentials

_SECRET_NAMES = frozenset({"sasl.password", "sasl_plain_password"})

# librdkafka's default of batch.size. A batch must also fit into the main topic.
_LIBRDKAFKA_BATCH_BYTES = 1_000_000
# Far above aiokafka's default of 16 KiB. Senders that find the batch of a partition full wake each other up again and
# again: with 16 KiB, 5,000 concurrent sends of 300 bytes took 2.8 s.
_AIOKAFKA_BATCH_BYTES = 524_288


class ClientConfig(dict[str, Any]):
    """The configuration of a Kafka client. Printing it masks the password."""

    def __repr__(self) -> str:
        return repr({name: "***" if name in _SECRET_NAMES else value for name, value in self.items()})


@dataclass(frozen=True, slots=True)
class FaustConnection:
    """Arguments of ``faust.App``: ``broker=``, ``broker_credentials=``, ``producer_max_request_size=``."""

    broker: str
    credentials: Credentials | None = field(repr=False)
    producer_max_request_size: int


def bootstrap_servers(settings: KafkaSettings) -> tuple[str, ...]:
    """The brokers to ask first, each as ``host:port``, with ``[...]`` around an IPv6 address.

    Raises:
        ConfigurationError: an entry of the list is not host:port.
    """
    servers, problems = parse_servers(settings.bootstrap_servers)
    if problems:
        raise ConfigurationError(problems)
    return servers


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """TLS for aiokafka and Faust, with our certificate if one is set; None: no TLS.

    The authorities come from ``KAFKA_SSL_CAFILE`` or, without it, from the system. All files are PEM.

    Raises:
        ConfigurationError: a file does not hold what it should.
    """
    if not settings.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError([f"KAFKA_SSL_CAFILE: no PEM certificates in {settings.ssl_cafile}: {error}"]) from None
    if settings.ssl_certfile is not None:
        try:
            # With an empty password, an encrypted key is an error and not a question on the terminal.
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password="")
        except (ssl.SSLError, OSError) as error:
            raise ConfigurationError(
                [
                    f"KAFKA_SSL_CERTFILE, KAFKA_SSL_KEYFILE: {settings.ssl_certfile} and {settings.ssl_keyfile} are "
                    f"not a PEM certificate and its PEM key without a passphrase: {error}"
                ]
            ) from None
    return context


def librdkafka_config(settings: KafkaSettings) -> ClientConfig:
    """The connection settings of any confluent-kafka client (names: librdkafka, CONFIGURATION.md).

    Raises:
        ConfigurationError: as ``bootstrap_servers`` and ``ssl_context``.
    """
    config = ClientConfig(
        {
            "bootstrap.servers": ",".join(bootstrap_servers(settings)),
            "security.protocol": settings.security_protocol,
            "client.id": "profile-sync",
            "socket.timeout.ms": int(settings.request_seconds * 1000),
            # By default it dials the old address of a broker that has moved for 30 s before it resolves the name again.
            "socket.connection.setup.timeout.ms": int(settings.request_seconds * 1000),
        }
    )
    if ssl_context(settings) is not None:  # checks the files, since librdkafka's errors about them say less
        config["ssl.endpoint.identification.algorithm"] = "https"
        if settings.ssl_cafile is not None:
            config["ssl.ca.location"] = str(settings.ssl_cafile)
        if settings.ssl_certfile is not None:
            config["ssl.certificate.location"] = str(settings.ssl_certfile)
            config["ssl.key.location"] = str(settings.ssl_keyfile)
    if settings.security_protocol.startswith("SASL") and settings.sasl_password is not None:
        config["sasl.mechanism"] = settings.sasl_mechanism
        config["sasl.username"] = settings.sasl_username
        config["sasl.password"] = settings.sasl_password.get_secret_value()
    return config


def admin_config(settings: KafkaSettings) -> ClientConfig:
    """For ``confluent_kafka.admin.AdminClient``."""
    return librdkafka_config(settings)


def producer_config(settings: KafkaSettings) -> ClientConfig:
    """For ``confluent_kafka.Producer``: idempotent, and with the partitioner of Java and Faust.

    Two programs that write the same key with different partitioners would break the key's order. librdkafka's default
    (CRC32) differs from the one of Java and aiokafka (murmur2).
    """
    return ClientConfig(
        librdkafka_config(settings)
        | {
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "message.max.bytes": copy_bytes(settings),
            "batch.size": min(_LIBRDKAFKA_BATCH_BYTES, settings.max_message_bytes),
        }
    )


def consumer_config(settings: KafkaSettings, group: str) -> ClientConfig:
    """For ``confluent_kafka.Consumer``: starts at the beginning if ``group`` has no offset, and commits nothing itself.

    It reports the end of a partition (``KafkaError._PARTITION_EOF``), for readers that stop there.
    """
    return ClientConfig(
        librdkafka_config(settings)
        | {
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )


def aiokafka_config(settings: KafkaSettings) -> ClientConfig:
    """Connection keyword arguments for ``AIOKafkaConsumer``, ``AIOKafkaProducer`` and its admin client.

    Raises:
        ConfigurationError: as ``bootstrap_servers`` and ``ssl_context``.
    """
    config = ClientConfig(
        {
            "bootstrap_servers": list(bootstrap_servers(settings)),
            "security_protocol": settings.security_protocol,
            "ssl_context": ssl_context(settings),
            "client_id": "profile-sync",
        }
    )
    if settings.security_protocol.startswith("SASL") and settings.sasl_password is not None:
        config["sasl_mechanism"] = settings.sasl_mechanism
        config["sasl_plain_username"] = settings.sasl_username
        config["sasl_plain_password"] = settings.sasl_password.get_secret_value()
    return config


def aiokafka_producer_config(settings: KafkaSettings) -> ClientConfig:
    """Keyword arguments for ``AIOKafkaProducer``: acknowledged by all replicas, and idempotent."""
    return ClientConfig(
        aiokafka_config(settings)
        | {
            "acks": "all",
            "enable_idempotence": True,
            "request_timeout_ms": int(settings.request_seconds * 1000),
            "max_request_size": max(copy_bytes(settings), STATE_RECORD_BYTES),
            "max_batch_size": min(_AIOKAFKA_BATCH_BYTES, settings.max_message_bytes),
        }
    )


def faust_connection(settings: KafkaSettings) -> FaustConnection:
    """For ``faust.App``. Faust's driver turns the credentials into aiokafka's arguments.

    The producer's limit is the size of the largest record that it writes, the partition record. The broker refuses what
    is too large for a retry or dead-letter topic.

    Raises:
        ConfigurationError: as ``bootstrap_servers`` and ``ssl_context``.
    """
    context = ssl_context(settings)
    # Imported here, because the import takes longer than most commands.
    from faust.auth import SASLCredentials, SSLCredentials

    credentials: Credentials | None = None
    if settings.security_protocol.startswith("SASL") and settings.sasl_password is not None:
        # Faust uses SASL_SSL if there is a TLS context, else SASL_PLAINTEXT.
        credentials = SASLCredentials(
            mechanism=settings.sasl_mechanism,
            username=settings.sasl_username,
            password=settings.sasl_password.get_secret_value(),
            ssl_context=context,
        )
    elif context is not None:
        credentials = SSLCredentials(context)
    return FaustConnection(
        broker=";".join(f"kafka://{server}" for server in bootstrap_servers(settings)),
        credentials=credentials,
        producer_max_request_size=max(copy_bytes(settings), STATE_RECORD_BYTES),
    )
