"""The parts of Faust and aiokafka that the engine overrides or reaches into are those that it was written against.

They are internal, so another version may change them without a word. When this fails: read what changed, decide whether
the engine's own part (``app/engine/consumer.py``, ``stream.py``) still holds, run ``make torture``, then note the new
fingerprints here.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from importlib.metadata import version

import pytest

VERSIONS = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}

FINGERPRINTS = {
    "faust.transport.consumer:Consumer._drain_messages": "44a2500309e83c63",
    "faust.transport.consumer:Consumer.track_message": "217d7f1399a4cd8e",
    "faust.transport.conductor:Conductor": "56ed932b0cf415df",
    "mode.utils.queues:FlowControlQueue": "15f15a87fd6de428",
    "mode.utils.queues:FlowControlEvent": "1da8f905ab655e39",
    "faust.transport.utils:DefaultSchedulingStrategy": "93e70bad15f8e7e1",
    "faust.agents.agent:Agent._execute_actor": "c750b828d2bda93e",
    "mode.utils.queues:ThrowableQueue": "44872deb65478e1f",
    "faust.transport.consumer:Consumer.getmany": "4b168d84882a70d6",
    "faust.transport.consumer:Consumer._wait_next_records": "6218e1969a636b3f",
    "faust.transport.consumer:Consumer.perform_seek": "0e8c130ff4b0afd8",
    "faust.transport.consumer:Consumer.ack": "5fcf41cf45153475",
    "faust.transport.consumer:Consumer.commit": "a354437baaa08bf8",
    "faust.transport.consumer:Consumer._commit_tps": "a20e230b05ae8b15",
    "faust.transport.consumer:Consumer._commit_offsets": "1a69799041188441",
    "faust.transport.consumer:Consumer._new_offset": "1d2c7ea89a7ad4f1",
    "faust.transport.consumer:Consumer._filter_tps_with_pending_acks": "f6f9239774234e7e",
    "faust.transport.consumer:Consumer._add_gap": "4df2573ded7c1c2c",
    "faust.transport.consumer:Consumer.on_partitions_assigned": "29ce96596f05a18c",
    "faust.transport.consumer:Consumer.on_partitions_revoked": "d04b7ae72c6fc206",
    "faust.transport.consumer:ThreadDelegateConsumer._getmany": "f9d47aa9010b5ff2",
    "faust.transport.consumer:ThreadDelegateConsumer._seek": "4f95c631420410a5",
    "faust.transport.consumer:ThreadDelegateConsumer.seek_wait": "e9db5bbc4ceb2543",
    "faust.transport.drivers.aiokafka:Consumer._new_consumer_thread": "0870ec53dea75083",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_start": "38b4e8bd1e10723a",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_consumer": "a4dc6ba0681a298c",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer": "c2701bfc3e6f6cad",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._fetch_records": "39a2c6c79fc1455a",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._seek_wait": "9d221e816d940467",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._ensure_consumer": "ff4a4c693b7ec63f",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._highwaters": "a7f4f97d9f32aca2",
    "faust.transport.consumer:Consumer.verify_all_partitions_active": "4e0e46f5c297305d",
    "faust.transport.consumer:Consumer.on_stop": "45b1d2210ce2b526",
    "faust.transport.consumer:ThreadDelegateConsumer._commit": "a20eec84e4b2ed50",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_thread_stop": "8dfc004e258b6c25",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._commit": "932852ce7a23f658",
    "faust.tables.base:Collection.apply_changelog_batch": "b980a78d3ae9b1e8",
    "faust.tables.recovery:Recovery.on_recovery_completed": "6ef567acf072e46d",
    "faust.app.base:App._on_partitions_assigned": "de932b7927db85b3",
    "faust.app.base:App._on_partitions_revoked": "d5c895bbe57dc73a",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_commit_offsets": "c3a3ea5613f39cac",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_heartbeat": "dc1d6632aaa68e96",
    "aiokafka.consumer.fetcher:Fetcher.fetched_records": "be4348896b9b66af",
    "aiokafka.consumer.fetcher:Fetcher._update_fetch_positions": "d7774d8241dc6a7e",
    "aiokafka.consumer.subscription_state:Assignment.state_value": "183fea82ef48f3e6",
    "aiokafka.consumer.subscription_state:TopicPartitionState": "2b83334afadf6d98",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.commit_offsets": "5cbe31af28d6cc06",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.close": "f30d831089456312",
    "aiokafka.producer.producer:AIOKafkaProducer.stop": "43ef97147111893b",
    "aiokafka.producer.producer:AIOKafkaProducer.send": "08ce81263f439838",
    "aiokafka.producer.sender:Sender._send_produce_req": "aea01ae4b6c794cc",
    "aiokafka.producer.sender:SendProduceReqHandler": "708c9da866caf440",
    "aiokafka.producer.message_accumulator:MessageAccumulator._pop_batch": "41cc98a298ef2628",
    "aiokafka.producer.message_accumulator:MessageAccumulator.drain_by_nodes": "fc995afbfc5718e2",
    "aiokafka.producer.transaction_manager:TransactionManager.increment_sequence_number": "0fce01d42f0ff3bc",
    "aiokafka.producer.producer:AIOKafkaProducer.send_batch": "bf42b0f0c5c0646d",
    "aiokafka.client:AIOKafkaClient._get_conn": "68ce5d8391719d33",
    "aiokafka.client:AIOKafkaClient.send": "246b277687d7b687",
    "aiokafka.client:AIOKafkaClient.get_random_node": "0e2daf38b78e99a7",
    "aiokafka.client:AIOKafkaClient._wait_on_metadata": "52b0a5ee78ef3aa0",
    "aiokafka.client:AIOKafkaClient.force_metadata_update": "cb7befef21c8f3f9",
    "aiokafka.client:AIOKafkaClient._md_synchronizer": "e0421bffa9a7735a",
    "aiokafka.conn:AIOKafkaConnection.send": "5909ea32f4efca49",
    "aiokafka.conn:AIOKafkaConnection.close": "28f164aa1e4f0bbc",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.check_errors": "ba6ca51ad34838d9",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._push_error_to_user": "743ff515bd7e2e38",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._heartbeat_routine": "61d01028952239d0",
    "aiokafka.consumer.fetcher:Fetcher._fetch_requests_routine": "2a8ec5932644c9b0",
    "aiokafka.consumer.fetcher:Fetcher._proc_fetch_request": "59bf948fff47eed5",
    "aiokafka.producer.sender:Sender._sender_routine": "2380dc5e333d9ebd",
    "aiokafka.protocol.offset:OffsetRequest": "d01378a63d0c1062",
    "aiokafka.consumer.fetcher:FetchResult": "d7db13f06de8248c",
    "aiokafka.consumer.fetcher:PartitionRecords": "94aa0da0dbec8d1b",
    "aiokafka.record.default_records:_DefaultRecordBatchPy": "f63fbb5a8a247d54",
    "aiokafka.record.legacy_records:_LegacyRecordBatchPy": "22235cc4483e57d9",
    "aiokafka.record.memory_records:_MemoryRecordsPy": "795a0314fbca30af",
    "faust.transport.consumer:Consumer._should_commit": "5ce941793947ad42",
    "faust.tables.recovery:Recovery._wait": "ec7429b70176f8c6",
    "mode.services:Service._execute_task": "2a976a30f01cbbef",
    "mode.services:Service.add_future": "515996de67f8a056",
}


def fingerprint(name: str) -> str:
    """Of the source of ``module:Class.method``."""
    module, _, path = name.partition(":")
    found: object = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return hashlib.sha256(inspect.getsource(found).encode()).hexdigest()[:16]  # type: ignore[arg-type]


@pytest.mark.parametrize(("package", "written_against"), VERSIONS.items())
def test_the_versions_are_those_that_the_engine_was_written_against(package: str, written_against: str) -> None:
    assert version(package) == written_against


@pytest.mark.parametrize(("name", "known"), FINGERPRINTS.items())
def test_what_the_engine_overrides_has_not_changed(name: str, known: str) -> None:
    assert fingerprint(name) == known, f"{name} is not what app/engine was written against"
