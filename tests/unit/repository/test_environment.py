"""What is wrong with the environment is said all at once, in words, and without repeating a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from app.environment import unknown_variables
from app.flows.configuration import worker_settings
from app.settings import (
    ConfigurationError,
    GeneralSettings,
    KafkaSettings,
    SettingsGroup,
    SyncSettings,
    known_variables,
    load,
    variable,
)

NEEDED = {
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "CMT_AUTH_URL": "https://auth.example",
    "CMT_CLIENT_ID": "me",
    "CMT_CLIENT_SECRET": "geheim",
    "WEB_AUTH": "off",
}
Problems = Callable[..., list[str]]


@pytest.fixture
def problems(monkeypatch: pytest.MonkeyPatch) -> Problems:
    def found(**environment: str) -> list[str]:
        for name in known_variables():
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            worker_settings()
        except ConfigurationError as error:
            assert not [word for word in ("pydantic", "Input should", "geheim", "type=") if word in str(error)]
            return error.problems
        return []

    return found


def test_a_complete_environment_has_no_problem(problems: Problems) -> None:
    assert problems(**NEEDED) == []


def test_all_mistakes_are_named_at_once(problems: Problems, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.json"
    catalog.write_text("{")
    found = problems(
        KAFKA_SECURITY_PROTOCOL="SASL",
        KAFKA_PARTITIONS="geheim",
        KAFKA_START="soon",
        KAFKA_SSL_KEYFILE="-----BEGIN PRIVATE KEY-----\ngeheim",
        KAFKA_SSL_CAFILE="/no/such/file",
        CMT_AUTH_URL="http://auth.example",
        CMT_CLIENT_ID="me",
        CMT_TIMEOUT_SECONDS="0",
        CMT_BATCH_SIZE="51",
        CMT_DATA_EXTENSIONS=str(catalog),
        SYNC_DRY_RUN="geheim",
        SYNC_STRATEGY="reconcile",
        SYNC_REPLACE_PARENT="true",
        SERVICENOW_USERNAME="me",
        WEB_PORT="tcp://10.0.0.7:80",
        LOG_LEVEL="loud",
    )
    for expected in (
        "KAFKA_BOOTSTRAP_SERVERS: is required but not set",
        "KAFKA_SECURITY_PROTOCOL: must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
        "KAFKA_PARTITIONS: must be a whole number",
        "KAFKA_START must be earliest",
        "KAFKA_SSL_KEYFILE: must be the path of a file, not its content",
        "KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE go together",
        "KAFKA_SSL_CAFILE: no such file: /no/such/file",
        "CMT_AUTH_URL: plain http:// is only allowed on loopback",
        "CMT_CLIENT_SECRET: is required but not set",
        "CMT_TIMEOUT_SECONDS: must be at least 0.01",
        "CMT_BATCH_SIZE: must be at most 50",
        "SYNC_DRY_RUN: must be true or false",
        "SERVICENOW_USERNAME and SERVICENOW_PASSWORD go together",
        "WEB_PORT: holds the address of a Kubernetes service",
        "WEB_AUTH=jwt needs WEB_JWT_SECRET",
        "LOG_LEVEL: must be DEBUG, INFO, WARNING or ERROR",
        "SYNC_REPLACE_PARENT",
        "CMT_DATA_EXTENSIONS",
    ):
        assert [line for line in found if line.startswith(expected) or expected in line], (expected, found)
    assert len(found) == len(set(found))


def test_a_file_that_is_wrong_is_named_together_with_everything_else(problems: Problems, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.json"
    catalog.write_text("{")
    found = problems(**NEEDED, CMT_DATA_EXTENSIONS=str(catalog), KAFKA_SESSION_TIMEOUT_SECONDS="10")
    assert len(found) == 2
    assert "KAFKA_SESSION_TIMEOUT_SECONDS (10) must exceed" in found[0]
    assert str(catalog) in found[1]


def test_a_password_among_the_brokers_is_not_repeated(problems: Problems) -> None:
    [problem] = problems(**NEEDED | {"KAFKA_BOOTSTRAP_SERVERS": "one:1,sasl://me:geheim@two:1"})
    assert problem.startswith("KAFKA_BOOTSTRAP_SERVERS: entry 2 is not host:port")


def test_values_with_a_few_spellings_are_taken_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "JSON",
        "SYNC_STRATEGY": "Reconcile",
        "KAFKA_BOOTSTRAP_SERVERS": "one:1",
        "KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
        "KAFKA_SASL_MECHANISM": "scram-sha-512",
        "KAFKA_SASL_USERNAME": "me",
        "KAFKA_SASL_PASSWORD": "x",
        "KAFKA_START": "Latest",
    }.items():
        monkeypatch.setenv(name, value)
    assert (load(GeneralSettings).log_level, load(GeneralSettings).log_format) == ("INFO", "json")
    assert load(SyncSettings).strategy == "reconcile"
    kafka = load(KafkaSettings)
    assert (kafka.security_protocol, kafka.sasl_mechanism, kafka.start) == ("SASL_PLAINTEXT", "SCRAM-SHA-512", "latest")


KNOWN = known_variables()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
        ("KAFKA_BROKERS", None),
        ("CMT_CLIENTID", "CMT_CLIENT_ID"),
        ("SYNC_MAX_ATTEMPT", "SYNC_MAX_ATTEMPTS"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("kafka_topics", "KAFKA_TOPIC"),
        ("WEB_JWT_SECRETS", "WEB_JWT_SECRET"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_known_one(name: str, meant: str | None) -> None:
    [line] = unknown_variables([name, *KNOWN], KNOWN)
    assert line.startswith(f"{name} is not known and has no effect")
    assert (f"; is {meant} meant?" in line) if meant else ("meant" not in line)


@pytest.mark.parametrize(
    "name",
    [
        "KAFKA_PORT",
        "KAFKA_SERVICE_HOST",
        "KAFKA_SERVICE_PORT",
        "KAFKA_SERVICE_PORT_TCP_CLIENT",
        "KAFKA_PORT_9092_TCP",
        "KAFKA_PORT_9092_TCP_ADDR",
        "KAFKA_PORT_9092_TCP_PROTO",
        "KAFKA_HEADLESS_SERVICE_HOST",
        "CMT_PROXY_PORT",
        "LOG_DIR",
        "DATA_SOURCE",
        "PATH",
    ],
)
def test_what_others_set_is_left_alone(name: str) -> None:
    assert unknown_variables([name], KNOWN) == []


def _types(annotation: Any) -> Iterator[Any]:
    """All types in an annotation, of ``Annotated[float, ...] | None`` too."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)


NUMBERS = [
    pytest.param(group, name, id=variable(group, name))
    for group in SettingsGroup.__subclasses__()
    for name, field in group.model_fields.items()
    if {int, float} & set(_types(field.annotation))
]
ODD = ["inf", "-inf", "nan", "1e30", "1" + "0" * 30, "1e-320", "-1", "1e400", "9" * 5000, "0x10", "1_0", "\u0663"]


def test_every_group_with_numbers_is_walked() -> None:
    assert {"KAFKA_PARTITIONS", "CMT_RATE_PER_SECOND", "SYNC_MAX_PARKED", "KPI_KEEP_DAYS"} <= {p.id for p in NUMBERS}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(("group", "name"), NUMBERS)
def test_a_number_is_refused_or_within_bounds(
    group: type[SettingsGroup], name: str, odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in known_variables():
        monkeypatch.delenv(known, raising=False)
    for needed, value in NEEDED.items():
        monkeypatch.setenv(needed, value)
    monkeypatch.setenv(variable(group, name), odd)
    try:
        number = getattr(load(group), name)
    except ConfigurationError as refused:
        [line] = refused.problems
        assert re.fullmatch(f"{variable(group, name)}: must be (a (whole )?number|at (least|most) [0-9.e+]+)", line)
        return
    assert number <= 1e15
    if number < 0.01:  # as good as none, so that none must be a value too
        monkeypatch.setenv(variable(group, name), "0")
        assert getattr(load(group), name) == 0 <= number


def test_counts_may_be_kept_for_ever(problems: Problems) -> None:
    assert problems(**NEEDED, KPI_KEEP_DAYS="1000000") == []


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z"])
def test_a_start_that_kafka_has_no_number_for_is_refused(problems: Problems, start: str) -> None:
    assert problems(**NEEDED, KAFKA_START=start) == [
        "KAFKA_START must not be before 1970; earliest begins with the first record"
    ]


URLS = ["CMT_AUTH_URL", "CMT_SOAP_URL", "SERVICENOW_URL", "WEB_JWKS_URL", "WEB_PUBLIC_URL"]


def test_every_address_is_tried() -> None:
    assert {name for name in known_variables() if name.endswith("_URL")} == set(URLS)


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "url",
    [
        "https://h:99999",
        "https://h:0",
        "https://h:geheim",
        "https://me:geheim@h",
        "https://me@h",
        "https://@h",
        "https://[::1",
        "https://[geheim]",
        "https://geheim\u2100@h",
        "https://h/a path",
        "https://",
        "//h",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(problems: Problems, name: str, url: str) -> None:
    more = {"SERVICENOW_USERNAME": "me", "SERVICENOW_PASSWORD": "x"} if name == "SERVICENOW_URL" else {}
    found = problems(**NEEDED | more | {name: url})
    assert [line.split(":")[0] for line in found] == [name]


@pytest.mark.parametrize(
    "text",
    ['{"a":NaN}', '{"a":Infinity}', '{"a":1e400}', '{"a":1,"a":2}', "[" * 100_000, '{"a":' * 100_000, "[]", '"a"'],
)
def test_fields_that_no_table_can_hold_are_refused(problems: Problems, text: str) -> None:
    [line] = problems(**NEEDED, SERVICENOW_FIELDS=text)
    assert line.startswith("SERVICENOW_FIELDS: must be a JSON object")
