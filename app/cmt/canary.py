"""Calls that belong to no event: they show whether anything gets through, and what is allowed.

They are about a parent key that nobody has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.cmt.errors import CallFailed
from app.cmt.results import RowResult
from app.cmt.rights import Right
from app.delivery.errors import CMT_PERMISSION, lookup
from app.delivery.permit import Permit
from app.profile.entities import Catalog, EntityType, Row

# Too long for a consumer's ID, and says what it is to whoever finds it in a log of the other side.
NOBODY = "profile-sync-asks-whether-anything-gets-through-0f6a7c1e5b9d4e0f"


class Calls(Protocol):
    """The calls that are made."""

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> Sequence[RowResult]: ...

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit) -> Sequence[Row]: ...


class _Throttled(Exception):
    """The call would have to wait."""


class _NoWait:
    def __call__(self) -> None:
        """Go on."""

    async def wait(self, seconds: float) -> None:
        """Do not."""
        raise _Throttled

    def may_land_late(self, seconds: float) -> None:
        """Only reads are made."""


async def gets_through(client: Calls) -> bool:
    """Whether a Retrieve is answered. An error in its OverallStatus counts as an answer, and so does throttling.

    A refusal of the call as a whole does not count: there is no event that it could be the fault of.
    """
    try:
        await client.retrieve(EntityType.CONSUMER, NOBODY, permit=_NoWait())
    except CallFailed as failed:
        entry = lookup(failed.error.code)
        return not (entry.transport or entry.doubtful)
    except _Throttled:
        return True
    return True


async def allows(client: Calls, catalog: Catalog, right: Right, permit: Permit) -> bool:
    """Whether the account has a right at all, as shown by the parent's data extension.

    Raises:
        CallFailed: that could not be found out.
    """
    nobody: Row = dict.fromkeys(catalog[EntityType.CONSUMER].primary_key, NOBODY)
    try:
        if right is Right.READ:
            await client.retrieve(EntityType.CONSUMER, NOBODY, permit=permit)
            return True
        (result,) = await client.delete([(EntityType.CONSUMER, nobody)], permit=permit)
    except CallFailed as failed:
        if failed.error.code == CMT_PERMISSION.code:
            return False
        raise
    return result.code != CMT_PERMISSION.code
