"""How to reach Kafka, and what the pipeline's topic and group are called (``KAFKA_*``)."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from app.settings.group import SettingsGroup
from app.settings.values import DAY_SECONDS, LARGEST_MESSAGE_BYTES, existing, refuse

# Room for our headers on retry and dead-letter records, in addition to the largest record of the main topic.
HEADER_ROOM_BYTES = 64 * 1024
DEFAULT_KAFKA_PORT = 9092


def parse_servers(text: str) -> tuple[tuple[str, ...], list[str]]:
    """Brokers as ``host:port``, with ``[...]`` around an IPv6 address, and the problems of the other entries.

    An entry is quoted only if it looks like a plain address: people put passwords there.
    """
    servers, problems = [], []
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        try:
            parts = urlsplit(f"//{entry}")
            host, port = parts.hostname, parts.port or DEFAULT_KAFKA_PORT
        except ValueError:
            host, port = None, 0
        if host is None or re.search(r"[/@; ]", entry):
            shown = repr(entry) if re.fullmatch(r"[A-Za-z0-9._:\[\]-]{1,253}", entry) else f"entry {number}"
            problems.append(f"KAFKA_BOOTSTRAP_SERVERS: {shown} is not host:port (several: host1:9092,host2:9092)")
        else:
            servers.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    if not servers and not problems:
        problems.append("KAFKA_BOOTSTRAP_SERVERS: names no broker; expected host1:9092,host2:9092")
    return tuple(servers), problems


def _keyword(text: str) -> str:
    return text.lower() if text.lower() in ("earliest", "latest") else text


class KafkaSettings(SettingsGroup):
    """How to reach Kafka, and what the pipeline's topic and group are called (``KAFKA_*``)."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    bootstrap_servers: str
    """Brokers, `host:port` separated by commas."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """The protocol of the brokers."""

    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """Required with SASL."""

    sasl_username: str | None = None
    """Required with SASL."""

    sasl_password: SecretStr | None = None
    """Required with SASL."""

    ssl_cafile: Path | None = None
    """PEM file of the authorities to trust; default: those of the system."""

    ssl_certfile: Path | None = None
    """PEM client certificate, for mutual TLS."""

    ssl_keyfile: Path | None = None
    """PEM key of that certificate."""

    topic: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = None
    """Main topic; it belongs to its producers."""

    group: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = None
    """Consumer group; the pipeline's own topics are named after it: `.retry`, `.dlq`, `.alerts`, `.status`,
    `.tasks` and the three state topics, so that two groups share nothing in Kafka but the main topic.
    """

    partitions: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Partitions of the main topic, and of every topic of our own but `.status` and `.tasks`, which have one."""

    replication: Annotated[int, Field(ge=1, le=100)] = 1
    """Replicas of the topics that `topics create` creates; use 3 in production."""

    session_timeout_seconds: Annotated[float, Field(ge=1.0, le=DAY_SECONDS, allow_inf_nan=False)] = 45.0
    """After this time a silent worker loses its partitions. At least 2 s more than `CMT_TIMEOUT_SECONDS`."""

    instance_id: str | None = None
    """Static membership: a name for each worker that stays the same across its restarts, see [Stopping and
    restarting](operations.md#stopping-and-restarting).
    """

    start: Annotated[str, AfterValidator(_keyword)] = "earliest"
    """Where a group without offsets starts: `earliest`, `latest` or an RFC 3339 time from 1970 on."""

    max_message_bytes: Annotated[int, Field(ge=1024, le=LARGEST_MESSAGE_BYTES)] = 1024 * 1024
    """Largest record of the main topic."""

    @property
    def request_seconds(self) -> float:
        """How long to wait for a broker: within a session, its silence must be noticed and another broker found."""
        return min(max(self.session_timeout_seconds / 2, 2.0), 20.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems: list[str] = parse_servers(self.bootstrap_servers)[1]
        if self.security_protocol.startswith("SASL"):
            missing = [
                f"KAFKA_{name.upper()}"
                for name in ("sasl_mechanism", "sasl_username", "sasl_password")
                if getattr(self, name) is None
            ]
            if missing:
                problems.append(f"KAFKA_SECURITY_PROTOCOL={self.security_protocol} needs {', '.join(missing)}")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            problems.append("KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE go together")
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            problems += existing(getattr(self, name), f"KAFKA_{name.upper()}")
        if self.start not in ("earliest", "latest"):
            try:
                moment = datetime.fromisoformat(self.start)
            except ValueError:
                moment = None
            if moment is None or moment.tzinfo is None:
                problems.append("KAFKA_START must be earliest, latest or an RFC 3339 time such as 2026-01-31T00:00:00Z")
            elif moment.timestamp() < 0:
                problems.append("KAFKA_START must not be before 1970; earliest begins with the first record")
        refuse(problems)
        return self
