"""Faust's own tasks: whether all of them still run.

A Faust service that crashes marks its parents and waits for a supervisor, which this program does not have. A service
whose task just returns (recovery does so when Kafka takes too long) reports nothing at all. In both cases nothing more
would be read, and no probe would notice.
"""

from __future__ import annotations

from collections.abc import Iterator

import faust
from mode import Service

from app.engine.context import EngineStopped

# The tasks that must run. Others end when they have nothing to do.
NEEDED = frozenset(
    {
        "_commit_handler",
        "_fetcher",
        "_method_queue_do_work",
        "_restart_recovery",
        "_slurp_changelogs",
        "_subscriber",
        "_watch",
    }
)

WHAT_TO_DO = "Nothing is lost; start the worker again. If it comes back, report it with the log"


class FaustTasks:
    """Looks at the services of an app, about once a second."""

    def __init__(self, app: faust.App) -> None:
        self._app = app
        self._suspects: set[tuple[str, str]] = set()

    def check(self) -> None:
        """Check that every task that must run does.

        Raises:
            EngineStopped: one has ended.
        """
        if self._app.crashed:
            reason = self._app.crash_reason
            if isinstance(reason, EngineStopped):
                raise reason
            raise EngineStopped(f"Faust has crashed ({reason!r}): nothing more would be read. {WHAT_TO_DO}") from reason
        gone = set(self._gone())
        # Twice in a row: a service that is just starting has no tasks yet.
        if ended := sorted(gone & self._suspects):
            names = ", ".join(f"{task} of {service}" for service, task in ended)
            raise EngineStopped(f"a task of Faust has ended without a word ({names}). {WHAT_TO_DO}")
        self._suspects = gone

    def _gone(self) -> Iterator[tuple[str, str]]:
        for node in self._app.beacon.traverse():
            service = getattr(node, "data", None)  # a client hangs there without a node
            if not isinstance(service, Service) or not service.started or service.should_stop:
                continue
            wanted = NEEDED & {task.fun.__name__ for task in service._get_tasks()}
            if not wanted:
                continue
            try:
                running = {future.__wrapped__.__name__ for future in list(service._futures) if not future.done()}
            except RuntimeError:  # the service's own thread has just changed them
                continue
            for name in wanted - running:
                yield service.label, name
