"""Readiness: what is missing, in words for the operator and in one word for strangers."""

from __future__ import annotations

from app.observe.health import Readiness, Reason, ReasonKind


def test_readiness_names_what_is_missing() -> None:
    assert Readiness.of(None, None) == Readiness(ready=True)
    away = Reason(ReasonKind.KAFKA, "the broker is away")
    assert Readiness.of(None, away) == Readiness(ready=False, reasons=(away,))
    assert Readiness.of(None, away).texts == ["the broker is away"]


def test_strangers_learn_the_kinds_only_each_once() -> None:
    reasons = (
        Reason(ReasonKind.STATE, "still being read"),
        Reason(ReasonKind.KAFKA, "away"),
        Reason(ReasonKind.KAFKA, "no rights"),
    )
    assert Readiness.of(*reasons).kinds == ["kafka", "state"]
