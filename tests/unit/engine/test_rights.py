"""Missing rights: named while they are refused, gone when they are not refused any more."""

from __future__ import annotations

import structlog

from app.engine.rights import COUNTS_SECONDS, Rights


def test_a_right_counts_as_missing_until_it_was_not_refused_for_a_while() -> None:
    now = [0.0]
    rights = Rights(lambda: now[0])
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            rights.refused("READ", "topic main")
            now[0] += 1
        assert rights.missing() == ["the right READ on topic main is missing"]
        now[0] += COUNTS_SECONDS - 1
        assert rights.missing() != []
        now[0] += 0.1
        assert rights.missing() == []
    assert [entry["log_level"] for entry in logs] == ["error", "info"]
    assert logs[0]["right"] == "READ on topic main"
    assert "ACL" in logs[0]["remedy"]


def test_rights_are_told_apart() -> None:
    rights = Rights()
    rights.refused("READ", "topic main")
    rights.refused("READ", "group sync")
    rights.absent("retry")
    assert [text.split(" is")[0] for text in rights.missing()] == [
        "the right READ on group sync",
        "the right READ on topic main",
        "topic retry does not exist",
    ]
