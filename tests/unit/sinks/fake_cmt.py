"""A Marketing Cloud in memory for the sink: rows, the calls that were made, and failures on demand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from app.cmt.errors import CallError, CallFailed
from app.cmt.results import RowResult
from app.delivery.outcome import NotPermitted
from app.delivery.permit import Permit
from app.profile.entities import Catalog, EntityType, Row, as_text
from app.profile.keys import folded, folded_key
from app.profile.plan import Action

Key = tuple[str, ...]

# The request IDs of answers about which a row or a call failed.
ROW_REQUEST, CALL_REQUEST = "request-of-a-row", "request-of-a-call"


@dataclass(frozen=True, slots=True)
class Call:
    """One call: (entity, key) of each row; a retrieve has the consumer ID as its key."""

    action: Action
    rows: tuple[tuple[EntityType, Key], ...]

    def __str__(self) -> str:
        return f"{self.action} " + ", ".join(f"{entity} {'/'.join(key)}" for entity, key in self.rows)


@dataclass
class _Fault:
    action: Action
    entity: EntityType
    code: str
    key: Key | None
    whole_call: bool
    times: int
    request_id: str = ROW_REQUEST


class NotingPermit:
    """Lets calls go out, up to ``calls`` of them, and notes what may land late."""

    def __init__(self, calls: float = inf) -> None:
        self.late_seconds = 0.0
        self._calls = calls

    def __call__(self) -> None:
        if self._calls <= 0:
            raise NotPermitted
        self._calls -= 1

    async def wait(self, seconds: float) -> None:
        """Not at all."""

    def may_land_late(self, seconds: float) -> None:
        self.late_seconds = max(self.late_seconds, seconds)


@dataclass
class FakeCmt:
    """Holds rows as text, and compares keys, as the real one does. Use ``fail_row`` and ``fail_call`` to break things.

    ``retry_after``: what calls that fail as a whole say. ``late_seconds``: what writes that do tell their permit.
    ``typed``: retrieves spell values as columns of types other than text do. ``returned``: how single values come back.
    ``at_once``: retrieves that were under way at the same time, at most.
    """

    catalog: Catalog
    tables: dict[EntityType, dict[Key, dict[str, str | None]]] = field(
        default_factory=lambda: {entity: {} for entity in EntityType}
    )
    calls: list[Call] = field(default_factory=list)
    retry_after: float | None = None
    late_seconds: float = 0.0
    typed: bool = False
    at_once: int = 0
    returned: dict[str, str] = field(default_factory=dict)
    _under_way: int = 0
    _faults: list[_Fault] = field(default_factory=list)

    def fail_row(
        self, action: Action, entity: EntityType, code: str, key: Key | None = None, times: int = 10**6
    ) -> None:
        self._faults.append(_Fault(action, entity, code, key, whole_call=False, times=times))

    def fail_call(
        self, action: Action, entity: EntityType, code: str, times: int = 10**6, request_id: str = CALL_REQUEST
    ) -> None:
        fault = _Fault(action, entity, code, None, whole_call=True, times=times, request_id=request_id)
        self._faults.append(fault)

    def heal(self) -> None:
        self._faults.clear()

    def hold(self, entity: EntityType, **row: str) -> None:
        """Put a row in, as if it had always been there."""
        self.tables[entity][self._key(entity, row)] = dict(row)

    @property
    def log(self) -> list[str]:
        return [str(call) for call in self.calls]

    async def upsert(self, rows: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> list[RowResult]:
        def write(entity: EntityType, key: Key, row: Row) -> None:
            held = self.tables[entity].setdefault(key, {})
            held.update({column: as_text(value) for column, value in row.items()})
            held.update(zip(self.catalog[entity].primary_key, key, strict=True))

        return self._write(Action.UPSERT, rows, permit, write)

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> list[RowResult]:
        return self._write(Action.DELETE, keys, permit, lambda entity, key, row: self.tables[entity].pop(key, None))

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit) -> list[Row]:
        permit()
        self.calls.append(Call(Action.RETRIEVE, ((entity, (consumer_id,)),)))
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        try:
            await asyncio.sleep(0)
            self._break_call(Action.RETRIEVE, entity, permit)
        finally:
            self._under_way -= 1
        owners = {row["ConsumerId"] or "" for row in self.tables[entity].values()}
        if any(folded(owner) == folded(consumer_id) for owner in owners - {consumer_id}):
            raise CallFailed(CallError("CMT-CONSUMER-SPELLING", "held under another spelling"))
        columns = set() if not self.typed else set(self.catalog[entity].columns) - set(self.catalog[entity].primary_key)
        return [
            {
                column: _spelled(value) if column in columns else self.returned.get(value or "", value)
                for column, value in row.items()
            }
            for row in self.tables[entity].values()
            if row["ConsumerId"] == consumer_id
        ]

    def _write(
        self,
        action: Action,
        rows: Sequence[tuple[EntityType, Row]],
        permit: Permit,
        write: Callable[[EntityType, Key, Row], object],
    ) -> list[RowResult]:
        permit()
        keyed = [(entity, self._key(entity, row), row) for entity, row in rows]
        self.calls.append(Call(action, tuple((entity, key) for entity, key, _ in keyed)))
        for entity, _, _ in keyed:
            self._break_call(action, entity, permit)
        results = []
        for ordinal, (entity, key, row) in enumerate(keyed):
            fault = self._fault(action, entity, whole_call=False, key=key)
            if fault is None:
                write(entity, self._as_held(entity, key), row)
                results.append(RowResult(True, ordinal))
            else:
                results.append(
                    RowResult(False, ordinal, fault.code, f"row refused: {fault.code}", request_id=fault.request_id)
                )
        return results

    def _break_call(self, action: Action, entity: EntityType, permit: Permit) -> None:
        if fault := self._fault(action, entity, whole_call=True):
            if self.late_seconds and action is not Action.RETRIEVE:
                permit.may_land_late(self.late_seconds)
            raise CallFailed(
                CallError(fault.code, f"call failed: {fault.code}", False, self.retry_after, fault.request_id)
            )

    def _fault(self, action: Action, entity: EntityType, *, whole_call: bool, key: Key = ()) -> _Fault | None:
        for fault in self._faults:
            same = (fault.action, fault.entity, fault.whole_call) == (action, entity, whole_call)
            if same and fault.times and fault.key in (None, key):
                fault.times -= 1
                return fault
        return None

    def _as_held(self, entity: EntityType, key: Key) -> Key:
        """SQL Server takes keys that differ in case and trailing blanks for one."""
        return next((held for held in self.tables[entity] if folded_key(held) == folded_key(key)), key)

    def _key(self, entity: EntityType, row: Row) -> Key:
        return tuple(str(as_text(value)) for value in self.catalog[entity].key_of(row).values())


def _spelled(text: str | None) -> str:
    """As Marketing Cloud returns a date, a boolean, a decimal, a null."""
    if text in ("true", "false"):
        return text.capitalize()
    if found := re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", text or ""):
        year, month, day = (int(part) for part in found.groups())
        return f"{month}/{day}/{year} 12:00:00 AM"
    if re.fullmatch(r"[0-9]+\.[0-9]{1,2}", text or ""):
        return f"{text}00"
    return text or ""
