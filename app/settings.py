"""All configuration, read once from the environment.

One class per target, so that a command asks only for what it uses; ``load`` gathers the problems of all of them and
reports each in one line. Names and defaults are part of the public surface.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# A call must end, and its worker notice that it lost the partition, before another worker may start: the session
# has to outlive the longest call by this much.
SESSION_MARGIN_SECONDS = 2.0

# Room for our headers on retry and dead-letter records, on top of the largest record the main topic takes.
HEADER_ROOM_BYTES = 64 * 1024


class ConfigurationError(Exception):
    """The environment does not hold a usable configuration; ``problems`` has one clear line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address can only be this machine."""
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _safe_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http(s) address such as https://host/path")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("plain http:// is only allowed on loopback; use https://")
    return url.rstrip("/")


def _time_zone(text: str) -> str:
    if not re.fullmatch(r"UTC(?:[+-](?:0?[0-9]|1[0-4])(?::[0-5][0-9])?)?", text):
        raise ValueError("must be a distance from UTC such as UTC-6, UTC+5:30 or UTC")
    return text


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,79}")

Url = Annotated[str, AfterValidator(_safe_url)]
OptionalUrl = Annotated[Url | None, BeforeValidator(_empty_is_none)]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_empty_is_none)]
OptionalFile = Annotated[Path | None, BeforeValidator(_empty_is_none)]


def _texts_by_name(value: Any) -> Any:
    """Field names and values of ServiceNow, all as text; numbers and true/false are written as JSON does."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict) or not all(isinstance(one, str | int | float) for one in value.values()):
        raise ValueError('must be a JSON object of texts and numbers such as {"caller_id": "Sync"}')
    if wrong := [name for name in value if not _FIELD_NAME.fullmatch(name)]:
        raise ValueError(f"these are not names of fields: {', '.join(sorted(wrong)[:5])}")
    return {name: one if isinstance(one, str) else json.dumps(one) for name, one in value.items()}


def _existing(path: Path | None, name: str) -> None:
    if path is not None and not path.is_file():
        raise ValueError(f"{name}: no such file: {path}")


def _long_enough(secret: SecretStr) -> None:
    if len(secret.get_secret_value().encode()) < 32:
        raise ValueError("WEB_JWT_SECRET must have at least 32 bytes (RFC 7518, 3.2)")


class _Group(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)


class KafkaSettings(_Group):
    """How to reach Kafka and what the topics are called (``KAFKA_*``)."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", extra="ignore", frozen=True, env_ignore_empty=True)

    bootstrap_servers: str
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = "consumer-profiles"
    group: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = "profile-sync"
    partitions: PositiveInt = 8
    replication: PositiveInt = 1
    session_timeout_seconds: Annotated[float, Field(ge=1.0)] = 45.0
    instance_id: str | None = None
    start: str = "earliest"
    max_message_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024

    @property
    def request_seconds(self) -> float:
        """What a broker gets for an answer: its silence must be noticed, and another one found, within a session."""
        return min(max(self.session_timeout_seconds / 2, 2.0), 20.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.security_protocol.startswith("SASL"):
            missing = [
                f"KAFKA_{name.upper()}"
                for name in ("sasl_mechanism", "sasl_username", "sasl_password")
                if getattr(self, name) is None
            ]
            if missing:
                raise ValueError(f"KAFKA_SECURITY_PROTOCOL={self.security_protocol} needs {', '.join(missing)}")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE go together")
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            _existing(getattr(self, name), f"KAFKA_{name.upper()}")
        if self.start not in ("earliest", "latest"):
            try:
                moment = datetime.fromisoformat(self.start)
            except ValueError:
                moment = None
            if moment is None or moment.tzinfo is None:
                raise ValueError(
                    "KAFKA_START must be earliest, latest or an RFC 3339 time such as 2026-01-31T00:00:00Z"
                )
        return self

    @property
    def retry_topic(self) -> str:
        """Where events wait for their next attempt."""
        return f"{self.topic}.retry"

    @property
    def dlq_topic(self) -> str:
        """Dead letters."""
        return f"{self.topic}.dlq"

    @property
    def alerts_topic(self) -> str:
        """What must become an incident."""
        return f"{self.topic}.alerts"

    @property
    def status_topic(self) -> str:
        """What workers say of themselves, and what a restart must remember; one partition."""
        return f"{self.group}.status"

    @property
    def state_topic(self) -> str:
        """Changelog of the partition records (Faust names it after the group and the table)."""
        return f"{self.group}-partitions-changelog"

    @property
    def consumers_topic(self) -> str:
        """Changelog of the per-consumer records."""
        return f"{self.group}-consumers-changelog"


class CmtSettings(_Group):
    """How to reach Marketing Cloud (``CMT_*``)."""

    model_config = SettingsConfigDict(env_prefix="CMT_", extra="ignore", frozen=True, env_ignore_empty=True)

    auth_url: Url
    client_id: str
    client_secret: SecretStr
    account_id: OptionalText = None
    soap_url: OptionalUrl = None
    wsdl: OptionalFile = None
    timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC-6"
    ca_file: OptionalFile = None
    batch_size: Annotated[int, Field(ge=1, le=50)] = 1
    rate_per_second: Annotated[float, Field(gt=0)] | None = None
    yearly_calls: PositiveInt | None = None
    data_extensions: OptionalFile = None

    @model_validator(mode="after")
    def _files(self) -> Self:
        for name in ("wsdl", "ca_file", "data_extensions"):
            _existing(getattr(self, name), f"CMT_{name.upper()}")
        return self

    def for_account(self, account_id: str) -> Self:
        """The same for another account: a market of ``CMT_DATA_EXTENSIONS`` may name one."""
        return self.model_copy(update={"account_id": account_id})


class DataExtensionSettings(_Group):
    """``CMT_DATA_EXTENSIONS`` alone, for commands that check events and call nobody."""

    model_config = SettingsConfigDict(env_prefix="CMT_", extra="ignore", frozen=True, env_ignore_empty=True)

    data_extensions: OptionalFile = None

    @model_validator(mode="after")
    def _files(self) -> Self:
        _existing(self.data_extensions, "CMT_DATA_EXTENSIONS")
        return self


class SyncSettings(_Group):
    """How events are worked on (``SYNC_*``)."""

    model_config = SettingsConfigDict(env_prefix="SYNC_", extra="ignore", frozen=True, env_ignore_empty=True)

    strategy: Literal["replace", "reconcile"] = "replace"
    concurrency: PositiveInt = 64
    max_attempts: PositiveInt = 5
    backoff_base_seconds: Annotated[float, Field(ge=0)] = 10.0
    backoff_max_seconds: Annotated[float, Field(ge=0)] = 300.0
    child_failure: Literal["log", "dlq"] = "log"
    replace_parent: bool = False
    breaker_failures: Annotated[int, Field(ge=0)] = 20
    breaker_probe_seconds: Annotated[float, Field(gt=0)] = 5.0
    breaker_alert_seconds: Annotated[float, Field(ge=0)] = 60.0
    max_parked: PositiveInt = 10_000
    dry_run: bool = False


class ServiceNowSettings(_Group):
    """Where incidents go (``SERVICENOW_*``); without a URL they are logged only."""

    model_config = SettingsConfigDict(env_prefix="SERVICENOW_", extra="ignore", frozen=True, env_ignore_empty=True)

    url: OptionalUrl = None
    username: OptionalText = None
    password: OptionalSecret = None
    client_id: OptionalText = None
    client_secret: OptionalSecret = None
    note_every_seconds: Annotated[float, Field(ge=0)] = 300.0
    assignment_group: OptionalText = None
    fields: Annotated[dict[str, str] | None, NoDecode, BeforeValidator(_texts_by_name)] = None
    resolve_minutes: Annotated[float, Field(ge=0)] = 30.0

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("SERVICENOW_USERNAME and SERVICENOW_PASSWORD go together")
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("SERVICENOW_CLIENT_ID and SERVICENOW_CLIENT_SECRET go together")
        if self.url is not None and self.username is None and self.client_id is None:
            raise ValueError(
                "SERVICENOW_URL needs SERVICENOW_USERNAME and SERVICENOW_PASSWORD, or a client ID and secret"
            )
        return self


class WebSettings(_Group):
    """The pages and the API (``WEB_*``)."""

    model_config = SettingsConfigDict(env_prefix="WEB_", extra="ignore", frozen=True, env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 6066
    auth: Literal["jwt", "off"] = "jwt"
    jwt_secret: OptionalSecret = None
    jwks_url: OptionalUrl = None
    jwt_audience: str = "profile-sync"
    tls_cert: OptionalFile = None
    tls_key: OptionalFile = None
    public_url: OptionalUrl = None

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.auth == "off" and not is_loopback(self.host):
            raise ValueError("WEB_AUTH=off is refused unless WEB_HOST is loopback (127.0.0.1, ::1, localhost)")
        if self.auth == "jwt" and self.jwt_secret is None and self.jwks_url is None:
            raise ValueError("WEB_AUTH=jwt needs WEB_JWT_SECRET (HS256) or WEB_JWKS_URL (RS256, ES256)")
        if self.jwt_secret is not None:
            _long_enough(self.jwt_secret)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("WEB_TLS_CERT and WEB_TLS_KEY go together")
        for name in ("tls_cert", "tls_key"):
            _existing(getattr(self, name), f"WEB_{name.upper()}")
        return self


class TokenSettings(_Group):
    """What signing a web token takes: a part of ``WebSettings``, for the ``token`` command."""

    model_config = SettingsConfigDict(env_prefix="WEB_", extra="ignore", frozen=True, env_ignore_empty=True)

    jwt_secret: SecretStr
    jwt_audience: str = "profile-sync"

    @model_validator(mode="after")
    def _signed_well(self) -> Self:
        _long_enough(self.jwt_secret)
        return self


class GeneralSettings(_Group):
    """What belongs to no single target."""

    kpi_keep_days: PositiveInt = 400
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    log_hash_key: OptionalSecret = None
    data_dir: Path = Path("data")


_S = TypeVar("_S", bound=_Group)


def _problem_lines(group: type[_Group], error: ValidationError) -> list[str]:
    prefix = str(group.model_config.get("env_prefix") or "")
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = prefix + "_".join(str(part) for part in problem["loc"][:1]).upper()
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            message = "is required but not set"
        lines.append(f"{name}: {message}" if problem["loc"] else message)
    return lines


def load(group: type[_S]) -> _S:
    """Read one settings class from the environment.

    Raises:
        ConfigurationError: something is missing or wrong.
    """
    try:
        return group()
    except ValidationError as error:
        raise ConfigurationError(_problem_lines(group, error)) from None


class WorkerSettings:
    """Everything a worker needs, checked together at the start."""

    def __init__(self) -> None:
        problems: list[str] = []
        self.kafka = _collect(KafkaSettings, problems)
        self.cmt = _collect(CmtSettings, problems)
        self.sync = _collect(SyncSettings, problems)
        self.servicenow = _collect(ServiceNowSettings, problems)
        self.web = _collect(WebSettings, problems)
        self.general = _collect(GeneralSettings, problems)
        if not problems and self.kafka.session_timeout_seconds < self.cmt.timeout_seconds + SESSION_MARGIN_SECONDS:
            problems.append(
                f"KAFKA_SESSION_TIMEOUT_SECONDS ({self.kafka.session_timeout_seconds:g}) must exceed "
                f"CMT_TIMEOUT_SECONDS ({self.cmt.timeout_seconds:g}) by at least {SESSION_MARGIN_SECONDS:g} s, "
                "else a call of a worker that lost its partition could land after its successor's"
            )
        if problems:
            raise ConfigurationError(problems)


def _collect(group: type[_S], problems: list[str]) -> _S:
    try:
        return load(group)
    except ConfigurationError as error:
        problems.extend(error.problems)
        return cast(_S, group.model_construct())
