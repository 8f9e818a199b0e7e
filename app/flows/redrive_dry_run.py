"""What a redrive would do, dead letter by dead letter; nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from app.delivery.operator_task import LetterFilter
from app.delivery.record import SourceRecord
from app.flows.letter_values import LetterValues, is_erased
from app.flows.redrive_preview import MOST_COUNTED, is_superseded, open_letters, state_of
from app.flows.task_writing import Preview
from app.profile.entities import Catalog
from app.profile.redrive_forecast import Fate, Forecast, forecast
from app.readmodels import ReadModels
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letters import ListedLetter

# Above this, the bytes are not read, and the answer is an estimate.
MOST_READ = 1_000
_TOGETHER = 200
OPERATIONS = ("NEW", "UPDATE", "DELETE", "-")
# A group of an estimate that has not been compared with the consumer records.
NOT_COMPARED = "not compared"


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would happen. ``items``: each dead letter, by consumer; empty in an estimate.

    ``estimate``: (operation, what would happen) -> how many. ``superseded``: None if that was not counted.
    """

    matched: int
    superseded: int | None
    items: tuple[tuple[ListedLetter, Forecast], ...] = ()
    estimate: Mapping[tuple[str, str], int] = field(default_factory=dict)


def dry_run(models: ReadModels, values: LetterValues, catalog: Catalog, seen: Preview, *, force: bool) -> DryRun:
    """What a redrive of a preview's dead letters would do.

    Raises:
        KafkaAccessError: the bytes could not be read.
        ReadModelUnavailable: the file of the read models is being replaced.
    """
    if seen.total > MOST_COUNTED:
        return DryRun(seen.total, None, estimate=_by_operation(models, seen.selection.filter))
    letters = list(open_letters(models, seen.selection))
    if seen.total > MOST_READ:
        return _estimate(models, letters)
    letters.sort(key=lambda one: (one.letter.settlement.consumer_id or "", one.id))
    items: list[tuple[ListedLetter, Forecast]] = []
    for start in range(0, len(letters), _TOGETHER):
        page = letters[start : start + _TOGETHER]
        records = values.read(page)
        items += [(one, _forecast(models, records.get(one.id), one, catalog, force=force)) for one in page]
    return DryRun(len(items), sum(found.fate is Fate.SUPERSEDED for _, found in items), tuple(items))


def _forecast(
    models: ReadModels, record: SourceRecord | None, one: ListedLetter, catalog: Catalog, *, force: bool
) -> Forecast:
    if one.status is ShownStatus.REDRIVING:
        return Forecast(Fate.UNDER_WAY)
    if one.id.foreign and record is not None:
        if not one.letter.has_key:
            return Forecast(Fate.INVALID, "it has no readable key: discard it")
        if record.value is None and not force:
            return Forecast(Fate.INVALID, "it has no value; only --force on this ID runs it, as a DELETE")
        if not force and is_erased(models, one):
            return Forecast(Fate.SUPERSEDED, "the consumer's profile was deleted; only --force on this ID runs it")
        return Forecast(Fate.NEW_EVENT, "published as a new event, at least once")
    return forecast(record, state_of(models, one), catalog, force=force)


def _estimate(models: ReadModels, letters: list[ListedLetter]) -> DryRun:
    found: Counter[tuple[str, str]] = Counter()
    for one in letters:
        fate = Fate.SUPERSEDED if is_superseded(one, state_of(models, one)) else Fate.SEND
        if one.status is ShownStatus.REDRIVING:
            fate = Fate.UNDER_WAY
        elif one.letter.place is None:
            fate = Fate.VALUE_GONE
        found[one.letter.settlement.operation, fate.value] += 1
    superseded = sum(number for (_, fate), number in found.items() if fate == Fate.SUPERSEDED)
    return DryRun(len(letters), superseded, estimate=dict(sorted(found.items())))


def _by_operation(models: ReadModels, chosen: LetterFilter) -> dict[tuple[str, str], int]:
    asked = [chosen.operation] if chosen.operation else OPERATIONS
    counts = {
        (operation, NOT_COMPARED): models.letters.count(replace(chosen, operation=operation)) for operation in asked
    }
    return {kind: number for kind, number in counts.items() if number}
