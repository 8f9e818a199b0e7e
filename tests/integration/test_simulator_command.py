"""`profile-sync simulator` prints one line with address and environment, then serves until it is stopped."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEADLINE_SECONDS = 30


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The running command, and the environment that its line names."""
    command = [sys.executable, "-m", "app", "simulator", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
    finally:
        process.kill()
        process.communicate()


def token(environment: dict[str, str]) -> dict[str, object]:
    credentials = {"client_id": environment["CMT_CLIENT_ID"], "client_secret": environment["CMT_CLIENT_SECRET"]}
    request = urllib.request.Request(environment["CMT_AUTH_URL"] + "/v2/token", json.dumps(credentials).encode())
    with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_then_ends_well(number: signal.Signals) -> None:
    with started() as (process, environment):
        assert set(environment) == {
            "CMT_AUTH_URL",
            "CMT_CLIENT_ID",
            "CMT_CLIENT_SECRET",
            "SERVICENOW_URL",
            "SERVICENOW_USERNAME",
            "SERVICENOW_PASSWORD",
        }
        answer = token(environment)
        assert (answer["expires_in"], answer["soap_instance_url"]) == (1079, environment["CMT_AUTH_URL"] + "/")
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
        assert (process.returncode, out, err) == (0, "", "")


def test_options_are_honoured(tmp_path: Path) -> None:
    extensions = tmp_path / "extensions.json"
    extensions.write_text(
        json.dumps({"dataExtensions": {"consumer": {"customerKey": "X", "primaryKey": ["K"], "columns": ["K", "V"]}}})
    )
    options = ("--client-id", "i", "--client-secret", "a secret", "--token-ttl", "7", "--latency-ms", "1.5")
    with started(*options, "--data-extensions", str(extensions)) as (_, environment):
        assert environment["CMT_CLIENT_SECRET"] == "a secret"
        assert token(environment)["expires_in"] == 7
        with urllib.request.urlopen(environment["CMT_AUTH_URL"] + "/_sim/data-extensions") as response:
            assert [extension["customerKey"] for extension in json.load(response)["dataExtensions"]] == ["X"]


def test_a_port_in_use_is_a_clear_message_and_exit_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "app", "simulator", "--port", port],
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"cannot listen on 127.0.0.1 port {port}: ")
    assert "Traceback" not in done.stderr


def test_data_extensions_that_cannot_be_read_are_a_clear_message_and_exit_1(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "simulator", "--data-extensions", str(tmp_path / "none.json")],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "none.json" in done.stderr


def test_a_wrong_option_is_exit_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "simulator", "--token-ttl", "0"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 2
