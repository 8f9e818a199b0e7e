"""`profile-sync token`, and how the reading commands take wrong usage."""

from __future__ import annotations

import json
import time
from datetime import datetime

import jwt
import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.cli import cli

SECRET = "a secret of thirty-two bytes or more"


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "WEB_JWT_SECRET", "WEB_JWT_AUDIENCE", "WEB_AUTH"):
        monkeypatch.delenv(name, raising=False)


def _run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), env=environment)


def test_a_token_is_signed_with_the_secret_and_nothing_else_is_needed() -> None:
    done = _run("token", "--scope", "kpi:read dlq:read", "--scope", "dlq:write", "--ttl", "60", WEB_JWT_SECRET=SECRET)
    assert done.exit_code == 0, done.stderr
    claims = jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"], audience="profile-sync")
    assert claims["scope"] == "kpi:read dlq:read dlq:write"
    assert 0 < claims["exp"] - time.time() <= 60


def test_a_token_as_a_document_says_when_it_ends() -> None:
    done = _run("token", "--scope", "kpi:read", "--json", WEB_JWT_SECRET=SECRET, WEB_JWT_AUDIENCE="crm")
    document = json.loads(done.stdout)
    claims = jwt.decode(document["token"], SECRET, algorithms=["HS256"], audience="crm")
    assert document["scope"] == "kpi:read"
    assert datetime.fromisoformat(document["expiresAt"]).timestamp() == claims["exp"]


def test_settings_of_the_web_server_do_not_matter() -> None:
    done = _run("token", "--scope", "kpi:read", WEB_JWT_SECRET=SECRET, WEB_TLS_CERT="/no/such/file", WEB_AUTH="of")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (("--scope", "kpi:write"), {"WEB_JWT_SECRET": SECRET}, "kpi:write"),
        (("--scope", ""), {"WEB_JWT_SECRET": SECRET}, "scope"),
        ((), {"WEB_JWT_SECRET": SECRET}, "scope"),
        (("--scope", "kpi:read", "--ttl", "0"), {"WEB_JWT_SECRET": SECRET}, "ttl"),
        (("--scope", "kpi:read"), {}, "WEB_JWT_SECRET"),
        (("--scope", "kpi:read"), {"WEB_JWT_SECRET": "short"}, "32 bytes"),
    ],
)
def test_no_token_comes_of_wrong_usage(arguments: tuple[str, ...], environment: dict[str, str], named: str) -> None:
    done = _run("token", *arguments, **environment)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert named in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--from", "yesterday"), ("--by", "week"), ("--by", ""), ("--from", "2026-02-02", "--to", "2026-02-01")],
)
def test_kpi_refuses_wrong_usage_before_it_asks_a_broker(arguments: tuple[str, ...]) -> None:
    done = _run("kpi", *arguments, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.exit_code == 2
    assert done.stdout == ""


@pytest.mark.parametrize("command", [("kpi",), ("consumer", "C-1")])
def test_a_reading_command_names_the_variable_it_lacks_and_no_other(command: tuple[str, ...]) -> None:
    done = _run(*command)
    assert done.exit_code == 2
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "WEB_" not in done.stderr


def test_a_token_names_who_uses_it() -> None:
    done = _run("token", "--scope", "dlq:write dlq:values", "--subject", "Ann Lee", WEB_JWT_SECRET=SECRET)
    claims = jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"], audience="profile-sync")
    assert claims["sub"] == "Ann Lee"
    without = _run("token", "--scope", "kpi:read", WEB_JWT_SECRET=SECRET)
    assert "sub" not in jwt.decode(without.stdout.strip(), SECRET, algorithms=["HS256"], audience="profile-sync")
    assert _run("token", "--scope", "kpi:read", "--subject", "a\nb", WEB_JWT_SECRET=SECRET).exit_code == 2
