"""What our topics must be like, and what is wrong with the existing ones. Pure: asks no broker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.delivery.pipeline import Pipeline
from app.kafka.codecs import CODECS
from app.kafka.limits import BATCH_ROOM_BYTES, STATE_RECORD_BYTES, copy_bytes
from app.settings import KafkaSettings

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_FOREVER = 2**63 - 1
UNLIMITED = -1
# The topics of the workers' status and of operators' tasks have one partition, because every worker reads all of them.
ONE_PARTITION = 1

# A week: Marketing Cloud or this program may be away over a holiday weekend and the days until an operator looks.
LONGEST_OUTAGE_MS = 7 * _DAY
# Twice the longest outage: events wait in the main topic while the breaker is open.
MAIN_RETENTION_MS = 14 * _DAY
# Kafka deletes by timestamp, and a copy keeps its event's timestamp. So the retry topic must keep even the oldest event
# of the main topic for another outage, and the dead-letter topic must leave people time: a quarter of a year.
RETRY_RETENTION_MS = 28 * _DAY
DLQ_RETENTION_MS = 90 * _DAY
ALERTS_RETENTION_MS = 14 * _DAY

# Every start reads the whole state, so it is cleaned often: a segment is rolled after an hour or 64 MiB, and cleaned
# when a tenth of it is superseded, or after an hour at the latest.
_STATE_CLEANING = {
    "segment.bytes": str(64 * 1024 * 1024),
    "segment.ms": str(_HOUR),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(_HOUR),
    # A follower that was away for this long must still see that a record was removed.
    "delete.retention.ms": str(MAIN_RETENTION_MS),
}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What one topic must be like.

    ``exact``: settings that must have this value. ``at_least``, ``at_most``: numbers in the setting's own unit (ms,
    bytes), where -1 means no limit. ``created_with``: the settings of a new topic.
    """

    name: str
    partitions: int
    replication: int
    created_with: Mapping[str, str]
    exact: Mapping[str, str]
    at_least: Mapping[str, int] = field(default_factory=dict)
    at_most: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicState:
    """What a topic is like. ``replication``: replicas of the partition that has the fewest."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one topic, and the remedy. ``setting``: which one is wrong, e.g. retention.ms."""

    topic: str
    setting: str
    found: str
    wanted: str
    remedy: str

    @property
    def what(self) -> str:
        """What is wrong, in a sentence for people."""
        if self.setting == "topic":
            return f"{self.topic} {'are' if ', ' in self.topic else 'is'} {self.found}."
        return f"{self.topic}: {self.setting} is {self.found}, must be {self.wanted}."

    @property
    def message(self) -> str:
        """The problem and its remedy in one line, for people."""
        return f"{self.what} {self.remedy}"


def min_insync_replicas(replication: int) -> int:
    """How many replicas must hold a record before it counts as written.

    With three or more replicas two, so that no acknowledged record is lost when one broker dies. With two replicas only
    one: otherwise all writing would stop while one broker is away.
    """
    return 2 if replication >= 3 else 1


def topic_specs(settings: KafkaSettings, pipeline: Pipeline, main: TopicState | None = None) -> tuple[TopicSpec, ...]:
    """All topics of this program, the main topic first; all but status and tasks have the same number of partitions.

    ``main``: what the main topic is like where it exists already (often somebody else's): copies must be taken and
    kept by the other topics whatever it lets in and however long it keeps it.
    """
    main_config = main.config if main else {}
    main_retention = _number(main_config, "retention.ms", MAIN_RETENTION_MS)
    room = BATCH_ROOM_BYTES // 2
    copies = {
        "max.message.bytes": copy_bytes(settings),
        "message.timestamp.before.max.ms": _number(main_config, "message.timestamp.before.max.ms", 0),
        "message.timestamp.after.max.ms": _number(main_config, "message.timestamp.after.max.ms", 0),
    }
    timeless = {"message.timestamp.before.max.ms": _FOREVER, "message.timestamp.after.max.ms": _FOREVER}
    after_main = _longer(main_retention, LONGEST_OUTAGE_MS)
    return (
        _events(
            settings,
            pipeline.topic,
            {"retention.ms": MAIN_RETENTION_MS, "max.message.bytes": settings.max_message_bytes},
            {"retention.ms": LONGEST_OUTAGE_MS, "max.message.bytes": settings.max_message_bytes},
            # Kafka's default is 12 bytes above 1 MiB. That much more still fits into the other topics.
            at_most={"max.message.bytes": settings.max_message_bytes + room},
        ),
        _events(
            settings,
            pipeline.retry_topic,
            {"retention.ms": _longest(RETRY_RETENTION_MS, after_main), **copies, **timeless},
            {"retention.ms": after_main, **copies},
            exact={"message.timestamp.type": "CreateTime"},
        ),
        _events(
            settings,
            pipeline.dlq_topic,
            {"retention.ms": _longest(DLQ_RETENTION_MS, after_main), **copies, **timeless},
            {"retention.ms": _longest(RETRY_RETENTION_MS, after_main), **copies},
            exact={"message.timestamp.type": "CreateTime"},
        ),
        _events(
            settings, pipeline.alerts_topic, {"retention.ms": ALERTS_RETENTION_MS}, {"retention.ms": LONGEST_OUTAGE_MS}
        ),
        _state(settings, pipeline.state_topic),
        _state(settings, pipeline.consumers_topic),
        _state(settings, pipeline.letters_topic),
        replace(_state(settings, pipeline.status_topic), partitions=ONE_PARTITION),
        replace(_state(settings, pipeline.tasks_topic), partitions=ONE_PARTITION),
    )


def compare(
    spec: TopicSpec, state: TopicState | None, readable: Collection[str] = CODECS, *, foreign: bool = False
) -> list[Problem]:
    """How a topic differs from what it must be. A setting that the broker does not report is not compared, because an
    older broker may not know it.

    Args:
        state: what the topic is like; None: it does not exist.
        readable: the codecs that this installation can read.
        foreign: other programs write the topic, with codecs of their choice.
    """
    if state is None:
        return [Problem(spec.name, "topic", "missing", "there", "Create it: profile-sync topics create")]
    problems = []
    if state.partitions != spec.partitions:
        problems.append(_partitions_problem(spec, state))
    if state.replication < spec.replication:
        remedy = "Add replicas (kafka-reassign-partitions.sh), or set KAFKA_REPLICATION to what you want."
        problems.append(
            Problem(spec.name, "replication", str(state.replication), f"at least {spec.replication}", remedy)
        )
    for name, wanted in spec.exact.items():
        if name in state.config and state.config[name] != wanted:
            problems.append(_config_problem(spec.name, name, state.config[name], wanted, wanted))
    for name, least in spec.at_least.items():
        found = _number(state.config, name, least)
        if _less(found, least):
            problems.append(_config_problem(spec.name, name, str(found), _at_least(least), spec.created_with[name]))
    for name, most in spec.at_most.items():
        found = _number(state.config, name, most)
        if _less(most, found):
            problems.append(_too_large(spec.name, name, found, most))
    in_sync = _number(state.config, "min.insync.replicas", 1)
    if in_sync > state.replication:
        wanted = str(min_insync_replicas(state.replication))
        problems.append(_config_problem(spec.name, "min.insync.replicas", str(in_sync), wanted, wanted))
    codec = state.config.get("compression.type", "producer")
    may_hold = {"producer": CODECS if foreign else (), "uncompressed": ()}.get(codec, (codec,))
    if unreadable := [name for name in may_hold if name not in readable]:
        problems.append(_unreadable(spec.name, codec, unreadable, readable))
    return problems


def compare_all(
    settings: KafkaSettings,
    pipeline: Pipeline,
    states: Mapping[str, TopicState],
    readable: Collection[str] = CODECS,
) -> list[Problem]:
    """Problems of all our topics, in the order of ``topic_specs``; ``readable``: as in ``compare``."""
    specs = topic_specs(settings, pipeline, states.get(pipeline.topic))
    return [
        problem
        for spec in specs
        for problem in compare(spec, states.get(spec.name), readable, foreign=spec.name == pipeline.topic)
    ]


def joined(problems: Sequence[Problem]) -> list[Problem]:
    """One problem of each kind. Topics with the same problem are named together."""
    alike: dict[tuple[str, str, str, str], list[Problem]] = {}
    for problem in problems:
        alike.setdefault((problem.setting, problem.found, problem.wanted, problem.remedy), []).append(problem)
    return [replace(same[0], topic=", ".join(one.topic for one in same)) for same in alike.values()]


def in_words(problems: Sequence[Problem]) -> list[str]:
    """One line, for people, for each kind of problem."""
    return [problem.message for problem in joined(problems)]


def partition_problems(specs: Sequence[TopicSpec], states: Mapping[str, TopicState]) -> list[Problem]:
    """The existing topics whose number of partitions is not the configured one."""
    found = ((spec, states.get(spec.name)) for spec in specs)
    return [_partitions_problem(spec, state) for spec, state in found if state and state.partitions != spec.partitions]


def old_names(pipeline: Pipeline) -> list[str]:
    """What the topics of the pipeline were called before they were named after its group."""
    ours = {pipeline.topic, *pipeline.own_topics}
    names = [f"{pipeline.topic}.{suffix}" for suffix in ("retry", "dlq", "alerts")]
    return [name for name in names if name not in ours]


def old_name_problems(pipeline: Pipeline, there: Collection[str]) -> list[Problem]:
    """Topics of old names among those that are there: nothing reads them any more."""
    return [
        Problem(
            name,
            "topic",
            "there under a name that is no longer used",
            "gone",
            f"It is now {pipeline.group}.{name.rpartition('.')[2]}. Delete the old one if it holds nothing you need.",
        )
        for name in old_names(pipeline)
        if name in there
    ]


def _events(
    settings: KafkaSettings,
    name: str,
    create: Mapping[str, int],
    at_least: Mapping[str, int],
    *,
    exact: Mapping[str, str] | None = None,
    at_most: Mapping[str, int] | None = None,
) -> TopicSpec:
    in_sync = min_insync_replicas(settings.replication)
    # Compaction would drop all but the last event of a consumer. A size limit would drop the oldest events of a long
    # outage. An unclean leader would drop acknowledged records.
    must = {"cleanup.policy": "delete", "retention.bytes": str(UNLIMITED), "unclean.leader.election.enable": "false"}
    created_with = must | {name: str(value) for name, value in create.items()}
    created_with |= {"message.timestamp.type": "CreateTime", "min.insync.replicas": str(in_sync)}
    return TopicSpec(
        name=name,
        partitions=settings.partitions,
        replication=settings.replication,
        created_with=created_with,
        exact=must | dict(exact or {}),
        at_least={**at_least, "min.insync.replicas": in_sync},
        at_most=at_most or {},
    )


def _state(settings: KafkaSettings, name: str) -> TopicSpec:
    in_sync = min_insync_replicas(settings.replication)
    must = {"cleanup.policy": "compact", "unclean.leader.election.enable": "false"}
    at_least = {"max.message.bytes": STATE_RECORD_BYTES, "min.insync.replicas": in_sync}
    return TopicSpec(
        name=name,
        partitions=settings.partitions,
        replication=settings.replication,
        created_with=must | _STATE_CLEANING | {name: str(value) for name, value in at_least.items()},
        exact=must,
        at_least=at_least,
    )


def _number(config: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(config[name])
    except (KeyError, ValueError):
        return default


def _less(left: int, right: int) -> bool:
    if left == UNLIMITED:
        return False
    return right == UNLIMITED or left < right


def _longest(*values: int) -> int:
    return UNLIMITED if UNLIMITED in values else max(values)


def _longer(retention: int, by: int) -> int:
    return UNLIMITED if retention == UNLIMITED else min(retention + by, _FOREVER)


def _at_least(least: int) -> str:
    return "unlimited (-1)" if least == UNLIMITED else f"at least {least}"


def _alter(topic: str, name: str, value: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={value}"


def _config_problem(topic: str, name: str, found: str, wanted: str, mend: str) -> Problem:
    return Problem(topic, name, found, wanted, f"Mend it: {_alter(topic, name, mend)}")


def _too_large(topic: str, name: str, found: int, most: int) -> Problem:
    remedy = f"Set KAFKA_MAX_MESSAGE_BYTES={found}, then run profile-sync topics check again"
    return Problem(topic, name, str(found), f"at most {most}", f"{remedy}; or {_alter(topic, name, str(most))}")


def _unreadable(topic: str, found: str, unreadable: Sequence[str], readable: Collection[str]) -> Problem:
    wanted = " or ".join(("uncompressed", *(codec for codec in CODECS if codec in readable)))
    remedy = (
        f"This installation cannot read records compressed with {', '.join(unreadable)}: install what "
        f"requirements.lock names (cramjam reads all of {', '.join(CODECS)}); or "
        + _alter(topic, "compression.type", "uncompressed")
    )
    return Problem(topic, "compression.type", found, wanted, remedy)


def _partitions_problem(spec: TopicSpec, state: TopicState) -> Problem:
    if spec.partitions == ONE_PARTITION:
        remedy = "Delete it, then run profile-sync topics create: workers write its records again."
        return Problem(spec.name, "partitions", str(state.partitions), str(spec.partitions), remedy)
    remedy = (
        f"Set KAFKA_PARTITIONS={state.partitions} if the other topics have that many too. Adding partitions to a topic "
        "in use sends consumers to other partitions and breaks their order: create a new topic instead."
    )
    return Problem(spec.name, "partitions", str(state.partitions), str(spec.partitions), remedy)
