"""A call to Marketing Cloud that is ready to be sent, and the permit of callers that need none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from app.cmt.results import Mask
from app.cmt.wire import Message
from app.delivery.permit import Permit
from app.delivery.value_class import value_class
from app.http.answer import Answer
from app.profile.entities import EntityType

# Labels for the observer: the result of a call that succeeded, and the operation that asks for columns.
OK = "ok"
FIELDS = "fields"

Result = TypeVar("Result")


class _Always:
    """The permit of a caller that needs none."""

    def __call__(self) -> None:
        """Go on."""

    async def wait(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def may_land_late(self, seconds: float) -> None:
        """Ignore it: no later write follows that it could overwrite."""


always: Permit = _Always()


@value_class(frozen=True, slots=True)
class SoapCall(Generic[Result]):
    """One call, ready to be sent as often as needed. ``label`` names its result for the observer."""

    message: Message
    operation: str
    entities: tuple[EntityType, ...]
    read: Callable[[Answer], Result]
    label: Callable[[Result], str]
    masked: Mask
    permit: Permit
