"""The options that the `dlq` commands share."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from app.cli import cli

OPTIONS = ["fingerprint", "reason", "market", "operation", "entity", "consumer", "since", "until"]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("command", ["list", "stats", "export", "redrive", "discard"])
@pytest.mark.parametrize("given", ["", " "])
def test_an_unset_variable_does_not_widen_a_command(command: str, name: str, given: str) -> None:
    other = "--market" if name != "market" else "--reason"
    done = CliRunner().invoke(cli, ["dlq", command, other, "X", f"--{name}", given])
    assert done.exit_code == 2
    assert f"--{name}" in done.output
    assert "it is empty" in done.output
