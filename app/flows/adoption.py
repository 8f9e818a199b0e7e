"""`topics adopt`: binds the state to a topic that holds the same records at the same offsets as before."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaError, Producer

from app.delivery.pipeline import Pipeline
from app.delivery.pipeline_identity import PipelineIdentity, compare
from app.delivery.record_format import partition_key
from app.flows.identity import running_identity
from app.flows.settled_digests import differing
from app.kafka.admin import TIMEOUT_SECONDS, Admin, KafkaAccessError
from app.kafka.clients import producer_config
from app.kafka.group import members
from app.kafka.limits import STATE_RECORD_BYTES
from app.readmodels.partition_records import PartitionRecords, read_partition_records
from app.settings import KafkaSettings

WRITE_SECONDS = 30.0


class AdoptionRefused(Exception):
    """The topic cannot be adopted; the text says why."""


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition: where the topic begins and ends, and up to where everything is settled or parked. ``other``: an
    offset where the topic holds another record than the one that was settled."""

    partition: int
    begin: int
    end: int
    upto: int
    parked: int
    other: int | None = None

    @property
    def trouble(self) -> str | None:
        """Why this is not, or may not be, the same topic; None: it may be."""
        if self.upto >= self.end:
            return "ends before what is settled"
        if self.begin > self.upto + 1:
            return "unread events are missing"
        if self.other is not None:
            return f"another record was settled at offset {self.other}"
        return None


@dataclass(frozen=True, slots=True)
class Adoption:
    """What would be adopted. ``recorded``: what the state is bound to now; None: it does not say."""

    recorded: PipelineIdentity | None
    running: PipelineIdentity
    partitions: tuple[PartitionView, ...]
    needed: bool
    records: PartitionRecords


def look(settings: KafkaSettings, pipeline: Pipeline) -> Adoption:
    """Find out what would be adopted.

    Raises:
        AdoptionRefused: workers run, there is no state, or it is another pipeline's.
        KafkaAccessError: the broker cannot be reached, or refused; or a record that counts cannot be read.
    """
    admin = Admin(settings)
    _check_no_members(admin, settings, pipeline.group)
    if pipeline.topic not in (found := admin.topics([pipeline.topic])):
        raise AdoptionRefused(f"The topic {pipeline.topic} does not exist.")
    records = read_partition_records(settings, pipeline, admin)
    if not records:
        raise AdoptionRefused(f"There is no state of group {pipeline.group}: nothing to adopt, a worker may start.")
    running = running_identity(admin, pipeline)
    recorded = [state.identity for _, state in records.values()]
    if flows := {one.flow for one in recorded if one is not None and one.flow != pipeline.name}:
        raise AdoptionRefused(
            f"The state of group {pipeline.group} belongs to the pipeline {', '.join(sorted(flows))}."
        )
    tps = [(pipeline.topic, partition.id) for partition in found[pipeline.topic].partitions]
    begins, ends = admin.begins(tps), admin.ends(tps)
    if missing := sorted(records.keys() - {number for _, number in tps}):
        raise AdoptionRefused(f"{pipeline.topic} has no partitions {', '.join(map(str, missing))}; the state has.")
    others = differing(settings, pipeline, ((number, state) for number, (_, state) in records.items()), TIMEOUT_SECONDS)
    views = tuple(
        PartitionView(
            number,
            begins[pipeline.topic, number],
            ends[pipeline.topic, number],
            state.upto,
            len(state.parked),
            others.get(number),
        )
        for number, (_, state) in sorted(records.items())
    )
    differ = [one for one in recorded if (found_now := compare(one, running)).difference or found_now.recreated]
    named = differ[0] if differ else recorded[0]
    return Adoption(named, running, views, bool(differ or others) or None in recorded, records)


def adopt(settings: KafkaSettings, pipeline: Pipeline, adoption: Adoption) -> None:
    """Write every partition record again, bound to this topic, under a higher epoch.

    Raises:
        AdoptionRefused: workers run.
        KafkaAccessError: the broker cannot be reached, or refused.
    """
    _check_no_members(Admin(settings), settings, pipeline.group)
    problems: list[KafkaError] = []
    producer = Producer(dict(producer_config(settings) | {"message.max.bytes": STATE_RECORD_BYTES}))

    def write(number: int, key: bytes, value: bytes | None) -> None:
        producer.produce(
            pipeline.state_topic,
            key=key,
            value=value,
            partition=number,
            on_delivery=lambda error, _: problems.append(error) if error is not None else None,
        )

    for number, (epoch, state) in adoption.records.items():
        state.identity = adoption.running
        # The retry topic may have other offsets too, so it is read from its beginning.
        state.retry_from = 0
        # The next event notes them again.
        state.last_digest, state.pinned = None, ()
        write(number, partition_key(number, epoch + 1), state.encode())
    _flush(producer, problems)
    # Only when the new records are there.
    for number, keys in adoption.records.keys_of.items():
        for key in keys:
            write(number, key, None)
    _flush(producer, problems)


def _flush(producer: Producer, problems: list[KafkaError]) -> None:
    left = producer.flush(WRITE_SECONDS)
    if problems or left:
        why = problems[0].str() if problems else f"no answer within {WRITE_SECONDS:g} s"
        raise KafkaAccessError(f"the state could not be written: {why}. Run it again.")


def _check_no_members(admin: Admin, settings: KafkaSettings, group: str) -> None:
    if found := members(admin, group):
        raise AdoptionRefused(
            f"Group {group} has members: {', '.join(found)}. Stop its workers first; one that was killed "
            f"leaves after its session timeout ({settings.session_timeout_seconds:g} s)."
        )
