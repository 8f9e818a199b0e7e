"""Alerts travel as JSON and are told apart by fingerprint."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.incidents.alert import Alert, AlertKind, UnreadableAlert

ALERT = Alert("CMT-TIMEOUT", "pet", "UPDATE", "DE", "3-17", "1f0a2b", "no answer for '***'", 1_763_000_000_000)


@settings(deadline=None)
@given(st.text(), st.text(), st.integers(), st.sampled_from(AlertKind))
def test_an_alert_arrives_as_it_was_sent(message: str, market: str, at_ms: int, kind: AlertKind) -> None:
    alert = replace(ALERT, message=message, market=market, at_ms=at_ms, kind=kind)
    assert Alert.from_bytes(alert.to_bytes()) == alert


def test_one_incident_is_about_reason_entity_and_operation() -> None:
    other = replace(ALERT, market="FR", event_id="0-1", consumer="x", message="y", at_ms=1, kind=AlertKind.RESOLVE)
    assert other.fingerprint == ALERT.fingerprint == "profile-sync:CMT-TIMEOUT:pet:UPDATE"
    for changed in (replace(ALERT, reason="X"), replace(ALERT, entity="X"), replace(ALERT, operation="X")):
        assert changed.fingerprint != ALERT.fingerprint


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_a_fingerprint_can_stand_in_a_query_and_in_the_ticket_field(reason: str, entity: str, operation: str) -> None:
    fingerprint = replace(ALERT, reason=reason, entity=entity, operation=operation).fingerprint
    assert not set(fingerprint) & set("^,= &@'\n")
    assert fingerprint.count(":") == 3
    assert len(fingerprint) <= 100


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        ALERT.to_bytes().replace(b'"market"', b'"makret"'),
        ALERT.to_bytes().replace(b"1763000000000", b'"now"'),
        ALERT.to_bytes().replace(b"1763000000000", b"true"),
        ALERT.to_bytes().replace(b'"open"', b'"shut"'),
        ALERT.to_bytes()[:-1],
    ],
)
def test_what_is_no_alert_is_refused(value: bytes | None) -> None:
    with pytest.raises(UnreadableAlert):
        Alert.from_bytes(value)
