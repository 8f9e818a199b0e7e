"""Alerts travel as JSON and are told apart by fingerprint."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.delivery.alert import (
    CORRELATION_LENGTH,
    LAST_MOMENT_MS,
    LONGEST_TEXT,
    MOST_WAITING,
    Alert,
    AlertKind,
    Severity,
    UnreadableAlert,
    correlation_id,
)

ALERT = Alert("CMT-TIMEOUT", "pet", "UPDATE", "DE", "3-17", "1f0a2b", "no answer for '***'", 1_763_000_000_000)
MOMENTS = st.integers(0, LAST_MOMENT_MS)

# As the version before severities wrote it.
OLD = (
    b'{"kind": "open", "reason": "%s", "entity": "event", "operation": "-", "market": "-", "eventId": "",'
    b' "consumer": "", "message": "m", "at": 1763000000000}'
)


@settings(deadline=None)
@given(
    st.text(),
    MOMENTS,
    st.sampled_from(AlertKind),
    st.sampled_from(Severity),
    st.none() | MOMENTS,
    st.integers(0, MOST_WAITING),
)
def test_an_alert_arrives_as_it_was_sent(
    text: str, at_ms: int, kind: AlertKind, severity: Severity, since_ms: int | None, waiting: int
) -> None:
    alert = replace(ALERT, message=text, market=text, at_ms=at_ms, kind=kind)
    alert = replace(alert, severity=severity, since_ms=since_ms, waiting=waiting)
    assert Alert.from_bytes(alert.to_bytes()) == alert


def test_one_incident_is_about_reason_entity_and_operation() -> None:
    other = replace(ALERT, market="FR", event_id="0-1", consumer="x", message="y", at_ms=1, kind=AlertKind.RESOLVE)
    assert other.fingerprint == ALERT.fingerprint == "CMT-TIMEOUT:pet:UPDATE"
    for changed in (replace(ALERT, reason="X"), replace(ALERT, entity="X"), replace(ALERT, operation="X")):
        assert changed.fingerprint != ALERT.fingerprint


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_a_fingerprint_can_stand_in_a_query_and_in_the_ticket_field(reason: str, entity: str, operation: str) -> None:
    fingerprint = replace(ALERT, reason=reason, entity=entity, operation=operation).fingerprint
    assert not set(fingerprint) & set("^,= &@'\n")
    assert fingerprint.count(":") == 2
    for group in ("g", "a-group-of-two-hundred-characters" * 6):
        correlation = correlation_id(group, fingerprint)
        assert correlation.endswith(f":{fingerprint}")
        assert len(correlation) <= CORRELATION_LENGTH


def test_two_groups_never_have_the_same_correlation_id() -> None:
    fingerprint = replace(ALERT, reason="R" * 40, entity="E" * 40, operation="O" * 40).fingerprint
    groups = ["profile-sync", "profile-sync-dry", "profile-sync-dry-run-of-germany", "profile-sync-dry-run-of-france"]
    assert len({correlation_id(group, fingerprint) for group in groups}) == len(groups)


@pytest.mark.parametrize(
    ("severity", "priority"),
    [
        (Severity.OUTAGE, ("1", "1")),
        (Severity.THROTTLING, ("2", "1")),
        (Severity.FAILED, ("2", "2")),
        (Severity.INVALID, ("3", "2")),
    ],
)
def test_how_bad_it_is(severity: Severity, priority: tuple[str, str]) -> None:
    assert (severity.impact, severity.urgency) == priority


def test_records_of_earlier_versions_are_read() -> None:
    outage, other = (Alert.from_bytes(OLD % reason) for reason in (b"CMT-OUTAGE", b"CMT-TIMEOUT"))
    assert (outage.severity, outage.since_ms, outage.waiting) == (Severity.OUTAGE, None, 0)
    assert (other.severity, other.began_ms) == (Severity.FAILED, 1_763_000_000_000)


def test_the_cause_is_never_later_than_its_alert() -> None:
    assert replace(ALERT, since_ms=ALERT.at_ms - 5).began_ms == ALERT.at_ms - 5
    assert replace(ALERT, since_ms=ALERT.at_ms + 5).began_ms == ALERT.at_ms


def test_what_cannot_be_written_as_text_does_not_make_an_alert_unreadable() -> None:
    alert = Alert.from_bytes(replace(ALERT, message="cut \ud800 off", market="x" * 30_000).to_bytes())
    assert alert.message == "cut ? off"
    assert len(alert.market) == LONGEST_TEXT


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
        b"[" * 200_000,
        b'{"a":' * 200_000,
        ALERT.to_bytes().replace(b"1763000000000", b"9" * 400),
        ALERT.to_bytes().replace(b"1763000000000", b"253402300800000000"),
        ALERT.to_bytes().replace(b"1763000000000", b"-1"),
        ALERT.to_bytes().replace(b'"since":null', b'"since":1e300'),
        ALERT.to_bytes().replace(b'"waiting":0', b'"waiting":-1'),
        ALERT.to_bytes().replace(b'"failed"', b'{"x":[]}'),
        ALERT.to_bytes().replace(b'"DE"', b'"%s"' % (b"x" * 1_000_000)),
        ALERT.to_bytes().replace(b'"DE"', b'"\\ud800"'),
    ],
)
def test_what_is_no_alert_is_refused(value: bytes | None) -> None:
    with pytest.raises(UnreadableAlert):
        Alert.from_bytes(value)
