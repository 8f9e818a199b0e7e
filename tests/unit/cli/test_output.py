"""Output fits 80 columns, cuts nothing that identifies, and holds nothing that a terminal would obey."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from app.cli import cli
from app.cli.command_errors import CommandError, report_failures
from app.cli.consumer import _show
from app.cli.kpi import _show as show_counts
from app.cli.output import COLUMNS, printable, show_facts, show_table
from app.delivery.errors import REGISTRY
from app.readmodels.consumers import ConsumerView

ESCAPE = "e\x1b]0;owned\x07\x1b[2J\u202e\x9b1mx\r\nlast"
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
LONG = "abcdefghij" * 20


@pytest.fixture(autouse=True)
def no_width_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= COLUMNS
    return lines


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert printable(ESCAPE) == "e\\x1b]0;owned\\x07\\x1b[2J\\u202e\\x9b1mx\\r\\nlast"
    assert printable("\ud800 Zoë 日本 [bold]") == "\\ud800 Zoë 日本 [bold]"


def test_a_table_fits_and_leaves_nothing_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("id", "event", "reason", "text"), [(LONG, UUID, "CMT-RATE-LIMITED", "[bold]" + LONG)], title=LONG)
    text = "".join(printed(capsys))
    assert "…" not in text
    for cell in (LONG, UUID, "[bold]"):
        assert set(cell) <= set(text)
    assert text.count("j") >= 3 * LONG.count("j")


def test_facts_fit_and_identifiers_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show_facts("Parked", [[("", "3-41"), ("event", UUID), ("due", "2026-11-18T11:06:40.123Z"), ("reason", "X-Y")]] * 2)
    lines = printed(capsys)
    assert sum(UUID in line for line in lines) == 2
    assert lines[1] == "Parked"


@pytest.mark.parametrize("texts", [[], [("event", ESCAPE)]])
def test_escapes_in_tables_and_facts_are_shown(
    texts: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    show_table(("event",), [[text] for _, text in texts])
    show_facts("Recent", [[fact] for fact in texts])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert out.count("\\x1b[2J") == 2 * len(texts)


def test_escapes_in_what_a_command_says_of_a_failure_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), report_failures():
        raise CommandError(f"first\n{ESCAPE}")
    assert capsys.readouterr().err.splitlines()[0] == "first"


def test_a_consumer_is_shown_whole_and_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    view = ConsumerView(
        consumerId=ESCAPE,
        market="DE",
        lastEventId=ESCAPE,
        lastOutcome="synced",
        lastReason=None,
        lastEntity=None,
        lastSyncedAt="2026-11-18T11:06:40.123Z",
        parked=[
            {
                "id": "3-123456789",
                "eventId": UUID,
                "attempts": 2,
                "dueAt": "2026-11-18T11:06:40.123Z",
                "reason": "CMT-TOKEN-UNAVAILABLE",
                "firstFailedAt": "2026-11-18T11:06:40.123Z",
            }
        ],
        recent=[
            {
                "eventId": ESCAPE,
                "operation": "UPDATE",
                "outcome": "superseded",
                "reason": "SYNC-SUPERSEDED",
                "entity": None,
                "attempts": 1,
                "settledAt": "2026-11-18T11:06:40.123Z",
            }
        ],
    )
    _show(view)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert UUID in out
    assert "CMT-TOKEN-UNAVAILABLE" in out


def test_error_codes_fit(capsys: pytest.CaptureFixture[str]) -> None:
    done = CliRunner().invoke(cli, ["errors"])
    assert max(map(len, done.stdout.splitlines())) <= COLUMNS
    assert all(code in done.stdout for code in REGISTRY)


EVENT = {
    "eventId": "e\u001b[2J",
    "operation": "UPDATE",
    "consumerId": "c\u001b]0;x\u0007" + "y" * 100,
    "market": "DE",
    "occurredAt": "2026-11-21T10:00:00Z",
    "consumer": {"ConsumerId": "c\u001b]0;x\u0007" + "y" * 100, "FirstName": "Ann"},
}


def test_a_plan_fits_and_holds_no_escapes() -> None:
    done = CliRunner().invoke(cli, ["plan", "-"], input=json.dumps(EVENT))
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    table = [line for line in done.stdout.splitlines() if not line.startswith("1: ")]
    assert max(map(len, table)) <= COLUMNS
    assert "…" not in done.stdout
    assert done.stdout.count("y") >= 100


def test_an_unknown_variable_is_a_warning_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMT_DATA_EXTENSION", "/x")
    done = CliRunner().invoke(cli, ["plan", "-"], input=json.dumps(EVENT))
    assert done.exit_code == 0
    assert "CMT_DATA_EXTENSION is not known and has no effect; is CMT_DATA_EXTENSIONS meant?" in done.stderr


@pytest.mark.parametrize("by", ["outcome,reason", "outcome,entity", "who", ""])
def test_dimensions_that_do_not_go_together_are_refused(by: str) -> None:
    assert CliRunner().invoke(cli, ["kpi", "--by", by]).exit_code == 2


def test_failures_by_reason_say_what_the_codes_mean_where_there_is_room(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, str | int]] = [{"reason": "CMT-TOKEN-REFUSED", "count": 3}, {"reason": "NEW-ONE", "count": 1}]
    show_counts(rows, ("reason",), {})
    shown = capsys.readouterr().out
    assert "The token endpoint refused" in shown
    assert max(map(len, shown.splitlines())) <= 80
    crowded: list[dict[str, str | int]] = [
        {"day": "2026-11-21", "market": "DE", "entity": "digitalAsset", "reason": "CMT-TOKEN-REFUSED", "count": 3}
    ]
    show_counts(crowded, ("day", "market", "entity", "reason"), {})
    assert "meaning" not in capsys.readouterr().out
