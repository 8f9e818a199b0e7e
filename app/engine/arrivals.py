"""How an agent takes records from its queue: one loop for every topic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.delivery.record import SourceRecord

# Records that an agent takes before other tasks may run.
TAKEN_AT_A_TIME = 100

# A record, the generation in which it was fetched, and the number of its partition's log (``Ledger.logs``).
Arrival = tuple[SourceRecord, int, int]


async def handle_arrivals(inbox: asyncio.Queue[Arrival], handle: Callable[[Arrival], Awaitable[None]]) -> None:
    """Hand every record to its topic's handler, one after the other, until Faust ends the agent.

    This reads the queue of Faust's stream. The stream's own iteration acknowledges, counts and tracks each event. That
    is the ledger's work here, and it costs as much as all the rest of the way through Faust.
    """
    while True:
        try:
            arrival = await inbox.get()
        except StopAsyncIteration:
            return  # Faust throws it into the queue to end the agent
        await handle(arrival)
        for _ in range(TAKEN_AT_A_TIME):
            if inbox.empty():
                break
            try:
                arrival = inbox.get_nowait()
            except StopAsyncIteration:
                return
            await handle(arrival)
        else:
            await asyncio.sleep(0)
