"""What the demo's programs find in their environment, and what people are told to type."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.demo.environment import command_to_run, lines_to_try, with_python_path, without_own_variables, worker_variables
from app.settings import WorkerSettings

HERE = Path("/project")


def test_nothing_that_the_shell_says_of_a_real_system_reaches_the_demo() -> None:
    shell = {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy",
        "CMT_SOAP_URL": "https://real.example.com",
        "kafka_security_protocol": "SASL_SSL",
        "SYNC_DRY_RUN": "true",
        "SERVICENOW_URL": "https://real.example.com",
        "WEB_JWT_SECRET": "x",
        "KPI_KEEP_DAYS": "1",
        "LOG_HASH_KEY": "x",
        "DATA_DIR": "data",
    }
    assert without_own_variables(shell) == {"PATH": "/bin", "HTTPS_PROXY": "http://proxy"}


def test_the_workers_variables_are_a_complete_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    simulator = {"CMT_AUTH_URL": "http://127.0.0.1:1", "CMT_CLIENT_ID": "i", "CMT_CLIENT_SECRET": "s"}
    for name in set(os.environ) - set(without_own_variables(os.environ)):
        monkeypatch.delenv(name)
    for name, value in worker_variables("127.0.0.1:2", simulator, 3, tmp_path).items():
        monkeypatch.setenv(name, value)
    settings = WorkerSettings()
    assert settings.kafka.bootstrap_servers == "127.0.0.1:2"
    assert settings.web.port == 3
    assert settings.general.data_dir == tmp_path


def test_a_program_that_is_not_installed_is_found_where_this_one_was() -> None:
    assert with_python_path({"A": "b"}, Path("/checkout"), Path("/site"))["PYTHONPATH"] == "/checkout"
    assert (
        with_python_path({"PYTHONPATH": "/mine"}, Path("/checkout"), Path("/site"))["PYTHONPATH"] == "/checkout:/mine"
    )


def test_an_installed_program_needs_no_path() -> None:
    assert with_python_path({"A": "b"}, Path("/site"), Path("/site")) == {"A": "b"}


@pytest.mark.parametrize(
    ("called_as", "found", "typed"),
    [
        ("/usr/bin/profile-sync", "/usr/bin/profile-sync", "profile-sync"),
        (".venv/bin/profile-sync", "/project/.venv/bin/profile-sync", "profile-sync"),
        (".venv/bin/profile-sync", None, ".venv/bin/profile-sync"),
        ("/project/.venv/bin/profile-sync", "/usr/bin/profile-sync", ".venv/bin/profile-sync"),
        ("/elsewhere/bin/profile-sync", None, "/elsewhere/bin/profile-sync"),
        ("/project/app/__main__.py", None, "bin/python -m app"),
    ],
)
def test_commands_are_shown_as_they_must_be_typed_here(called_as: str, found: str | None, typed: str) -> None:
    assert command_to_run(called_as, "/project/bin/python", found, HERE) == typed


def test_the_lines_to_try_fit_a_terminal() -> None:
    lines = lines_to_try(".venv/bin/profile-sync", "127.0.0.1:32767", "42485e3a-0a5d-4f34-abaa-9455e3e70682")
    assert max(map(len, lines)) <= 78
    assert lines[0] == "export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:32767"
