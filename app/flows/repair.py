"""The writes that restore the rows of one consumer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.cmt.call import always
from app.cmt.client import CmtClient
from app.cmt.errors import CallFailed
from app.delivery.errors import CMT_ROW_ERROR
from app.delivery.permit import Permit
from app.profile.diff import EntityRow
from app.profile.entities import Catalog
from app.profile.holdings.drift import RowComparison
from app.profile.holdings.findings import Action, RepairWrite
from app.profile.keys import batches, identity, key_of

NOT_SENT = "not sent: one before it failed"
DRY_RUN = "not sent: SYNC_DRY_RUN"


async def repair(
    needed: RowComparison,
    client: CmtClient,
    tables: Catalog,
    *,
    batch_size: int,
    dry_run: bool,
    permit: Permit = always,
) -> tuple[RepairWrite, ...]:
    """Send the writes that a comparison calls for, at most ``batch_size`` rows in a call. A failed call is not raised.

    The order is that of an UPDATE: delete rows whose key is spelled differently, post the parent, post entity rows,
    delete surplus rows, the parent row last. After a failure, none of the later steps is sent.
    """
    done: list[RepairWrite] = []
    for action, rows in _stages(needed):
        if dry_run or any(write.problem for write in done):
            done += [_write(action, row, tables, DRY_RUN if dry_run else NOT_SENT) for row in rows]
            continue
        for batch in batches(rows, batch_size, lambda row: identity(row[0], row[1], tables[row[0]])):
            done += await _send(action, batch, client, tables, permit)
    return tuple(done)


def _stages(needed: RowComparison) -> Iterator[tuple[Action, Sequence[EntityRow]]]:
    """Parent and entity rows separately: the parent is written before, and deleted after, the others."""
    yield "delete", needed.delete_first
    yield "upsert", [row for row in needed.upserts if row[0].is_parent]
    yield "upsert", [row for row in needed.upserts if not row[0].is_parent]
    yield "delete", [row for row in needed.delete_last if not row[0].is_parent]
    yield "delete", [row for row in needed.delete_last if row[0].is_parent]


async def _send(
    action: Action, rows: Sequence[EntityRow], client: CmtClient, tables: Catalog, permit: Permit
) -> list[RepairWrite]:
    call = client.upsert if action == "upsert" else client.delete
    writes = [_write(action, row, tables) for row in rows]
    try:
        results = await call(rows, permit=permit)
    except CallFailed as failed:
        return [replace(write, problem=str(failed)) for write in writes]
    return [
        write if result.ok else replace(write, problem=f"{result.code or CMT_ROW_ERROR.code}: {result.message or ''}")
        for write, result in zip(writes, results, strict=True)
    ]


def _write(action: Action, row: EntityRow, tables: Catalog, problem: str | None = None) -> RepairWrite:
    entity, values = row
    return RepairWrite(action, entity, key_of(values, tables[entity]), problem)
