"""Every cell of the outcome table: from the fault in Marketing Cloud to counts, dead letter and incident."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.support.deployment import Deploy, Deployment, Published
from tests.support.profiles import (
    Event,
    contact,
    delete_entities,
    delete_profile,
    fresh_consumer,
    fresh_market,
    new,
    pet,
    update,
)
from tests.support.worker_process import WorkerProcess, wait_for

# As the shared worker is configured.
ATTEMPTS = 3

RETRIEVES = [
    "Retrieve CMT_Contact",
    "Retrieve CMT_Child",
    "Retrieve CMT_Pet",
    "Retrieve CMT_DigitalAsset",
    "Retrieve CMT_Interest",
    "Retrieve CMT_OptIn",
]
# A DELETE also reads the parent: under another spelling, the row belongs to another consumer.
RETRIEVES_OF_ALL = [*RETRIEVES, "Retrieve CMT_Consumer"]
OPT_IN = {"OptInId": "o1", "Channel": "Email"}


@dataclass(frozen=True, slots=True)
class Cell:
    """An event of a consumer who has a contact and a pet, and a fault that it meets.

    ``said``: all calls of all attempts; ``entity``: what the failure and the incident are about.
    """

    event: Callable[[str, str], Event]
    fault: str
    on: str
    said: list[str]
    outcome: str
    reason: str
    attempts: int
    entity: str


def an_update(consumer: str, market: str) -> Event:
    return update(consumer, market, pet=[pet("p2")])


def a_post_of_children(consumer: str, market: str) -> Event:
    return new(consumer, market, contact=[contact("k1")], pet=[pet("p1")], optIn=[OPT_IN])


def a_delete_of_rows(consumer: str, market: str) -> Event:
    return delete_entities(consumer, market, contact=[contact("k1")], pet=[pet("p1")])


ERROR, LOCKED, FAULT = "row_error", "row_error_transient", "server_fault"

CELLS = {
    "get fails for ever": Cell(
        event=an_update,
        fault=FAULT,
        on="Retrieve CMT_Contact",
        said=["Retrieve CMT_Contact fault"] * ATTEMPTS,
        outcome="failed",
        reason="CMT-SERVER-FAULT",
        attempts=ATTEMPTS,
        entity="contact",
    ),
    "delete of an old row fails for ever": Cell(
        event=an_update,
        fault=LOCKED,
        on="Delete CMT_Pet",
        # The contact is gone after the first attempt; nothing is posted before all deletes succeeded.
        said=[*RETRIEVES, "Delete CMT_Contact", "Delete CMT_Pet error", *([*RETRIEVES, "Delete CMT_Pet error"] * 2)],
        outcome="failed",
        reason="CMT-ROW-CONTENTION",
        attempts=ATTEMPTS,
        entity="pet",
    ),
    "delete of an old row is refused": Cell(
        event=an_update,
        fault=ERROR,
        on="Delete CMT_Pet",
        said=[*RETRIEVES, "Delete CMT_Contact", "Delete CMT_Pet error"],
        outcome="failed",
        reason="CMT-ROW-INVALID",
        attempts=1,
        entity="pet",
    ),
    "parent post fails for ever": Cell(
        event=a_post_of_children,
        fault=FAULT,
        on="Update CMT_Consumer",
        said=["Update CMT_Consumer fault"] * ATTEMPTS,
        outcome="failed",
        reason="CMT-SERVER-FAULT",
        attempts=ATTEMPTS,
        entity="consumer",
    ),
    "parent post is refused": Cell(
        event=a_post_of_children,
        fault=ERROR,
        on="Update CMT_Consumer",
        said=["Update CMT_Consumer error"],
        outcome="failed",
        reason="CMT-ROW-INVALID",
        attempts=1,
        entity="consumer",
    ),
    "child post is locked for ever": Cell(
        event=a_post_of_children,
        fault=LOCKED,
        on="Update CMT_Pet",
        # An error of the row alone keeps no sibling from being posted.
        said=["Update CMT_Consumer", "Update CMT_Contact", "Update CMT_Pet error", "Update CMT_OptIn"] * ATTEMPTS,
        outcome="partial",
        reason="CMT-ROW-CONTENTION",
        attempts=ATTEMPTS,
        entity="pet",
    ),
    "child post meets a broken server for ever": Cell(
        event=a_post_of_children,
        fault=FAULT,
        on="Update CMT_Pet",
        # The siblings behind it wait for the next attempt; the last one posts them.
        said=[
            *(["Update CMT_Consumer", "Update CMT_Contact", "Update CMT_Pet fault"] * ATTEMPTS),
            "Update CMT_OptIn",
        ],
        outcome="partial",
        reason="CMT-SERVER-FAULT",
        attempts=ATTEMPTS,
        entity="pet",
    ),
    "child post is refused": Cell(
        event=a_post_of_children,
        fault=ERROR,
        on="Update CMT_Pet",
        said=["Update CMT_Consumer", "Update CMT_Contact", "Update CMT_Pet error", "Update CMT_OptIn"],
        outcome="partial",
        reason="CMT-ROW-INVALID",
        attempts=1,
        entity="pet",
    ),
    "erasure cannot get the rows": Cell(
        event=delete_profile,
        fault=FAULT,
        on="Retrieve CMT_Contact",
        # The last attempt erases what it can.
        said=[
            *(["Retrieve CMT_Contact fault"] * ATTEMPTS),
            *RETRIEVES_OF_ALL[1:],
            "Delete CMT_Pet",
        ],
        outcome="failed",
        reason="CMT-SERVER-FAULT",
        attempts=ATTEMPTS,
        entity="contact",
    ),
    "erasure of a row fails for ever": Cell(
        event=delete_profile,
        fault=LOCKED,
        on="Delete CMT_Pet",
        said=[
            *RETRIEVES_OF_ALL,
            "Delete CMT_Contact",
            "Delete CMT_Pet error",
            *([*RETRIEVES_OF_ALL, "Delete CMT_Pet error"] * 2),
        ],
        outcome="failed",
        reason="CMT-ROW-CONTENTION",
        attempts=ATTEMPTS,
        entity="pet",
    ),
    "erasure of a row is refused": Cell(
        event=delete_profile,
        fault=ERROR,
        on="Delete CMT_Contact",
        # The pet is deleted all the same; the parent stays.
        said=[*RETRIEVES_OF_ALL, "Delete CMT_Contact error", "Delete CMT_Pet"],
        outcome="failed",
        reason="CMT-ROW-INVALID",
        attempts=1,
        entity="contact",
    ),
    "erasure of the parent is refused": Cell(
        event=delete_profile,
        fault=ERROR,
        on="Delete CMT_Consumer",
        said=[*RETRIEVES_OF_ALL, "Delete CMT_Contact", "Delete CMT_Pet", "Delete CMT_Consumer error"],
        outcome="failed",
        reason="CMT-ROW-INVALID",
        attempts=1,
        entity="consumer",
    ),
    "erasure of a listed row is refused": Cell(
        event=a_delete_of_rows,
        fault=ERROR,
        on="Delete CMT_Contact",
        said=["Delete CMT_Contact error", "Delete CMT_Pet"],
        outcome="failed",
        reason="CMT-ROW-INVALID",
        attempts=1,
        entity="contact",
    ),
    "erasure of a listed row fails for ever": Cell(
        event=a_delete_of_rows,
        fault=LOCKED,
        on="Delete CMT_Pet",
        # The contact, deleted by the first attempt, is not missed.
        said=[
            "Delete CMT_Contact",
            "Delete CMT_Pet error",
            *(["Delete CMT_Contact error", "Delete CMT_Pet error"] * 2),
        ],
        outcome="failed",
        reason="CMT-ROW-CONTENTION",
        attempts=ATTEMPTS,
        entity="pet",
    ),
}


def consumer_with_rows(shared: Deployment, worker: WorkerProcess) -> tuple[str, int]:
    """A consumer with a contact and a pet, and the number of calls that it took."""
    consumer = fresh_consumer()
    first = new(consumer, contact=[contact("k1")], pet=[pet("p1")])
    shared.publish(first)
    assert shared.outcome(worker, first)["outcome"] == "synced"
    return consumer, shared.simulator.calls(consumer)[-1].seq


def assert_incident(shared: Deployment, published: Published, fingerprint: str) -> None:
    """One open incident is about this, and names the event."""

    def told() -> bool:
        found = shared.simulator.incidents_of(fingerprint, shared.pipeline.group)
        assert len(found) <= 1, f"{len(found)} incidents for {fingerprint}"
        return any(published.id in text for one in found for text in (one["description"], *one["work_notes"]))

    wait_for(told, lambda: f"an incident {fingerprint} naming {published.id}: {shared.simulator.incidents()}", 20)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_outcome(shared: Deployment, worker: WorkerProcess, cell: Cell) -> None:
    consumer, before = consumer_with_rows(shared, worker)
    market = fresh_market()
    event = cell.event(consumer, market)
    operation, data_extension = cell.on.split()
    with shared.simulator.fault(cell.fault, consumerId=consumer, operation=operation, dataExtension=data_extension):
        [published] = shared.publish(event)
        ended = shared.outcome(worker, event)
    assert (ended["outcome"], ended["reason"], ended["attempts"]) == (cell.outcome, cell.reason, cell.attempts)
    assert shared.simulator.said(consumer, since=before) == cell.said

    assert shared.market_counts(worker, market) == {cell.outcome: 1}
    assert shared.failure_counts(worker, market) == {f"{cell.entity} {event['operation']} {cell.reason}": 1}
    assert shared.record_counts(worker, market)[f"{cell.entity} {event['operation']}"] == (0, 1)

    view = worker.consumer(consumer)
    assert view is not None
    assert (view["lastEventId"], view["lastOutcome"], view["lastReason"], view["parked"]) == (
        event["eventId"],
        cell.outcome,
        cell.reason,
        [],
    )

    letters = shared.dead_letters(published)
    if cell.outcome == "partial":
        assert letters == []
    else:
        [letter] = letters
        assert letter.header("x-sync-reason") == cell.reason.encode()
        assert letter.header("x-sync-attempt") == str(cell.attempts).encode()
        assert_incident(shared, published, f"{cell.reason}:{cell.entity}:{event['operation']}")


def test_partial_makes_no_incident(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    event = new(consumer, market, interest=[{"InterestId": "i1"}])
    with shared.simulator.fault("row_error", consumerId=consumer, dataExtension="CMT_Interest"):
        shared.publish(event)
        assert shared.outcome(worker, event)["outcome"] == "partial"
    # An event that does make one travels the same way behind it.
    after, failing = fresh_consumer(), fresh_market()
    with shared.simulator.fault("row_error", consumerId=after, dataExtension="CMT_Consumer"):
        [published] = shared.publish(new(after, failing))
        assert_incident(shared, published, "CMT-ROW-INVALID:consumer:NEW")
    assert shared.simulator.incidents_of("CMT-ROW-INVALID:interest:NEW", shared.pipeline.group) == []


def test_all_children_are_posted_around_several_refused_ones(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    event = new(consumer, market, pet=[pet("p1"), pet("p2")], optIn=[OPT_IN], interest=[{"InterestId": "i1"}])
    with (
        shared.simulator.fault("row_error", consumerId=consumer, dataExtension="CMT_Pet", times=1),
        shared.simulator.fault("row_error", consumerId=consumer, dataExtension="CMT_OptIn"),
    ):
        shared.publish(event)
        assert shared.outcome(worker, event)["outcome"] == "partial"
    assert shared.market_counts(worker, market) == {"partial": 1}
    assert shared.record_counts(worker, market) == {
        "consumer NEW": (1, 0),
        "pet NEW": (1, 1),
        "interest NEW": (1, 0),
        "optIn NEW": (0, 1),
    }
    assert shared.failure_counts(worker, market) == {"pet NEW CMT-ROW-INVALID": 1, "optIn NEW CMT-ROW-INVALID": 1}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("rate_limited", "CMT-RATE-LIMITED"),
        ("server_fault", "CMT-SERVER-FAULT"),
        ("maintenance", "CMT-MAINTENANCE"),
        ("row_error_transient", "CMT-ROW-CONTENTION"),
        ("timeout", "CMT-TIMEOUT"),
    ],
)
def test_what_fails_once_and_may_pass_is_synced_on_the_second_attempt(
    shared: Deployment, worker: WorkerProcess, fault: str, reason: str
) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    event = new(consumer, market, pet=[pet("p1")])
    with shared.simulator.fault(fault, consumerId=consumer, operation="Update", times=1):
        [published] = shared.publish(event)
        ended = shared.outcome(worker, event)
    assert (ended["outcome"], ended["reason"], ended["attempts"]) == ("synced", None, 2)
    assert shared.market_counts(worker, market) == {"synced": 1}
    assert shared.failure_counts(worker, market) == {}
    [copy] = shared.retry_copies(published)
    assert (copy.partition, copy.header("x-sync-attempt"), copy.header("x-sync-reason")) == (
        published.partition,
        b"1",
        reason.encode(),
    )
    assert shared.dead_letters(published) == []


@pytest.mark.parametrize("fault", ["reset", "http_503", "html_500", "malformed_xml"])
def test_broken_answers_are_asked_for_again_within_the_attempt(
    shared: Deployment, worker: WorkerProcess, fault: str
) -> None:
    consumer = fresh_consumer()
    event = new(consumer)
    with shared.simulator.fault(fault, consumerId=consumer, operation="Update", times=2):
        [published] = shared.publish(event)
        ended = shared.outcome(worker, event)
    assert (ended["outcome"], ended["attempts"]) == ("synced", 1)
    assert len(shared.simulator.calls(consumer)) == 3
    assert shared.retry_copies(published) == []


def test_write_whose_answer_was_lost_is_repeated_and_does_no_harm(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    event = new(consumer, pet=[pet("p1")])
    with shared.simulator.fault("reset", consumerId=consumer, operation="Update", times=1, after=True):
        [published] = shared.publish(event)
        assert shared.outcome(worker, event)["attempts"] == 1
    assert shared.simulator.rows(shared.catalog, consumer) == shared.expected([published])


def test_identifiers_that_xml_cannot_carry_fail_at_once(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = f"{fresh_consumer()}\x01", fresh_market()
    event = update(consumer, market)
    [published] = shared.publish(event)
    ended = shared.outcome(worker, event)
    assert (ended["outcome"], ended["reason"], ended["attempts"]) == ("failed", "CMT-NOT-XML-TEXT", 1)
    assert len(shared.dead_letters(published)) == 1


def test_child_failure_becomes_a_dead_letter_without_an_incident_where_that_is_wanted(deploy: Deploy) -> None:
    deployment = deploy(SYNC_CHILD_FAILURE="dlq")
    worker = deployment.worker().ready()
    consumer = fresh_consumer()
    event = new(consumer, digitalAsset=[{"AssetId": "a1"}])
    with deployment.simulator.fault("row_error", consumerId=consumer, dataExtension="CMT_DigitalAsset"):
        [published] = deployment.publish(event)
        assert deployment.outcome(worker, event)["outcome"] == "partial"
    [letter] = deployment.dead_letters(published)
    assert letter.header("x-sync-reason") == b"CMT-ROW-INVALID"
    assert deployment.settled(worker, 1)["partial"] == 1
    assert deployment.probe.read_all(deployment.pipeline.alerts_topic) == []
