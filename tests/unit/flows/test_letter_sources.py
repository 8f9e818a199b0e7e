"""What the owner of partition 0 removes from the tasks topic."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Action, Note, OperatorTask, Selection, TaskEnd, TaskKey
from app.delivery.values_shown import ShownKey, ValuesShown
from app.flows.letter_sources import FollowedTasks
from app.readmodels import ReadModels
from tests.unit.readmodels.test_audit_index import Audit
from tests.unit.readmodels.test_letter_index import PIPELINE


def test_ended_tasks_and_records_of_shown_values_are_removed_in_time(tmp_path: Path) -> None:
    case, one = Audit(tmp_path), LetterId(0, 1)
    task = OperatorTask("t", Action.REDRIVE, Selection((one,)), 10, "ann", matched={0: 1})
    case.say(
        (TaskKey("t"), task),
        (TaskKey("t", "end", 0), TaskEnd(20)),
        (TaskKey("running"), task),
        (ShownKey("old"), ValuesShown("ann", 30, (one,))),
        (ShownKey("new"), ValuesShown("ann", 60, (one,))),
        (TaskKey("young"), task),
        (TaskKey("young", "cancel"), Note("ann", 70)),
    )
    models = cast(ReadModels, SimpleNamespace(tasks=case.tasks, audit=case.audit))
    forgettable = FollowedTasks(PIPELINE, models).forgettable(50)
    assert [list(keys) for keys in forgettable] == [[b"t|end|0", b"t"], [b"shown|old"]]
    case.store.close()
