"""What an agent gets from the consumer."""

from __future__ import annotations

from app.delivery.record import SourceRecord

# A record, the generation in which it was fetched, and the number of its partition's log (``Ledger.logs``).
Arrival = tuple[SourceRecord, int, int]
