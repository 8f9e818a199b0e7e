"""An incident is about the dead letters that its alerts announced, and its numbers are those of the index."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from app.bundled import schema_path
from app.delivery.alert import Alert
from app.delivery.counts import EVENT_ENTITY, FailureCount, Settlement
from app.delivery.dead_letter_record import DeadLetter, LetterStatus
from app.delivery.errors import REGISTRY
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.outcome import Outcome
from app.delivery.pipeline import Pipeline
from app.delivery.record import SourceRecord
from app.delivery.verdict import Verdict
from app.flows.consumer_sync import ConsumerSync
from app.flows.open_letters import IndexedLetters
from app.flows.own_status import invalid_alert
from app.incidents.open_letters import OpenCount, letter_filter
from app.profile.catalog_file import parse_catalog
from app.profile.entities import EntityType
from app.profile.event import Operation
from app.readmodels import Followed, ReadModels, ReadModelUnavailable
from app.readmodels.batch import ReadBatch
from app.readmodels.letters import LetterIndex
from app.readmodels.progress import Progress
from app.readmodels.store import Store
from app.settings import SyncSettings
from tests.unit.flows.one_sink import to

PIPELINE = Pipeline("consumers", "main", "group")
RECORD = SourceRecord("main", 3, 17, 1_795_000_000_000, b"ann", b"{}")


def verdict(reason: str, entity: str, operation: str, outcome: Outcome = Outcome.FAILED) -> Verdict:
    failures = (FailureCount(entity, reason),)
    settlement = Settlement("ann", "e-1", operation, "DE", RECORD.day, outcome, reason, 1, failures=failures)
    return Verdict(settlement, "no", 1, 2, alert=True)


def letter_of(
    given: Verdict, consumer: str = "ann", status: LetterStatus = LetterStatus.OPEN, at: int = 2
) -> DeadLetter:
    settlement = Settlement(consumer, "e-1", given.settlement.operation, "DE", RECORD.day, Outcome.FAILED, None, 1)
    return DeadLetter(status, settlement, given.kind, "no", 1, at, at, None)


@pytest.mark.parametrize("account", ["default", "510001234"])
@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("entity", EntityType)
def test_an_incident_about_a_failed_event_is_about_its_dead_letter(
    account: str, operation: Operation, entity: EntityType
) -> None:
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    flow = ConsumerSync(to(cast(Any, None), catalog, lambda market: account), catalog, SyncSettings())
    for reason in REGISTRY:
        failed = verdict(reason, entity.value, operation.value)
        alert = Alert.from_bytes(flow.alert(RECORD, failed)[1])
        assert letter_filter(alert.fingerprint).matches(letter_of(failed)), alert.fingerprint


@pytest.mark.parametrize("operation", [*(one.value for one in Operation), "-"])
def test_an_incident_about_invalid_events_is_about_all_of_that_reason(operation: str) -> None:
    chosen = letter_filter(invalid_alert("EVENT-SCHEMA", 20, 0, 1).fingerprint)
    assert chosen.matches(letter_of(verdict("EVENT-SCHEMA", EVENT_ENTITY, operation, Outcome.INVALID)))
    assert not chosen.matches(letter_of(verdict("EVENT-NO-KEY", EVENT_ENTITY, operation, Outcome.INVALID)))


class Models:
    """Read models with an index over a file."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "r.sqlite", PIPELINE)
        self.letters = LetterIndex(PIPELINE.letters_topic, Progress(), self._ask, dict)
        self.fresh = self.there = True
        self._written = 0

    def _ask(self, query: Any) -> Any:
        if not self.there:
            raise ReadModelUnavailable("the file is being replaced")
        return query(self.store)

    def caught_up(self, *about: Followed) -> bool:
        assert about == (Followed.LETTERS,)
        return self.fresh

    def write(self, letters: Iterable[DeadLetter]) -> None:
        batch = ReadBatch(PIPELINE)
        for letter in letters:
            self._written += 1
            key = letter_key(LetterId(0, self._written), 1)
            batch.add(PIPELINE.letters_topic, 0, self._written, key, letter.encode())
        self.store.apply(batch)


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path)


async def test_the_open_ones_of_the_kind_are_counted(models: Models) -> None:
    late, other = verdict("CMT-TIMEOUT", "pet", "UPDATE"), verdict("CMT-TIMEOUT", "pet", "NEW")
    models.write(letter_of(late, f"c-{number % 7}", at=100 + number) for number in range(10))
    models.write([letter_of(late, status=LetterStatus.SETTLED, at=999), letter_of(other, at=999)])
    index = IndexedLetters(cast(ReadModels, models))
    assert await index.of(str(late.kind)) == OpenCount(10, 7, 100, 109)


async def test_none_is_open_only_if_the_index_knows_that_there_were_some(models: Models) -> None:
    mended = verdict("CMT-TIMEOUT", "pet", "UPDATE")
    models.write([letter_of(mended, status=LetterStatus.SETTLED)])
    index = IndexedLetters(cast(ReadModels, models))
    assert await index.of(str(mended.kind)) == OpenCount(0, 0)
    never_seen = Fingerprint("CMT-TIMEOUT", "child", "NEW")
    assert await index.of(str(never_seen)) is None, "an incident must not end because the index lacks its records"


async def test_consumers_of_several_kinds_are_at_most_so_many(models: Models) -> None:
    kinds = [verdict("EVENT-SCHEMA", EVENT_ENTITY, operation) for operation in ("NEW", "-")]
    models.write(letter_of(kind, at=at) for at, kind in enumerate(kinds))
    index = IndexedLetters(cast(ReadModels, models))
    assert await index.of("EVENT-SCHEMA:event:-") == OpenCount(2, 2, 0, 1, consumers_exact=False)


async def test_what_is_not_known_is_not_counted(models: Models) -> None:
    failed = verdict("CMT-PERMISSION", "pet", "DELETE")
    models.write([letter_of(failed)])
    index = IndexedLetters(cast(ReadModels, models))
    assert await index.of("CMT-PERMISSION:account-510001234-pet:-") is None, "a dead letter does not name its account"
    assert await index.of("CMT-PERMISSION:pet:-") is not None
    models.there = False
    assert await index.of("CMT-PERMISSION:pet:-") is None
    models.there, models.fresh = True, False
    assert await index.of("CMT-PERMISSION:pet:-") is None
