"""The incident table of ServiceNow: numbers, states, work notes, and the encoded queries that find an incident.

Vendor pages "Table API" and "Encoded query strings". All values are text, as the Table API gives them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_FIRST_NUMBER = 10001
_NEW = "1"
# Longest operators first, so that "!=" is not read as "=" or NOT IN as IN.
_CONDITION = re.compile(
    r"(?P<field>[a-z_][a-z0-9_]*)(?P<operator>!=|=|NOT IN|IN|NOT LIKE|LIKE|STARTSWITH|ISEMPTY|ISNOTEMPTY)(?P<value>.*)",
    re.DOTALL,
)
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "=": lambda held, wanted: held == wanted,
    "!=": lambda held, wanted: held != wanted,
    "IN": lambda held, wanted: held in wanted.split(","),
    "NOT IN": lambda held, wanted: held not in wanted.split(","),
    "LIKE": lambda held, wanted: wanted.lower() in held.lower(),
    "NOT LIKE": lambda held, wanted: wanted.lower() not in held.lower(),
    "STARTSWITH": lambda held, wanted: held.lower().startswith(wanted.lower()),
    "ISEMPTY": lambda held, _: not held,
    "ISNOTEMPTY": lambda held, _: bool(held),
}


class QueryError(ValueError):
    """A part of sysparm_query that the simulator does not know. (ServiceNow itself ignores such parts.)"""


@dataclass(slots=True)
class HeldIncident:
    """One incident: its fields, and its work notes oldest first."""

    fields: dict[str, str]
    work_notes: list[str] = field(default_factory=list)

    def as_record(self) -> dict[str, str]:
        """The incident as the Table API shows it: work notes as one text, newest first."""
        return self.fields | {"work_notes": "\n\n".join(reversed(self.work_notes))}

    def as_document(self) -> dict[str, Any]:
        """The incident as /_sim shows it: work notes as a list, oldest first."""
        return self.fields | {"work_notes": list(self.work_notes)}


class IncidentTable:
    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._incidents: dict[str, HeldIncident] = {}
        self._next_number = _FIRST_NUMBER

    def __len__(self) -> int:
        return len(self._incidents)

    def create(self, sent: Mapping[str, Any]) -> HeldIncident:
        stamp = self._stamp()
        incident = HeldIncident(
            {
                "sys_id": uuid.uuid4().hex,
                "number": f"INC{self._next_number:07}",
                "state": _NEW,
                "active": "true",
                "impact": "3",
                "urgency": "3",
                "sys_created_on": stamp,
                "opened_at": stamp,
            }
        )
        self._next_number += 1
        self._incidents[incident.fields["sys_id"]] = incident
        self._set(incident, sent)
        return incident

    def update(self, sys_id: str, sent: Mapping[str, Any]) -> HeldIncident | None:
        incident = self._incidents.get(sys_id)
        if incident is not None:
            self._set(incident, sent)
        return incident

    def get(self, sys_id: str) -> HeldIncident | None:
        return self._incidents.get(sys_id)

    def query(self, encoded: str) -> list[HeldIncident]:
        """All matching incidents, in the requested order or else oldest first. Raises QueryError."""
        found = list(self._incidents.values())
        orders: list[tuple[str, bool]] = []
        for part in filter(None, encoded.split("^")):
            if part.startswith("ORDERBY"):
                descending = part.startswith("ORDERBYDESC")
                orders.append((part.removeprefix("ORDERBYDESC" if descending else "ORDERBY"), descending))
                continue
            match = _CONDITION.fullmatch(part)
            if match is None:
                raise QueryError(f"sysparm_query: cannot read {part!r}; known are conditions joined by ^, ORDERBY")
            name, operator, wanted = match.group("field", "operator", "value")
            found = [incident for incident in found if _TESTS[operator](incident.fields.get(name, ""), wanted)]
        for name, descending in reversed(orders):
            found.sort(key=lambda incident, name=name: incident.fields.get(name, ""), reverse=descending)  # type: ignore[misc]
        return found

    def all(self) -> list[HeldIncident]:
        return list(self._incidents.values())

    def clear(self) -> None:
        self._incidents.clear()
        self._next_number = _FIRST_NUMBER

    def _set(self, incident: HeldIncident, sent: Mapping[str, Any]) -> None:
        fields = incident.fields
        for name, value in sent.items():
            if name == "work_notes":
                if value:
                    incident.work_notes.append(str(value))
            elif name not in ("sys_id", "number", "sys_created_on"):
                fields[name] = _as_text(value)
        if fields["impact"].isdecimal() and fields["urgency"].isdecimal():
            # ServiceNow's default lookup: impact 1 with urgency 1 is priority 1, 3 with 3 is priority 5.
            fields["priority"] = str(max(1, int(fields["impact"]) + int(fields["urgency"]) - 1))
        # Resolved incidents (6) stay active; closed (7) and cancelled (8) ones do not.
        fields["active"] = "false" if fields["state"] in ("7", "8") else "true"
        fields["sys_updated_on"] = self._stamp()

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%d %H:%M:%S")


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
