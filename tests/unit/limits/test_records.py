"""Only its own error leaves a reader of our durable records: somebody else may write to those topics too."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.archive import decode_document, encode_document, parse_document_key
from app.domain.consumer_state import ConsumerState, parse_consumer_key
from app.domain.state import Forwarded, PartitionState, StateError, Verdict, parse_partition_key
from app.domain.worker_status import UnreadableStatus, read_worker_status
from app.incidents.memory import Remembered, UnreadableMemory
from tests.unit.limits.foreign import ANY_JSON, altered, as_json, changed
from tests.unit.readmodels.records import consumer_state, partition_state, settlement

examples = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PARTITION = partition_state(settlement("e-1"), parked={5: Forwarded("C-2", "e-5", 2, 3, 4, 5, "CMT-TIMEOUT")})
PARTITION.verdicts[9] = Verdict(settlement("e-9"), "message", 1, 2, alert=True)
CONSUMER = consumer_state(3, 1_795_000_000_000, event_id="e-3", market="DE")


@examples
@given(changed(PARTITION.encode()) | altered(json.loads(PARTITION.encode())).map(as_json) | ANY_JSON.map(as_json))
def test_a_partition_record(value: bytes) -> None:
    with contextlib.suppress(StateError):
        PartitionState.decode(value)


@examples
@given(changed(CONSUMER.encode()) | altered(json.loads(CONSUMER.encode())).map(as_json) | ANY_JSON.map(as_json))
def test_a_consumer_record(value: bytes) -> None:
    with contextlib.suppress(StateError):
        ConsumerState.check(value)
        asdict(ConsumerState.decode(value))


COUNTS = encode_document(PARTITION.counts)


@examples
@given(changed(COUNTS) | altered(json.loads(COUNTS)).map(as_json) | ANY_JSON.map(as_json))
def test_a_document_of_counts(value: bytes) -> None:
    with contextlib.suppress(StateError):
        decode_document(value)


@examples
@given(changed(b"3|1", b"3|1|C-1", b"3|1|2026-11|7"))
def test_keys(key: bytes) -> None:
    parse_document_key(key)
    for parse in (parse_partition_key, parse_consumer_key):
        with contextlib.suppress(StateError):
            parse(key)


@examples
@given(st.binary(max_size=60) | ANY_JSON.map(as_json) | changed(b'{"v": 1, "id": "w", "at": 1}'))
def test_the_status_of_a_worker_and_a_remembered_incident(value: bytes) -> None:
    with contextlib.suppress(UnreadableStatus):
        read_worker_status(value)
    with contextlib.suppress(UnreadableMemory):
        Remembered.from_bytes(value)
