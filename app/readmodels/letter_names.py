"""Whether the names in a filter of dead letters can exist. A typing error must not look like "nothing failed"."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.delivery.alert import ACCOUNT_ENTITY
from app.delivery.counts import EVENT_ENTITY
from app.delivery.errors import REGISTRY
from app.delivery.fingerprint import SEPARATOR
from app.delivery.foreign_letter import TOOLS
from app.delivery.known_names import no_such_code, no_such_name
from app.delivery.letter_selection import SelectionError
from app.delivery.operator_task import LetterFilter
from app.profile.entities import EntityType
from app.profile.event import Operation

# "-": the failure is not about a single one.
_NONE = "-"
OPERATIONS = (*(one.value for one in Operation), _NONE)
ENTITIES = (*(one.value for one in EntityType), EVENT_ENTITY, _NONE)
_PARTS = 3


def check_names(chosen: LetterFilter, held: Callable[[LetterFilter], bool]) -> None:
    """Check that codes, entities and operations of a filter exist.

    A dead letter of another program or of a newer version may have names that this one does not know.

    Args:
        held: whether there is a dead letter, open or closed, that a filter means.

    Raises:
        SelectionError: one cannot exist; the text names those that look like it.
    """
    for named, problem in _unknown(chosen):
        if not held(named):
            raise SelectionError(problem)


def _unknown(chosen: LetterFilter) -> Iterator[tuple[LetterFilter, str]]:
    """The names that this program does not know: a filter of that name alone, and what to say."""
    if chosen.reason and chosen.reason not in REGISTRY:
        yield LetterFilter(reason=chosen.reason), no_such_code(chosen.reason)
    if chosen.entity and not _is_entity(chosen.entity):
        yield LetterFilter(entity=chosen.entity), no_such_name("entity", chosen.entity, ENTITIES)
    if chosen.operation and chosen.operation not in OPERATIONS:
        yield LetterFilter(operation=chosen.operation), no_such_name("operation", chosen.operation, OPERATIONS)
    if chosen.fingerprint and (problem := _wrong_kind(chosen.fingerprint)):
        yield LetterFilter(fingerprint=chosen.fingerprint), problem


def _wrong_kind(fingerprint: str) -> str:
    """Why a fingerprint cannot exist; "" if it can."""
    parts = fingerprint.split(SEPARATOR)
    if len(parts) != _PARTS:
        return (
            f"{fingerprint[:100]} is not a kind of dead letters: a kind has three parts, REASON:entity:operation. "
            "`profile-sync dlq stats` shows those that are open."
        )
    reason, entity, operation = parts
    if reason not in REGISTRY:
        return no_such_code(reason)
    if not _is_entity(entity):
        return no_such_name("entity", entity, ENTITIES)
    return "" if operation in OPERATIONS else no_such_name("operation", operation, OPERATIONS)


def _is_entity(name: str) -> bool:
    # An incident about an account has no dead letters, but people pass on its correlation ID.
    return name in ENTITIES or name in TOOLS or name.startswith(ACCOUNT_ENTITY)
