"""File descriptors: whether a worker may open as many as it needs.

Too few of them look like a target that cannot be reached, a damaged read model or a broker that is away. So the worker
reports it at the start, in one line.
"""

from __future__ import annotations

import resource

from app.settings import WorkerSettings
from app.web.connections import CONNECTIONS_MOST

# Kafka's connections (three clients, a few to each broker), files of the read model, the loops' own.
OTHERS = 120


class TooFewDescriptors(Exception):
    """The process may not open as many as it needs; the text says how many that is."""


def descriptors_needed(settings: WorkerSettings, accounts: int) -> int:
    """How many a worker may need: one for each call, one for each client of the web server, and others."""
    return settings.sync.concurrency * accounts + CONNECTIONS_MOST + OTHERS


def allow_descriptors(needed: int) -> None:
    """Raise the process's own (soft) limit as far as it takes.

    Raises:
        TooFewDescriptors: the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TooFewDescriptors(
            f"this worker may need {needed} open files and connections at a time, and may have {hard}: raise the limit "
            "(`ulimit -n`, LimitNOFILE= of systemd, `ulimits` of a container), or lower SYNC_CONCURRENCY"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
