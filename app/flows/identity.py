"""Whether the state of the group is about these topics: what `topics check` and a starting worker look at."""

from __future__ import annotations

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


def running_pipeline(admin: Admin, settings: KafkaSettings, flow: str) -> PipelineIdentity:
    """The pipeline as the broker and the settings have it."""
    roles = topics_by_role(settings)
    found = admin.topics(list(roles.values()))
    ids = {role: topic_id(found[name]) for role, name in roles.items() if name in found}
    return PipelineIdentity(flow, settings.topic, {role: known for role, known in ids.items() if known})


def identity_problems(settings: KafkaSettings, flow: str) -> list[Problem]:
    """What keeps the state from being about these topics, each kind once.

    Raises:
        KafkaAccessError: the broker cannot be reached, or refused; or a record that counts cannot be read.
    """
    admin = Admin(settings)
    if gone := state_gone(settings, admin):
        return [gone]
    records = read_partition_records(settings, admin)
    main = admin.topics([settings.topic]).get(settings.topic)
    if problems := _about_another(settings, flow, admin, records):
        return problems
    if main is None:
        return [_gone(settings)] if records else []
    there = {partition.id for partition in main.partitions}
    return [
        Problem(
            settings.topic,
            STATE,
            f"another record at {number}-{offset}",
            "the one that was settled",
            other_record(settings.topic, number, offset, settings.group),
        )
        for number, offset in sorted(
            differing(
                settings, ((n, state) for n, (_, state) in records.items() if n in there), TIMEOUT_SECONDS
            ).items()
        )
    ]


def creation_problems(settings: KafkaSettings, flow: str, admin: Admin) -> list[Problem]:
    """Why the main topic must not be created: there is none, but a state of the group that is about this or another
    one.

    Raises:
        KafkaAccessError: as ``identity_problems``.
    """
    if settings.topic in admin.topics([settings.topic]):
        return []
    records = read_partition_records(settings, admin)
    return _about_another(settings, flow, admin, records) or ([_gone(settings)] if records else [])


def _gone(settings: KafkaSettings) -> Problem:
    return Problem(settings.topic, STATE, GONE, "there", topic_gone(settings.topic, settings.group))


def _about_another(settings: KafkaSettings, flow: str, admin: Admin, records: PartitionRecords) -> list[Problem]:
    running = running_pipeline(admin, settings, flow)
    problems: dict[object, Problem] = {}
    for _, state in records.values():
        difference = compare(state.identity, running).difference
        if difference is not None and state.identity is not None:
            text = refusal(difference, state.identity, running, settings.group)
            found = state.identity.ids.get(Role.SOURCE, "") if state.identity.topic == settings.topic else ""
            wanted = running.ids.get(Role.SOURCE, "")
            problems[difference] = Problem(
                settings.topic,
                STATE,
                f"about {state.identity.flow}, {state.identity.topic} {found}".rstrip(),
                f"about {flow}, {settings.topic} {wanted}".rstrip(),
                text,
            )
    return list(problems.values())


def state_gone(settings: KafkaSettings, admin: Admin) -> Problem | None:
    """The state topics are gone, or empty, while the group has read from the main topic."""
    found = admin.topics([settings.topic, settings.state_topic, settings.consumers_topic])
    if settings.topic not in found:
        return None
    read = read_upto(settings, [partition.id for partition in found[settings.topic].partitions])
    if not read:
        return None
    kept = _with_records(admin, settings.state_topic) if settings.state_topic in found else set()
    if lost := sorted(read.keys() - kept):
        topic, found_text = settings.state_topic, f"empty for partitions {', '.join(map(str, lost))}"
    elif settings.consumers_topic not in found:
        topic, found_text = settings.consumers_topic, "missing"
    else:
        return None
    offsets = f"kafka-consumer-groups.sh --delete-offsets --group {settings.group} --topic {settings.topic}"
    remedy = (
        f"Group {settings.group} has read from {settings.topic}, but what it has done is not known any more. Restore "
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
