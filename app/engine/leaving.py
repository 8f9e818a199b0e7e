"""Leaving the consumer group within seconds, whatever the group is doing.

A join waits for all other members, including one that is stuck. Meanwhile the broker answers nothing else on that
connection. So the last request, LeaveGroup, goes over the connection that records come by. Written against aiokafka
0.14.0, pinned.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import structlog
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, for_code
from aiokafka.protocol.group import LeaveGroupRequest

log = structlog.get_logger(__name__)

# How long a stop waits for aiokafka to leave the group. It is not essential: a member that has not said that it leaves
# is removed when its session ends.
GOODBYE_SECONDS = 3.0
LAST_WORD_SECONDS = 1.0


async def leave_soon(consumer: Any, stop: Coroutine[Any, Any, None]) -> None:
    """Stop the consumer.

    Args:
        consumer: aiokafka's.
        stop: its own way to stop, which may wait for the group.
    """
    coordinator = consumer._coordinator
    member = coordinator.member_id if coordinator is not None else ""
    stopping = asyncio.create_task(stop)
    await asyncio.wait((stopping,), timeout=GOODBYE_SECONDS)
    if stopping.done() and not stopping.cancelled():
        stopping.result()
        return
    stopping.cancel()  # may be done already: without a broker, aiokafka's own tasks cancel it
    await _say_goodbye(consumer, coordinator, member)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORD_SECONDS):
            await consumer._client.close()


async def _say_goodbye(consumer: Any, coordinator: Any, member: str) -> None:
    if coordinator is None or coordinator._group_instance_id is not None:
        return  # never joined, or a static member, which leaves without saying so
    try:
        if not member or coordinator.coordinator_id is None:
            raise GroupCoordinatorNotAvailableError
        request = LeaveGroupRequest(coordinator.group_id, member)
        async with asyncio.timeout(LAST_WORD_SECONDS):
            answer = await consumer._client.send(coordinator.coordinator_id, request)
        if answer.error_code:
            raise for_code(answer.error_code)
    except (TimeoutError, KafkaError) as error:
        log.warning(
            "stopped without leaving the group: its other members wait for the end of the session",
            error=type(error).__name__,
        )
    else:
        log.info("left the group without waiting for the end of its rebalance")
