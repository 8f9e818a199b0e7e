"""Verification beside a running worker: consumers that move on are left alone; what a repair sends, in which order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from app.bundled import schema_path
from app.cmt.call import always
from app.cmt.client import CmtClient
from app.cmt.errors import CallError, CallFailed
from app.delivery.consumer_record import ConsumerState, FullState, RecentEvent
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.permit import Permit
from app.delivery.record import SourceRecord
from app.flows.consumer_verification import BEYOND_REPAIR, Repair
from app.flows.market_clients import AccountUnavailable, AskedAccount, AskedMarket, MarketClients
from app.flows.verification import Verifier
from app.kafka.admin import KafkaAccessError
from app.kafka.topic_reader import SettledEvents
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, EntityType, Row
from app.profile.event_reader import check_document
from app.profile.holdings.drift import WHICH_COLUMNS
from app.profile.holdings.findings import DriftFinding, Status
from app.profile.holdings.row_digests import Digests
from app.profile.keys import spellings
from app.profile.plan import Action
from app.readmodels import ReadModels
from tests.unit.sinks.fake_cmt import FakeCmt

CATALOG: Catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType

UPDATE = {
    "eventId": "e",
    "operation": "UPDATE",
    "consumerId": "c",
    "market": "DE",
    "occurredAt": "2026-01-01T00:00:00Z",
    "consumer": {"ConsumerId": "c", "FirstName": "Ann"},
    "entities": {"pet": [{"PetId": "1"}, {"PetId": "2"}]},
}


class Client:
    """The part of the client that is used, in memory; ``before_retrieve`` runs before each retrieve."""

    def __init__(self) -> None:
        self.cmt = FakeCmt(CATALOG)
        self.before_retrieve: Callable[[], object] = lambda: None

    async def token(self) -> str:
        return "token"

    async def upsert(self, rows: Sequence[tuple[EntityType, Row]], *, permit: Permit = always) -> Any:
        return await self.cmt.upsert(rows, permit=permit)

    async def delete(self, keys: Sequence[tuple[EntityType, Row]], *, permit: Permit = always) -> Any:
        return await self.cmt.delete(keys, permit=permit)

    async def retrieve(self, entity: EntityType, consumer_id: str, *, permit: Permit = always) -> Any:
        self.before_retrieve()
        return await self.cmt.retrieve(entity, consumer_id, permit=permit)

    @property
    def writes(self) -> list[str]:
        return [str(call) for call in self.cmt.calls if call.action is not Action.RETRIEVE]


@dataclass
class World:
    """One partition: records of the main topic, of consumers and of the partition, and Marketing Cloud."""

    client: Client = field(default_factory=Client)
    topic: list[SourceRecord] = field(default_factory=list)
    states: dict[str, ConsumerState] = field(default_factory=dict)
    partition: PartitionState = field(default_factory=PartitionState)

    def publish(self, consumer_id: str = "c") -> int:
        offset = len(self.topic)
        document = {**UPDATE, "consumerId": consumer_id, "consumer": {**UPDATE["consumer"], "ConsumerId": consumer_id}}  # type: ignore[dict-item]
        self.topic.append(SourceRecord("t", 0, offset, 0, consumer_id.encode(), json.dumps(document).encode()))
        return offset

    def settle(self, offset: int, outcome: str = "synced") -> None:
        consumer_id = (self.topic[offset].key or b"").decode()
        recent = (RecentEvent("e" if outcome == "synced" else "f", "UPDATE", outcome, None, 1, offset),)
        before = self.states.get(consumer_id)
        full = FullState(offset, "UPDATE", "e") if outcome == "synced" else before and before.full
        self.states[consumer_id] = ConsumerState(offset, "DE", recent + (before.recent if before else ()), full=full)
        self.partition.upto = offset

    # As the read models, the main topic and the accounts are asked.

    def partitions(self) -> dict[int, PartitionState]:
        return {0: self.partition}

    def consumer(self, consumer_id: str) -> list[tuple[int, ConsumerState]]:
        return [(0, self.states[consumer_id])] if consumer_id in self.states else []

    def behind_seconds(self) -> float:
        return -1.0

    def bounds(self, partition: int) -> tuple[int, int]:
        return 0, len(self.topic)

    def read(self, partition: int, offsets: Sequence[int]) -> dict[int, SourceRecord]:
        return {offset: self.topic[offset] for offset in offsets if offset >= 0}

    def keys(self, partition: int, start: int, end: int) -> Iterator[tuple[int, bytes | None]]:
        return iter([(record.offset, record.key) for record in self.topic[start:end]])

    one_account = True

    def of(self, market: str) -> AskedMarket | None:
        return None if market == "XX" else self.market

    def __post_init__(self) -> None:
        client = cast(CmtClient, self.client)
        self.market = AskedMarket(AskedAccount("default", client), client, CATALOG)

    async def verify(self, repair: Repair | None = None) -> list[DriftFinding]:
        verifier = Verifier(
            CATALOG,
            cast(ReadModels, self),
            cast(SettledEvents, self),
            cast(MarketClients, self),
            repair,
            spellings(self.states),
        )
        await verifier.look_at_unsettled()
        places = verifier.places(sorted(self.states), None)
        return await verifier.chunk(places, lambda finding: None)


REPAIR = Repair(batch_size=1, dry_run=False)


@pytest.fixture
def world() -> World:
    """Consumer c with a settled UPDATE that Marketing Cloud does not hold."""
    world = World()
    world.settle(world.publish())
    return world


async def only(world: World, repair: Repair | None = REPAIR) -> DriftFinding:
    (finding,) = await world.verify(repair)
    return finding


async def test_drift_is_mended_parent_first_and_read_again(world: World) -> None:
    world.client.cmt.hold(INTEREST, ConsumerId="c", InterestId="9")
    assert (await only(world)).status is Status.REPAIRED
    assert world.client.writes == [
        "upsert consumer c",
        "upsert pet c/1",
        "upsert pet c/2",
        "delete interest c/9",
    ]
    assert (await only(world)).status is Status.OK


async def test_rows_go_together_up_to_the_batch_size_but_the_parent_alone(world: World) -> None:
    await only(world, Repair(batch_size=50, dry_run=False))
    assert world.client.writes == ["upsert consumer c", "upsert pet c/1, pet c/2"]


async def test_without_repair_and_in_a_dry_run_nothing_is_written(world: World) -> None:
    assert (await only(world, None)).status is Status.DRIFTED
    finding = await only(world, Repair(batch_size=1, dry_run=True))
    assert (finding.status, len(finding.writes)) == (Status.DRIFTED, 3)
    assert all(write.problem for write in finding.writes)
    assert world.client.writes == []


async def test_when_the_parent_is_refused_nothing_else_is_sent(world: World) -> None:
    world.client.cmt.fail_row(Action.UPSERT, CONSUMER, "CMT-ROW-INVALID")
    finding = await only(world)
    assert finding.status is Status.DRIFTED
    assert world.client.writes == ["upsert consumer c"]
    assert ["CMT-ROW-INVALID" in (write.problem or "") for write in finding.writes] == [True, False, False]


async def test_a_refused_row_does_not_keep_others_of_its_kind_from_being_written(world: World) -> None:
    world.client.cmt.fail_row(Action.UPSERT, PET, "CMT-ROW-INVALID", key=("c", "1"))
    assert (await only(world)).status is Status.DRIFTED
    assert world.client.writes == ["upsert consumer c", "upsert pet c/1", "upsert pet c/2"]


@pytest.mark.parametrize("settled", [True, False])
async def test_a_consumer_whose_next_event_comes_while_it_is_compared_is_left_alone(
    world: World, settled: bool
) -> None:
    def once() -> None:
        world.client.before_retrieve = lambda: None
        offset = world.publish()
        if settled:
            world.settle(offset)

    world.client.before_retrieve = once
    assert (await only(world)).status is Status.PENDING
    assert world.client.writes == []


async def test_the_next_event_of_another_consumer_does_not_matter(world: World) -> None:
    world.client.before_retrieve = lambda: world.publish("other")
    assert (await only(world)).status is Status.REPAIRED


async def test_a_consumer_with_an_event_that_is_not_settled_is_pending(world: World) -> None:
    world.publish()
    assert (await only(world)).status is Status.PENDING
    world.settle(1)
    assert (await only(world)).status is Status.REPAIRED


async def test_a_consumer_with_a_parked_event_is_pending(world: World) -> None:
    world.partition.park(world.publish(), ParkedEvent("c", "f", 1))
    world.partition.advance(1)
    assert (await only(world)).status is Status.PENDING


async def test_a_consumer_whose_later_event_failed_is_pending(world: World) -> None:
    world.settle(world.publish(), "failed")
    assert (await only(world)).status is Status.PENDING


async def test_of_another_event_at_that_place_only_the_parent_counts(world: World) -> None:
    full = FullState(0, "UPDATE", "one that is gone")
    world.states["c"] = ConsumerState(0, "DE", full=full)
    finding = await only(world)
    assert (finding.status, finding.in_part, world.client.writes) == (Status.DRIFTED, True, [])
    world.client.cmt.hold(CONSUMER, ConsumerId="c")
    assert (await only(world)).status is Status.PARTIAL


def lost(world: World, **entities: Any) -> None:
    """Consumer c as settled by an UPDATE that is no longer in Kafka."""
    event = check_document({**UPDATE, "entities": entities or UPDATE["entities"]}, CATALOG, "e")
    full = FullState(0, "UPDATE", "one that is gone")
    world.states["c"] = ConsumerState(0, "DE", full=full, rows=Digests(CATALOG).of_event(event))


async def test_without_the_event_the_market_of_the_full_state_is_looked_at(world: World) -> None:
    """A later DELETE of rows may have been of another one."""
    full = FullState(0, "UPDATE", "one that is gone", "DE")
    world.states["c"] = ConsumerState(1, "PL", full=full)
    asked: list[str] = []

    def of(market: str) -> AskedMarket:
        asked.append(market)
        return world.market

    world.of = of  # type: ignore[method-assign]
    await only(world)
    assert set(asked) == {"DE"}


async def test_without_the_event_the_records_list_says_what_should_be_held(world: World) -> None:
    lost(world)
    world.client.cmt.hold(CONSUMER, ConsumerId="c", FirstName="Ann")
    world.client.cmt.hold(PET, ConsumerId="c", PetId="1")
    world.client.cmt.hold(PET, ConsumerId="c", PetId="2")
    finding = await only(world, None)
    assert (finding.status, finding.in_part, finding.note) == (Status.OK, False, None)
    world.client.cmt.hold(PET, ConsumerId="c", PetId="3")
    assert (await only(world)).status is Status.REPAIRED
    assert world.client.writes == ["delete pet c/3"]


async def test_what_is_known_by_its_digest_only_is_not_repaired_but_what_is_too_much_goes(world: World) -> None:
    lost(world)
    world.client.cmt.hold(CONSUMER, ConsumerId="c", FirstName="Bo")
    world.client.cmt.hold(PET, ConsumerId="c", PetId="2")
    world.client.cmt.hold(PET, ConsumerId="c", PetId="3")
    finding = await only(world)
    assert (finding.status, finding.note) == (Status.DRIFTED, BEYOND_REPAIR)
    assert [(drift.entity, drift.kind.value, drift.note) for drift in finding.drift] == [
        (PET, "missing", None),
        (CONSUMER, "different", WHICH_COLUMNS),
        (PET, "extra", None),
    ]
    assert world.client.writes == ["delete pet c/3"]


async def test_a_call_that_fails_is_the_consumers_error_and_after_many_no_more_are_made(world: World) -> None:
    world.client.cmt.fail_call(Action.RETRIEVE, PET, "CMT-TIMEOUT")
    for _ in range(10):
        finding = await only(world)
        assert (finding.status, "CMT-TIMEOUT" in (finding.note or "")) == (Status.ERROR, True)
    calls = len(world.client.cmt.calls)
    finding = await only(world)
    assert "No more calls after 10 failures in a row" in (finding.note or "")
    assert len(world.client.cmt.calls) == calls


async def test_when_the_only_account_gives_no_token_that_is_said_once(world: World) -> None:
    async def refused() -> str:
        raise CallFailed(CallError("CMT-TOKEN-REFUSED", "no"))

    world.client.token = refused  # type: ignore[method-assign]
    with pytest.raises(AccountUnavailable, match="Marketing Cloud cannot be used: CMT-TOKEN-REFUSED"):
        await only(world)


async def test_when_kafka_goes_away_before_a_repair_nothing_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(partition: int) -> tuple[int, int]:
        raise KafkaAccessError("gone")

    world.client.before_retrieve = lambda: monkeypatch.setattr(world, "bounds", away)
    assert ((await only(world)).status, world.client.writes) == (Status.ERROR, [])


async def test_a_consumer_of_whom_there_are_none_but_failed_events_is_missing() -> None:
    world = World()
    world.settle(world.publish(), "failed")
    finding = await only(world)
    assert (finding.status, [drift.kind.value for drift in finding.drift]) == (Status.DRIFTED, ["missing"])
    assert world.client.writes == []
    world.client.cmt.hold(CONSUMER, ConsumerId="c")
    finding = await only(world)
    assert (finding.status, finding.note) == (Status.PENDING, "a later event of it failed and may have written a part")


async def test_a_consumer_whose_erasure_failed_is_pending() -> None:
    world = World()
    world.settle(world.publish(), "failed")
    state = world.states["c"]
    world.states["c"] = replace(state, recent=(replace(state.recent[0], operation="DELETE"),))
    assert (await only(world)).status is Status.PENDING


async def test_consumers_that_are_one_to_marketing_cloud_are_errors_and_left_alone() -> None:
    world = World()
    for name in ("c", "C ", "d"):
        world.settle(world.publish(name))
    found = {finding.consumer_id: finding for finding in await world.verify(REPAIR)}
    assert {name: finding.status for name, finding in found.items()} == {
        "c": Status.ERROR,
        "C ": Status.ERROR,
        "d": Status.REPAIRED,
    }
    assert "the same consumer as C " in (found["c"].note or "")
    assert not any("consumer c" in write.lower() for write in world.client.writes)


async def test_a_consumer_that_was_deleted_is_nobodys_twin() -> None:
    world = World()
    for name in ("c", "C"):
        world.settle(world.publish(name))
    full = FullState(0, "DELETE", "e")
    world.states["c"] = replace(world.states["c"], full=full)
    world.topic[0] = replace_value(world.topic[0], None)
    world.client.cmt.hold(CONSUMER, ConsumerId="C", FirstName="Ann")
    for pet in "12":
        world.client.cmt.hold(PET, ConsumerId="C", PetId=pet)
    assert {finding.consumer_id: finding.status for finding in await world.verify(REPAIR)} == {
        "c": Status.OK,
        "C": Status.OK,
    }


async def test_a_market_without_a_place_is_no_error_of_the_consumer(world: World) -> None:
    world.states["c"] = replace(world.states["c"], full=FullState(-1, "UPDATE", "e", "XX"))
    finding = await only(world)
    assert (finding.status, "does not list market XX" in (finding.note or "")) == (Status.NO_HOME, True)


async def test_an_event_that_a_change_of_the_catalog_made_invalid_is_not_called_lost(world: World) -> None:
    document = {**UPDATE, "consumer": {"ConsumerId": "c", "Gone": "x"}}
    world.topic[0] = replace_value(world.topic[0], json.dumps(document).encode())
    world.client.cmt.hold(CONSUMER, ConsumerId="c")
    finding = await only(world)
    assert finding.status is Status.PARTIAL
    assert "its event is not valid any more (EVENT-UNKNOWN-COLUMN" in (finding.note or "")
    assert "only the parent row's existence was checked" in (finding.note or "")
    assert "no longer in Kafka" not in (finding.note or "")


def replace_value(record: SourceRecord, value: bytes | None) -> SourceRecord:
    return SourceRecord(record.topic, record.partition, record.offset, record.timestamp_ms, record.key, value)
