"""Calls that belong to no event. They show whether calls get through, and which rights the account has.

They use the ID of a consumer that does not exist.
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

# Too long for a real consumer's ID. It explains itself to a person who finds it in Marketing Cloud's logs.
PROBE_CONSUMER_ID = "profile-sync-asks-whether-anything-gets-through-0f6a7c1e5b9d4e0f"


class Calls(Protocol):
    """The part of the client that is used here."""

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit) -> Sequence[RowResult]: ...

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit) -> Sequence[Row]: ...


class _Throttled(Exception):
    """The call would have to wait."""


class _NoWait:
    def __call__(self) -> None:
        """Go on."""

    async def wait(self, seconds: float) -> None:
        """Refuse to wait."""
        raise _Throttled

    def may_land_late(self, seconds: float) -> None:
        """Ignore it: only reads are made."""


async def gets_through(client: Calls) -> bool:
    """Whether a Retrieve is answered. An error in its OverallStatus counts as an answer, and so does throttling.

    A refusal of the whole call does not count as an answer, because no event can have caused it.
    """
    try:
        await client.retrieve(EntityType.CONSUMER, PROBE_CONSUMER_ID, permit=_NoWait())
    except CallFailed as failed:
        entry = lookup(failed.error.code)
        return not (entry.transport or entry.doubtful)
    except _Throttled:
        return True
    return True


async def allows(client: Calls, catalog: Catalog, right: Right, permit: Permit) -> bool:
    """Whether the account has a right at all. The call is made on the parent's data extension.

    Raises:
        CallFailed: the call failed for another reason.
    """
    no_row: Row = dict.fromkeys(catalog[EntityType.CONSUMER].primary_key, PROBE_CONSUMER_ID)
    try:
        if right is Right.READ:
            await client.retrieve(EntityType.CONSUMER, PROBE_CONSUMER_ID, permit=permit)
            return True
        (result,) = await client.delete([(EntityType.CONSUMER, no_row)], permit=permit)
    except CallFailed as failed:
        if failed.error.code == CMT_PERMISSION.code:
            return False
        raise
    return result.code != CMT_PERMISSION.code
