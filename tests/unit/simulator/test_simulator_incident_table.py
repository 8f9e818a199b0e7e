"""Encoded queries and the state of incidents."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.simulator.incidents import IncidentTable, QueryError


def table(*sent: dict[str, object]) -> IncidentTable:
    made = IncidentTable(lambda: datetime(2026, 11, 21, 10, 0, tzinfo=UTC))
    for fields in sent:
        made.create(fields)
    return made


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["1", "2", "3"]),
        ("u_n=2", ["2"]),
        ("u_n!=2", ["1", "3"]),
        ("u_nIN1,3", ["1", "3"]),
        ("u_nNOT IN1,3", ["2"]),
        ("short_descriptionLIKEBROKE", ["1", "2"]),
        ("short_descriptionNOT LIKEbroke", ["3"]),
        ("short_descriptionSTARTSWITHit b", ["1"]),
        ("u_noteISEMPTY", ["1", "3"]),
        ("u_noteISNOTEMPTY", ["2"]),
        ("u_n!=1^ORDERBYDESCnumber", ["3", "2"]),
        ("ORDERBYshort_description", ["2", "1", "3"]),
        ("stateNOT IN6,7,8", ["1", "2"]),
    ],
)
def test_queries(query: str, found: list[str]) -> None:
    made = table(
        {"u_n": 1, "short_description": "it broke"},
        {"u_n": 2, "short_description": "broke again", "u_note": "x"},
        {"u_n": 3, "short_description": "mended", "state": 6},
    )
    assert [incident.fields["u_n"] for incident in made.query(query)] == found


@pytest.mark.parametrize("query", ["u_n", "u_n=1^ORu_n=2", "u_n=1^NQu_n=2", "javascript:gs.now()"])
def test_conditions_that_are_not_known_are_refused(query: str) -> None:
    with pytest.raises(QueryError):
        table().query(query)


def test_resolved_incidents_are_active_closed_ones_are_not() -> None:
    made = table({})
    (incident,) = made.all()
    seen = []
    for state in (2, 6, 7, 8):
        made.update(incident.fields["sys_id"], {"state": state})
        seen.append(incident.fields["active"])
    assert seen == ["true", "true", "false", "false"]


def test_an_update_changes_what_it_names_but_not_number_and_id() -> None:
    made = table({"short_description": "a", "urgency": 1})
    (incident,) = made.all()
    made.update(
        incident.fields["sys_id"], {"number": "INC1", "sys_id": "x", "urgency": 2, "u_flag": True, "u_none": None}
    )
    assert incident.fields["number"] == "INC0010001"
    assert (incident.fields["short_description"], incident.fields["priority"]) == ("a", "4")
    assert (incident.fields["u_flag"], incident.fields["u_none"]) == ("true", "")
    assert made.get("x") is None
    assert incident.fields["sys_updated_on"] == "2026-11-21 10:00:00"
