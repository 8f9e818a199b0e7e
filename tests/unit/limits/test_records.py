"""A reader of durable records raises only its own error, because others may write to those topics too."""

from __future__ import annotations

import contextlib
import json
from datetime import date

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cli.status_report import PipelineView, document, lines
from app.delivery.closed_days import decode_document, encode_document, parse_document_key, plan_move
from app.delivery.cluster_facts import Facts, Judgement
from app.delivery.consumer_record import ConsumerState, parse_consumer_key
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline_identity import PipelineIdentity, compare
from app.delivery.record_format import StateError, parse_partition_key
from app.delivery.resume import resume
from app.delivery.verdict import Verdict
from app.delivery.worker_status import UnreadableStatus, read_worker_status
from app.incidents.memory import Remembered, UnreadableMemory
from app.profile.consumer_history import after_settling, deleted_since
from app.profile.holdings import row_list
from app.readmodels import kpi
from app.readmodels.consumers import consumer_view
from tests.support.examples import examples
from tests.support.records import consumer_state, partition_state, settlement
from tests.unit.limits.foreign import ANY_JSON, as_json, changed, deeply_altered

tried = settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOW = 1_795_000_000_000
PARTITION = partition_state(settlement("e-1"), parked={5: ParkedEvent("C-2", "e-5", 2, 3, 4, 5, "CMT-TIMEOUT")})
PARTITION.verdicts[9] = Verdict(settlement("e-9"), "message", 1, 2, alert=True)
CONSUMER = consumer_state(3, 1_795_000_000_000, event_id="e-3", market="DE")


@tried
@given(
    changed(PARTITION.encode()) | deeply_altered(json.loads(PARTITION.encode())).map(as_json) | ANY_JSON.map(as_json)
)
def test_a_partition_record(value: bytes) -> None:
    try:
        state = PartitionState.decode(value)
    except StateError:
        return
    # What can be read can be used, by the engine, the pages and the commands.
    assert PartitionState.decode(state.encode()) == state
    assert state.decided_upto >= state.upto
    resume(state, 7, 3, copies_lost=True)
    seen = {0: state}
    every = kpi.Filter()
    json.dumps([kpi.daily(seen, every), kpi.records(seen, every), kpi.failures(seen, every), kpi.totals(seen)])
    kpi.folded(seen, every)
    report = PipelineView("t", "g", Facts([], [0], dead_letters=state.dead_letters), Judgement(()), 0, seen, NOW)
    list(lines(report))
    json.dumps(document(report))
    consumer_view("C-2", [], seen)
    move = plan_move(
        state, partition=0, epoch=1, number=1, read=lambda _: None, today=date(2026, 11, 28), keep_days=400
    )
    changes = state.copy()
    if move is not None:
        move.apply(changes)
    for offset in (0, 5, 9):
        changes.settle(offset, settlement("e-new", day="2026-11-21"), dead_letter=True)
    PartitionState.decode(changes.encode())
    if state.identity is not None:
        compare(state.identity, PipelineIdentity("consumers", "t"))


@tried
@given(changed(CONSUMER.encode()) | deeply_altered(json.loads(CONSUMER.encode())).map(as_json) | ANY_JSON.map(as_json))
def test_a_consumer_record(value: bytes) -> None:
    try:
        state = ConsumerState.decode(value)
    except StateError:
        return
    json.dumps(consumer_view("C-1", [(0, state)], {}))
    deleted_since(state, 0, "")
    row_list.row_list(state.rows, row_list.columns_of(state.rows))
    again = after_settling(state, 9, settlement("e-new", operation="DELETE"), NOW)
    assert ConsumerState.decode(again.encode()) == again


COUNTS = encode_document(PARTITION.counts)


@tried
@given(changed(COUNTS) | deeply_altered(json.loads(COUNTS)).map(as_json) | ANY_JSON.map(as_json))
def test_a_document_of_counts(value: bytes) -> None:
    with contextlib.suppress(StateError):
        decode_document(value)


@tried
@given(changed(b"3|1", b"3|1|C-1", b"3|1|2026-11|7"))
def test_keys(key: bytes) -> None:
    parse_document_key(key)
    for parse in (parse_partition_key, parse_consumer_key):
        with contextlib.suppress(StateError):
            parse(key)


@tried
@given(st.binary(max_size=60) | ANY_JSON.map(as_json) | changed(b'{"v": 1, "id": "w", "at": 1}'))
def test_the_status_of_a_worker_and_a_remembered_incident(value: bytes) -> None:
    with contextlib.suppress(UnreadableStatus):
        read_worker_status(value)
    with contextlib.suppress(UnreadableMemory):
        Remembered.from_bytes(value)
