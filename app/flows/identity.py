"""Whether the state of the group is about these topics; `topics check` and a starting worker look at this."""

from __future__ import annotations

from app.delivery.pipeline import Pipeline
from app.delivery.pipeline_identity import NEW_GROUP, PipelineIdentity, Role, compare, other_record, refusal, topic_gone
from app.flows.pipeline_topics import topics_by_role
from app.flows.settled_digests import differing
from app.kafka.admin import TIMEOUT_SECONDS, Admin
from app.kafka.group import read_upto
from app.kafka.topic_ids import topic_id
from app.kafka.topic_specs import Problem
from app.readmodels.partition_records import PartitionRecords, read_partition_records
from app.settings import KafkaSettings

# The setting that a problem with the state is about.
STATE = "state"
# What is found when the main topic that the state is about does not exist.
GONE = "about a topic that is gone"


def running_identity(admin: Admin, pipeline: Pipeline) -> PipelineIdentity:
    """The identity of the pipeline, from the settings and the broker."""
    roles = topics_by_role(pipeline)
    found = admin.topics(list(roles.values()))
    ids = {role: topic_id(found[name]) for role, name in roles.items() if name in found}
    return PipelineIdentity(pipeline.name, pipeline.topic, {role: known for role, known in ids.items() if known})


def identity_problems(settings: KafkaSettings, pipeline: Pipeline) -> list[Problem]:
    """Why the state is not about these topics: each kind of problem once.

    Raises:
        KafkaAccessError: the broker cannot be reached, or refused; or a record that counts cannot be read.
    """
    admin = Admin(settings)
    if gone := state_gone(settings, pipeline, admin):
        return [gone]
    records = read_partition_records(settings, pipeline, admin)
    main = admin.topics([pipeline.topic]).get(pipeline.topic)
    if problems := _about_another(pipeline, admin, records):
        return problems
    if main is None:
        return [_gone(pipeline)] if records else []
    there = {partition.id for partition in main.partitions}
    return [
        Problem(
            pipeline.topic,
            STATE,
            f"another record at {number}-{offset}",
            "the one that was settled",
            other_record(pipeline.topic, number, offset, pipeline.group),
        )
        for number, offset in sorted(
            differing(
                settings, pipeline, ((n, state) for n, (_, state) in records.items() if n in there), TIMEOUT_SECONDS
            ).items()
        )
    ]


def creation_problems(settings: KafkaSettings, pipeline: Pipeline, admin: Admin) -> list[Problem]:
    """Why the main topic must not be created: it does not exist, but the group has state about this topic or another.

    Raises:
        KafkaAccessError: as ``identity_problems``.
    """
    if pipeline.topic in admin.topics([pipeline.topic]):
        return []
    records = read_partition_records(settings, pipeline, admin)
    return _about_another(pipeline, admin, records) or ([_gone(pipeline)] if records else [])


def _gone(pipeline: Pipeline) -> Problem:
    return Problem(pipeline.topic, STATE, GONE, "there", topic_gone(pipeline.topic, pipeline.group))


def _about_another(pipeline: Pipeline, admin: Admin, records: PartitionRecords) -> list[Problem]:
    running = running_identity(admin, pipeline)
    problems: dict[object, Problem] = {}
    for _, state in records.values():
        difference = compare(state.identity, running).difference
        if difference is not None and state.identity is not None:
            text = refusal(difference, state.identity, running, pipeline.group)
            found = state.identity.ids.get(Role.SOURCE, "") if state.identity.topic == pipeline.topic else ""
            wanted = running.ids.get(Role.SOURCE, "")
            problems[difference] = Problem(
                pipeline.topic,
                STATE,
                f"about {state.identity.flow}, {state.identity.topic} {found}".rstrip(),
                f"about {pipeline.name}, {pipeline.topic} {wanted}".rstrip(),
                text,
            )
    return list(problems.values())


def state_gone(settings: KafkaSettings, pipeline: Pipeline, admin: Admin) -> Problem | None:
    """The state topics are gone, or empty, while the group has read from the main topic."""
    found = admin.topics([pipeline.topic, pipeline.state_topic, pipeline.consumers_topic])
    if pipeline.topic not in found:
        return None
    read = read_upto(settings, pipeline, [partition.id for partition in found[pipeline.topic].partitions])
    if not read:
        return None
    kept = _with_records(admin, pipeline.state_topic) if pipeline.state_topic in found else set()
    if lost := sorted(read.keys() - kept):
        topic, found_text = pipeline.state_topic, f"empty for partitions {', '.join(map(str, lost))}"
    elif pipeline.consumers_topic not in found:
        topic, found_text = pipeline.consumers_topic, "missing"
    else:
        return None
    offsets = f"kafka-consumer-groups.sh --delete-offsets --group {pipeline.group} --topic {pipeline.topic}"
    remedy = (
        f"Group {pipeline.group} has read from {pipeline.topic}, but what it has done is not known any more. Restore "
        f"the topic; or {NEW_GROUP}. To go on with this group without its state: {offsets}; it then begins at "
        "KAFKA_START, and counts begin at 0."
    )
    return Problem(topic, STATE, found_text, "there", remedy)


def _with_records(admin: Admin, topic: str) -> set[int]:
    """The partitions of a compacted topic that hold anything."""
    numbers = [partition.id for partition in admin.topics([topic])[topic].partitions]
    tps = [(topic, number) for number in numbers]
    begins, ends = admin.begins(tps), admin.ends(tps)
    return {number for (_, number), end in ends.items() if end > begins[topic, number]}
