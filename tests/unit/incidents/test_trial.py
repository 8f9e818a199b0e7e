"""The test incident of ``check``: one is opened and resolved, and what could not be done is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from app.delivery.installation import PartState
from app.flows.incident_check import trial_line
from app.incidents.tickets import Incident, TicketError
from app.incidents.trial import Trial, open_and_resolve


@dataclass
class Instance:
    """A ticket system with as few rights as a test wants."""

    earlier: Incident | None = None
    readable: bool = True
    resolvable: bool | TicketError = True
    created: list[Mapping[str, str]] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)

    async def find_open(self, correlation_id: str) -> Incident | None:
        assert correlation_id == "g:CHECK:-:-"
        return self.earlier

    async def is_open(self, incident: Incident) -> bool | None:
        return True if self.readable else None

    async def create(self, fields: Mapping[str, str]) -> Incident:
        self.created.append(fields)
        return Incident("new", "INC2")

    async def add_work_note(self, incident: Incident, text: str) -> None:
        raise AssertionError("resolving adds the note")

    async def resolve(self, incident: Incident, text: str) -> bool:
        if isinstance(self.resolvable, TicketError):
            raise self.resolvable
        self.resolved.append(incident.number)
        return self.resolvable


async def test_one_incident_is_opened_and_resolved() -> None:
    instance = Instance()
    trial = await open_and_resolve(instance, "g", "Campaigns")
    assert trial == Trial("INC2", readable=True, resolved=True)
    assert instance.resolved == ["INC2"]
    (fields,) = instance.created
    assert (fields["correlation_id"], fields["assignment_group"]) == ("g:CHECK:-:-", "Campaigns")
    assert (fields["impact"], fields["urgency"]) == ("3", "3")
    assert trial_line(trial).state is PartState.OK


async def test_one_that_an_interrupted_test_left_is_resolved_too() -> None:
    instance = Instance(earlier=Incident("old", "INC1"))
    await open_and_resolve(instance, "g", None)
    assert instance.resolved == ["INC1", "INC2"]
    assert "assignment_group" not in instance.created[0]


@pytest.mark.parametrize(
    ("instance", "said"),
    [
        (Instance(resolvable=False), "INC2 was opened, but not resolved, only a note was added."),
        (Instance(resolvable=TicketError("HTTP 403")), "INC2 was opened, but not resolved: HTTP 403."),
        (Instance(readable=False), "INC2 was opened and resolved, but the user may not read it."),
    ],
)
async def test_what_the_user_may_not_do_is_wrong(instance: Instance, said: str) -> None:
    line = trial_line(await open_and_resolve(instance, "g", None))
    assert line.state is PartState.WRONG
    assert said in line.message
    assert line.remedy
