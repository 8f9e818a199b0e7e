"""All configuration, read once from the environment.

One class per target, so that a command asks only for what it uses; ``load`` gathers the problems of all of them and
reports each in one line. Names and defaults are part of the public surface.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from app.environment import in_words, unknown_variables

# A call must end, and its worker notice that it lost the partition, before another worker may start: the session
# has to outlive the longest call by this much.
SESSION_MARGIN_SECONDS = 2.0

# Room for our headers on retry and dead-letter records, on top of the largest record the main topic takes.
HEADER_ROOM_BYTES = 64 * 1024

# Every number has bounds: nothing else is said of a value that cannot work before the first event meets it. The upper
# ones are far above what makes sense and far below what a date, a timer or Kafka's protocol can hold.
DAY_SECONDS, WEEK_SECONDS = 86_400.0, 604_800.0
LARGEST_MESSAGE_BYTES = 512 * 1024 * 1024

DEFAULT_KAFKA_PORT = 9092
# Linux: PATH_MAX.
LONGEST_PATH = 4096


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
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # which may quote the address, and that may hold a password
        raise ValueError("must be an http(s) address such as https://host/path, its port from 1 to 65535") from None
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password; there are variables of their own for those")
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url) or port == 0:
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


def _keyword(text: str) -> str:
    return text.lower() if text.lower() in ("earliest", "latest") else text


Url = Annotated[str, AfterValidator(_safe_url)]
OptionalUrl = Annotated[Url | None, BeforeValidator(_empty_is_none)]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_empty_is_none)]
OptionalFile = Annotated[Path | None, BeforeValidator(_empty_is_none)]


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name is given twice")
    return found


def _is_text_or_number(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _texts_by_name(value: Any) -> Any:
    """Field names and values of ServiceNow, all as text; numbers and true/false are written as JSON does."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=_members)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict) or not all(map(_is_text_or_number, value.values())):
        raise ValueError('must be a JSON object of texts and numbers such as {"caller_id": "Sync"}')
    if wrong := [name for name in value if not _FIELD_NAME.fullmatch(name)]:
        raise ValueError(f"these are not names of fields: {', '.join(sorted(wrong)[:5])}")
    return {name: one if isinstance(one, str) else json.dumps(one) for name, one in value.items()}


def _refuse(problems: list[str]) -> None:
    """One line each; pydantic takes one error of a model as a whole."""
    if problems:
        raise ValueError("\n".join(problems))


def _existing(path: Path | None, name: str) -> list[str]:
    if path is None:
        return []
    text = str(path)
    if "\n" in text or "-----BEGIN" in text or len(text) > LONGEST_PATH:
        return [f"{name}: must be the path of a file, not its content"]  # which is not repeated: it may be a key
    try:
        return [] if path.is_file() else [f"{name}: no such file: {path}"]
    except (OSError, ValueError):
        return [f"{name}: not the path of a file"]


def _long_enough(secret: SecretStr) -> list[str]:
    if len(secret.get_secret_value().encode()) < 32:
        return ["WEB_JWT_SECRET must have at least 32 bytes (RFC 7518, 3.2)"]
    return []


def parse_servers(text: str) -> tuple[tuple[str, ...], list[str]]:
    """Brokers as ``host:port``, with ``[...]`` around an IPv6 address, and what is wrong with the others.

    An entry is repeated only when it can hardly be more than an address: people put passwords there.
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


class _Group(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    @model_validator(mode="before")
    @classmethod
    def _any_case(cls, values: Any) -> Any:
        """A variable with a few values takes them in upper and lower case."""
        if not isinstance(values, dict):
            return values
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if field is not None and isinstance(value, str):
                spellings = {option.casefold(): option for option in _options(field.annotation)}
                values[name] = spellings.get(value.strip().casefold(), value)
        return values


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
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 8
    replication: Annotated[int, Field(ge=1, le=100)] = 1
    session_timeout_seconds: Annotated[float, Field(ge=1.0, le=DAY_SECONDS, allow_inf_nan=False)] = 45.0
    instance_id: str | None = None
    start: Annotated[str, AfterValidator(_keyword)] = "earliest"
    max_message_bytes: Annotated[int, Field(ge=1024, le=LARGEST_MESSAGE_BYTES)] = 1024 * 1024

    @property
    def request_seconds(self) -> float:
        """What a broker gets for an answer: its silence must be noticed, and another one found, within a session."""
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
            problems += _existing(getattr(self, name), f"KAFKA_{name.upper()}")
        if self.start not in ("earliest", "latest"):
            try:
                moment = datetime.fromisoformat(self.start)
            except ValueError:
                moment = None
            if moment is None or moment.tzinfo is None:
                problems.append("KAFKA_START must be earliest, latest or an RFC 3339 time such as 2026-01-31T00:00:00Z")
            elif moment.timestamp() < 0:
                problems.append("KAFKA_START must not be before 1970; earliest begins with the first record")
        _refuse(problems)
        return self

    @property
    def retry_topic(self) -> str:
        """Where events wait for their next attempt."""
        return f"{self.group}.retry"

    @property
    def dlq_topic(self) -> str:
        """Dead letters."""
        return f"{self.group}.dlq"

    @property
    def alerts_topic(self) -> str:
        """What must become an incident."""
        return f"{self.group}.alerts"

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
    timeout_seconds: Annotated[float, Field(ge=0.01, le=3600.0, allow_inf_nan=False)] = 30.0
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC-6"
    ca_file: OptionalFile = None
    batch_size: Annotated[int, Field(ge=1, le=50)] = 1
    rate_per_second: Annotated[float, Field(ge=0.01, le=100_000.0, allow_inf_nan=False)] | None = None
    yearly_calls: Annotated[int, Field(ge=1, le=10**15)] | None = None
    data_extensions: OptionalFile = None

    @model_validator(mode="after")
    def _files(self) -> Self:
        problems: list[str] = []
        for name in ("wsdl", "ca_file", "data_extensions"):
            problems += _existing(getattr(self, name), f"CMT_{name.upper()}")
        _refuse(problems)
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
        problems: list[str] = []
        problems += _existing(self.data_extensions, "CMT_DATA_EXTENSIONS")
        _refuse(problems)
        return self


class SyncSettings(_Group):
    """How events are worked on (``SYNC_*``)."""

    model_config = SettingsConfigDict(env_prefix="SYNC_", extra="ignore", frozen=True, env_ignore_empty=True)

    strategy: Literal["replace", "reconcile"] = "replace"
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 64
    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    backoff_base_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 10.0
    backoff_max_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 300.0
    child_failure: Literal["log", "dlq"] = "log"
    replace_parent: bool = False
    breaker_failures: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    breaker_probe_seconds: Annotated[float, Field(ge=0.01, le=DAY_SECONDS, allow_inf_nan=False)] = 5.0
    breaker_alert_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 60.0
    max_parked: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    dry_run: bool = False


class ServiceNowSettings(_Group):
    """Where incidents go (``SERVICENOW_*``); without a URL they are logged only."""

    model_config = SettingsConfigDict(env_prefix="SERVICENOW_", extra="ignore", frozen=True, env_ignore_empty=True)

    url: OptionalUrl = None
    username: OptionalText = None
    password: OptionalSecret = None
    client_id: OptionalText = None
    client_secret: OptionalSecret = None
    note_every_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 300.0
    assignment_group: OptionalText = None
    fields: Annotated[dict[str, str] | None, NoDecode, BeforeValidator(_texts_by_name)] = None
    resolve_minutes: Annotated[float, Field(ge=0.0, le=525_600.0, allow_inf_nan=False)] = 30.0

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        problems: list[str] = []
        if (self.username is None) != (self.password is None):
            problems.append("SERVICENOW_USERNAME and SERVICENOW_PASSWORD go together")
        if (self.client_id is None) != (self.client_secret is None):
            problems.append("SERVICENOW_CLIENT_ID and SERVICENOW_CLIENT_SECRET go together")
        if self.url is not None and self.username is None and self.client_id is None:
            problems.append(
                "SERVICENOW_URL needs SERVICENOW_USERNAME and SERVICENOW_PASSWORD, or a client ID and secret"
            )
        _refuse(problems)
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
        problems: list[str] = []
        if self.auth == "off" and not is_loopback(self.host):
            problems.append("WEB_AUTH=off is refused unless WEB_HOST is loopback (127.0.0.1, ::1, localhost)")
        if self.auth == "jwt" and self.jwt_secret is None and self.jwks_url is None:
            problems.append("WEB_AUTH=jwt needs WEB_JWT_SECRET (HS256) or WEB_JWKS_URL (RS256, ES256)")
        if self.jwt_secret is not None:
            problems += _long_enough(self.jwt_secret)
        if (self.tls_cert is None) != (self.tls_key is None):
            problems.append("WEB_TLS_CERT and WEB_TLS_KEY go together")
        for name in ("tls_cert", "tls_key"):
            problems += _existing(getattr(self, name), f"WEB_{name.upper()}")
        _refuse(problems)
        return self


class TokenSettings(_Group):
    """What signing a web token takes: a part of ``WebSettings``, for the ``token`` command."""

    model_config = SettingsConfigDict(env_prefix="WEB_", extra="ignore", frozen=True, env_ignore_empty=True)

    jwt_secret: SecretStr
    jwt_audience: str = "profile-sync"

    @model_validator(mode="after")
    def _signed_well(self) -> Self:
        problems: list[str] = []
        problems += _long_enough(self.jwt_secret)
        _refuse(problems)
        return self


class GeneralSettings(_Group):
    """What belongs to no single target."""

    kpi_keep_days: Annotated[int, Field(ge=1, le=1_000_000)] = 400
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    log_hash_key: OptionalSecret = None
    data_dir: Path = Path("data")


_S = TypeVar("_S", bound=_Group)

# What stands in for a variable that is required and missing, while the others are looked at.
_STAND_INS: dict[str, Any] = {
    "bootstrap_servers": "localhost:9092",
    "auth_url": "https://localhost",
    "client_id": "-",
    "client_secret": "-",
    "jwt_secret": "-" * 32,
}


def variable(group: type[BaseSettings], name: str) -> str:
    """What the environment calls a field."""
    return f"{group.model_config.get('env_prefix') or ''}{name}".upper()


def known_variables() -> set[str]:
    """All variables that any of the settings classes reads."""
    return {variable(group, name) for group in _Group.__subclasses__() for name in group.model_fields}


def warnings() -> list[str]:
    """One line for each variable that looks like one of ours and is none."""
    return unknown_variables(os.environ, known_variables())


def _problem_lines(group: type[_Group], error: ValidationError) -> list[str]:
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_input=False):
        if not problem["loc"]:
            lines += str(problem["msg"]).removeprefix("Value error, ").splitlines()
            continue
        name = str(problem["loc"][0])
        field = group.model_fields.get(name)
        options = _options(field.annotation) if field else ()
        variable_name = variable(group, name)
        lines.append(f"{variable_name}: {in_words(problem, options, value=os.environ.get(variable_name))}")
    return list(dict.fromkeys(lines))


def _options(annotation: Any) -> tuple[str, ...]:
    """The values of a Literal, also of one that may be left out."""
    if get_origin(annotation) is Literal:
        return tuple(str(option) for option in get_args(annotation))
    return tuple(option for part in get_args(annotation) for option in _options(part))


def load(group: type[_S]) -> _S:
    """Read one settings class from the environment.

    Raises:
        ConfigurationError: something is missing or wrong; all of it is named.
    """
    problems: list[str] = []
    loaded = _collect(group, problems)
    if problems:
        raise ConfigurationError(problems)
    return loaded


class WorkerSettings:
    """Everything a worker needs, checked together at the start.

    Args:
        also: further checks, each of which raises ``ConfigurationError``; they run whatever the others find.

    Raises:
        ConfigurationError: with every problem of all of them.
    """

    def __init__(self, also: Sequence[Callable[[WorkerSettings], object]] = ()) -> None:
        problems: list[str] = []
        self.kafka = _collect(KafkaSettings, problems)
        self.cmt = _collect(CmtSettings, problems)
        self.sync = _collect(SyncSettings, problems)
        self.servicenow = _collect(ServiceNowSettings, problems)
        self.web = _collect(WebSettings, problems)
        self.general = _collect(GeneralSettings, problems)
        if self.kafka.session_timeout_seconds < self.cmt.timeout_seconds + SESSION_MARGIN_SECONDS:
            problems.append(
                f"KAFKA_SESSION_TIMEOUT_SECONDS ({self.kafka.session_timeout_seconds:g}) must exceed "
                f"CMT_TIMEOUT_SECONDS ({self.cmt.timeout_seconds:g}) by at least {SESSION_MARGIN_SECONDS:g} s, "
                "else a call of a worker that lost its partition could land after its successor's"
            )
        for check in also:
            try:
                check(self)
            except ConfigurationError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigurationError(list(dict.fromkeys(problems)))


def _collect(group: type[_S], problems: list[str]) -> _S:
    """The settings, or what is left of them without what is wrong, so that the rest can be looked at too."""
    try:
        return group()
    except ValidationError as error:
        wrong = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
        problems.extend(_problem_lines(group, error))
    if wrong:
        values = {name: value for name, value in EnvSettingsSource(group)().items() if name not in wrong}
        stand_ins = {name: _STAND_INS[name] for name in wrong if name in _STAND_INS}
        try:
            return _without_environment(group)(**values | stand_ins)
        except ValidationError as error:
            problems.extend(_problem_lines(group, error))
    return cast(_S, group.model_construct(None, **_STAND_INS))


def _without_environment(group: type[_S]) -> type[_S]:
    class Given(group):  # type: ignore[valid-type, misc]
        @classmethod
        def settings_customise_sources(
            cls, _: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **others: object
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings,)

    return Given
