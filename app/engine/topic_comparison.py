"""Compares the topics with the partition records every minute, and soon after a partition got another leader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from app.engine.claims import Position
from app.engine.flow import TopicsUnknown
from app.engine.ownership import Ownership
from app.observe.reminder import Reminder

log = structlog.get_logger(__name__)

# Between two comparisons. The first one comes soon: two workers that started together may work on two topics.
COMPARE_SECONDS = 60.0
FIRST_COMPARISON_SECONDS = 5.0
# After a partition got another leader: the other partitions of that leader follow soon, and share the comparison.
SOON_SECONDS = 1.0


async def compare_topics(ownership: Ownership, fetched_upto: Position, crash: Callable[[BaseException], None]) -> None:
    """Compare until cancelled, or until the topics turn out to be others.

    Args:
        fetched_upto: the next offset to fetch of a partition.
        crash: ends the worker.
    """
    wait, reminder = FIRST_COMPARISON_SECONDS, Reminder()
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await ownership.logs.comparison_due.wait()
                await asyncio.sleep(SOON_SECONDS)
        wait = COMPARE_SECONDS
        if not ownership.ready:
            wait = FIRST_COMPARISON_SECONDS
            continue
        try:
            await ownership.logs.check(fetched_upto)
            reminder.over()
        except TopicsUnknown as error:
            wait = FIRST_COMPARISON_SECONDS if ownership.logs.pinned else COMPARE_SECONDS
            if reminder.due():
                log.warning("cannot compare the topics with the state, trying again", reason=str(error))
        except Exception as error:  # noqa: BLE001 - other topics, or a bug: nothing may be skipped unnoticed
            crash(error)
            return
