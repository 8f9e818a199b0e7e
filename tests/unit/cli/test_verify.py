"""``verify``: what it takes, and what it prints of what was found."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import typer
from typer.testing import CliRunner, Result

from app.cli import cli, verify_report
from app.cli.verify import since_time
from app.cli.verify_report import document
from app.profile.entities import EntityType
from app.profile.holdings.drift import WHICH_COLUMNS, ColumnDrift, Drift, DriftKind
from app.profile.holdings.findings import DriftFinding, RepairWrite, Status

Shown = Callable[..., str]

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DRIFT = Drift(
    EntityType.CONTACT,
    DriftKind.DIFFERENT,
    ("C-1", "1"),
    (ColumnDrift("Value", "private@example.com", "secret@example.com"), ColumnDrift("Type", "mail", None)),
)
FINDINGS = [
    DriftFinding("C-0", 0, "e-0", Status.OK),
    DriftFinding("C-1", 0, "e-1", Status.DRIFTED, "only in part [bold]", in_part=True, drift=(DRIFT,)),
    DriftFinding("C-2", 1, "e-2", Status.PARTIAL, "a NEW", in_part=True),
    DriftFinding("C-3", 1, None, Status.PENDING, "waits"),
    DriftFinding("C-4", 1, "e-4", Status.ERROR, "CMT-TIMEOUT: no answer"),
    DriftFinding(
        "C-5",
        1,
        "e-5",
        Status.REPAIRED,
        None,
        drift=(DRIFT,),
        writes=(RepairWrite("upsert", EntityType.PET, ("C-5", "[1]")),),
    ),
]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("KAFKA_", "CMT_", "SYNC_")):
            monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["verify", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--all", "--since", "1d"),
        ("--all", "--consumer", "C"),
        ("--consumer", "C", "--since", "1d"),
        ("--repair",),
        ("--all", "--outcome", "partial"),
        ("--consumer", "C", "--outcome", "partial"),
    ],
)
def test_exactly_one_way_to_name_the_consumers_is_needed(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert "one of --consumer, --since, --outcome, --all" in done.stderr


def test_it_asks_for_kafka_and_then_for_marketing_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("--all")
    assert (done.exit_code, done.stderr) == (2, "KAFKA_BOOTSTRAP_SERVERS: is required but not set\n")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    done = run("--all")
    assert done.exit_code == 2
    assert "CMT_AUTH_URL: is required" in done.stderr


def test_since_is_a_day_or_an_age() -> None:
    assert since_time("2026-11-22", NOW) == int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
    assert since_time("5m", NOW) == int(NOW.timestamp() * 1000) - 300_000
    assert since_time("24h", NOW) == since_time("1d", NOW) == int(NOW.timestamp() * 1000) - 86_400_000


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7w", "-1d", "2026-13-01", "20261122", "99999d99", "1.5h"])
def test_since_is_nothing_else(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--since takes"):
        since_time(text, NOW)


def test_since_before_all_times_is_the_first_time() -> None:
    assert since_time("99999d", NOW) == 0


def test_the_document_counts_and_masks() -> None:
    found = document(FINDINGS, show_values=False)
    numbers = {name: value for name, value in found.items() if name != "consumers"}
    assert numbers == {"checked": 4, "partial": 2, "pending": 1, "drifted": 1, "repaired": 1, "errors": 1, "noHome": 0}
    assert found["consumers"][1] == {
        "consumerId": "C-1",
        "partition": 0,
        "event": "e-1",
        "status": "drifted",
        "note": "only in part [bold]",
        "drift": [
            {
                "entity": "contact",
                "kind": "different",
                "key": ["C-1", "1"],
                "columns": [
                    {"column": "Value", "expected": "***", "held": "***"},
                    {"column": "Type", "expected": "***", "held": None},
                ],
                "note": None,
            }
        ],
        "writes": [],
    }
    assert "example.com" not in json.dumps(found)
    assert "secret@example.com" in json.dumps(document(FINDINGS, show_values=True))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    def text(*, show_values: bool) -> str:
        monkeypatch.setenv("COLUMNS", "200")
        verify_report.show(FINDINGS, show_values=show_values)
        return capsys.readouterr().out

    return text


def test_people_see_drift_writes_reasons_and_numbers_but_no_values(shown: Shown) -> None:
    text = shown(show_values=False)
    assert "example.com" not in text
    assert "C-1/1" in text
    assert "Value  Type" in text
    assert "C-5/[1]" in text
    assert "drifted: C-1: only in part [bold]" in text
    assert "pending: C-3: waits" in text
    assert "error: C-4: CMT-TIMEOUT: no answer" in text
    assert "checked 4 consumers (in part 2), drifted 1, repaired 1, pending 1, errors 1" in text


def test_people_see_why_columns_are_not_known(monkeypatch: pytest.MonkeyPatch, shown: Shown) -> None:
    drift = Drift(EntityType.PET, DriftKind.DIFFERENT, ("C-1", "P-1"), note=WHICH_COLUMNS)
    lost = DriftFinding("C-1", 0, "e-1", Status.DRIFTED, drift=(drift,))
    monkeypatch.setattr(sys.modules[__name__], "FINDINGS", [lost])
    assert WHICH_COLUMNS in " ".join(shown(show_values=True).split())
    assert document([lost], show_values=False)["consumers"][0]["drift"][0]["note"] == WHICH_COLUMNS


def test_people_see_values_when_they_ask_for_them(shown: Shown) -> None:
    text = shown(show_values=True)
    assert "Value: secret@example.com instead of private@example.com" in text
    assert "Type: nothing instead of mail" in text


def test_markets_without_a_place_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [
        DriftFinding(f"C-{n}", 0, "e", Status.NO_HOME, f"market {'XX' if n else 'YY'} is not listed") for n in range(9)
    ]
    verify_report.show(findings, show_values=False)
    out = capsys.readouterr().out
    assert out.count("market XX is not listed") == out.count("market YY is not listed") == 1
    assert "not checked: 8 of the consumers: market XX is not listed" in out
    assert "errors 0, without a home 9" in out
    assert (document(findings, show_values=False)["checked"], document(findings, show_values=False)["noHome"]) == (0, 9)
