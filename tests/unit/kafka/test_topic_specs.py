"""What is right and what is wrong with a topic, decided without a broker."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.pipeline import Pipeline
from app.kafka.codecs import CODECS, readable_codecs
from app.kafka.limits import STATE_RECORD_BYTES, copy_bytes
from app.kafka.topic_specs import (
    LONGEST_OUTAGE_MS,
    UNLIMITED,
    TopicSpec,
    TopicState,
    compare,
    compare_all,
    in_words,
    min_insync_replicas,
    old_name_problems,
    old_names,
    partition_problems,
    topic_specs,
)
from app.settings import HEADER_ROOM_BYTES, KafkaSettings

PIPELINE = Pipeline("consumers", "t", "g")
SETTINGS = KafkaSettings(bootstrap_servers="one:9092", partitions=8, replication=3)
MAIN, RETRY, DLQ, ALERTS, STATE, CONSUMERS, LETTERS, STATUS, TASKS = topic_specs(SETTINGS, PIPELINE)


def _as_specified(spec: TopicSpec) -> TopicState:
    return TopicState(spec.name, spec.partitions, spec.replication, dict(spec.created_with))


def _with(spec: TopicSpec, **config: str) -> TopicState:
    state = _as_specified(spec)
    return replace(state, config=dict(state.config) | {name.replace("_", "."): value for name, value in config.items()})


def test_nine_topics_all_but_two_with_equal_partitions() -> None:
    specs = topic_specs(SETTINGS, PIPELINE)

    assert [spec.name for spec in specs] == [
        "t",
        "g.retry",
        "g.dlq",
        "g.alerts",
        "g-partitions-changelog",
        "g-consumers-changelog",
        "g-dead-letters-changelog",
        "g.status",
        "g.tasks",
    ]
    assert {spec.partitions for spec in specs[:-2]} == {8}
    for spec in (STATUS, TASKS):
        assert spec.partitions == 1
        assert spec.exact["cleanup.policy"] == "compact"
    assert {spec.replication for spec in specs} == {3}


def test_topics_of_old_names_are_named() -> None:
    problems = old_name_problems(PIPELINE, ["t.dlq", "t.other", "g.retry"])
    assert [problem.message for problem in problems] == [
        "t.dlq is there under a name that is no longer used. It is now g.dlq. Delete the old one if it holds nothing "
        "you need."
    ]
    assert old_names(Pipeline("consumers", "g", "g")) == [], "the same names"


@pytest.mark.parametrize("spec", topic_specs(SETTINGS, PIPELINE), ids=lambda spec: spec.name)
def test_what_we_create_is_what_we_want(spec: TopicSpec) -> None:
    assert compare(spec, _as_specified(spec)) == []


@given(
    retention=st.one_of(st.just(UNLIMITED), st.integers(min_value=LONGEST_OUTAGE_MS, max_value=2**62)),
    largest=st.integers(min_value=1024, max_value=100_000_000),
    replication=st.integers(min_value=1, max_value=5),
)
def test_new_topics_suit_whatever_main_topic_is_there(retention: int, largest: int, replication: int) -> None:
    settings = SETTINGS.model_copy(update={"max_message_bytes": largest, "replication": replication})
    config = dict(topic_specs(settings, PIPELINE)[0].created_with) | {"retention.ms": str(retention)}
    main = TopicState("t", settings.partitions, replication, config)

    for spec in topic_specs(settings, PIPELINE, main)[1:]:
        assert compare(spec, _as_specified(spec)) == []


def test_a_missing_topic_is_one_problem_that_says_how_to_create_it() -> None:
    (problem,) = compare(RETRY, None)

    assert problem.message == "g.retry is missing. Create it: profile-sync topics create"


def test_events_outlive_the_longest_outage_in_every_topic_they_pass() -> None:
    kept = [int(spec.created_with["retention.ms"]) for spec in (MAIN, RETRY, DLQ)]

    assert kept[0] > LONGEST_OUTAGE_MS
    assert kept[1] >= kept[0] + LONGEST_OUTAGE_MS
    assert kept[2] > kept[1]


def test_a_copy_of_the_largest_event_has_room_for_its_headers() -> None:
    for spec in (RETRY, DLQ):
        assert int(spec.created_with["max.message.bytes"]) > SETTINGS.max_message_bytes + HEADER_ROOM_BYTES
        assert int(spec.created_with["max.message.bytes"]) == copy_bytes(SETTINGS)


def test_state_is_compacted_only_and_takes_large_records() -> None:
    for spec in (STATE, CONSUMERS, LETTERS):
        assert spec.created_with["cleanup.policy"] == "compact"
        assert int(spec.created_with["max.message.bytes"]) == STATE_RECORD_BYTES
        assert "retention.ms" not in spec.created_with


@pytest.mark.parametrize(
    ("spec", "setting", "value"),
    [
        (MAIN, "cleanup.policy", "compact"),
        (MAIN, "retention.ms", str(LONGEST_OUTAGE_MS - 1)),
        (MAIN, "retention.bytes", "1073741824"),
        (MAIN, "max.message.bytes", str(SETTINGS.max_message_bytes - 1)),
        (MAIN, "max.message.bytes", str(SETTINGS.max_message_bytes * 2)),
        (MAIN, "min.insync.replicas", "1"),
        (MAIN, "unclean.leader.election.enable", "true"),
        (RETRY, "retention.ms", str(LONGEST_OUTAGE_MS)),
        (RETRY, "max.message.bytes", str(copy_bytes(SETTINGS) - 1)),
        (RETRY, "message.timestamp.type", "LogAppendTime"),
        (DLQ, "retention.ms", str(LONGEST_OUTAGE_MS)),
        (DLQ, "cleanup.policy", "compact,delete"),
        (ALERTS, "retention.ms", "1"),
        (STATE, "cleanup.policy", "delete"),
        (CONSUMERS, "max.message.bytes", "1048588"),
    ],
)
def test_one_wrong_property_is_one_problem(spec: TopicSpec, setting: str, value: str) -> None:
    state = replace(_as_specified(spec), config={**spec.created_with, setting: value})

    (problem,) = compare(spec, state)

    assert (problem.topic, problem.setting, problem.found) == (spec.name, setting, value)
    assert spec.name in problem.remedy


@pytest.mark.parametrize("codec", ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_of_kafka_is_fine_with_a_whole_installation(codec: str) -> None:
    assert compare(MAIN, _with(MAIN, compression_type=codec), readable_codecs(), foreign=True) == []


def test_looking_for_codecs_says_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    readable_codecs.cache_clear()
    assert readable_codecs() == set(CODECS)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("codec", ["producer", "zstd", "brotli"])
def test_a_codec_that_cannot_be_read_is_named_with_its_topic(codec: str) -> None:
    states = {spec.name: _as_specified(spec) for spec in topic_specs(SETTINGS, PIPELINE)}
    states["t"] = _with(MAIN, compression_type=codec)

    (problem,) = compare_all(SETTINGS, PIPELINE, states, readable={"gzip", "lz4"})

    assert (problem.topic, problem.setting, problem.found) == ("t", "compression.type", codec)
    assert ("snappy, zstd" if codec == "producer" else codec) in problem.remedy
    assert problem.wanted == "uncompressed or gzip or lz4"


def test_only_we_write_our_own_topics_so_their_producers_codec_is_known() -> None:
    assert compare(STATE, _with(STATE, compression_type="producer"), readable={"gzip"}) == []
    (problem,) = compare(STATE, _with(STATE, compression_type="lz4"), readable={"gzip"})
    assert problem.setting == "compression.type"


def test_more_than_enough_is_no_problem() -> None:
    assert compare(RETRY, _with(RETRY, retention_ms=str(UNLIMITED), max_message_bytes=str(2**30))) == []
    assert compare(RETRY, replace(_as_specified(RETRY), replication=5)) == []


def test_kafkas_own_default_of_twelve_bytes_above_one_mebibyte_is_no_problem() -> None:
    assert compare(MAIN, _with(MAIN, max_message_bytes="1048588")) == []


def test_a_main_topic_with_append_time_is_its_owners_choice() -> None:
    assert compare(MAIN, _with(MAIN, message_timestamp_type="LogAppendTime")) == []


def test_what_an_older_broker_does_not_report_is_not_compared() -> None:
    state = _as_specified(RETRY)
    known = {name: value for name, value in state.config.items() if not name.startswith("message.timestamp.")}

    assert compare(RETRY, replace(state, config=known)) == []


def test_copies_of_a_main_topic_without_retention_limit_must_be_kept_for_ever() -> None:
    states = {spec.name: _as_specified(spec) for spec in topic_specs(SETTINGS, PIPELINE)}
    states["t"] = _with(MAIN, retention_ms=str(UNLIMITED))

    assert {(one.topic, one.setting, one.wanted) for one in compare_all(SETTINGS, PIPELINE, states)} == {
        ("g.retry", "retention.ms", "unlimited (-1)"),
        ("g.dlq", "retention.ms", "unlimited (-1)"),
    }


def test_too_few_replicas_and_too_many_in_sync_are_named() -> None:
    state = replace(_as_specified(DLQ), replication=1)

    assert {(one.setting, one.found) for one in compare(DLQ, state)} == {
        ("replication", "1"),
        ("min.insync.replicas", "2"),
    }


def test_another_partition_count_names_the_setting_to_change() -> None:
    state = replace(_as_specified(MAIN), partitions=12)

    (problem,) = compare(MAIN, state)

    assert problem.setting == "partitions"
    assert "KAFKA_PARTITIONS=12" in problem.message
    assert partition_problems(topic_specs(SETTINGS, PIPELINE), {"t": state}) == [problem]


@pytest.mark.parametrize(("replication", "in_sync"), [(1, 1), (2, 1), (3, 2), (5, 2)])
def test_one_broker_may_be_away_without_stopping_writes(replication: int, in_sync: int) -> None:
    assert min_insync_replicas(replication) == in_sync


def test_a_status_topic_with_more_partitions_is_made_anew_not_matched() -> None:
    (problem,) = compare(STATUS, replace(_as_specified(STATUS), partitions=8))
    assert (problem.found, problem.wanted) == ("8", "1")
    assert "Delete it" in problem.remedy
    assert "KAFKA_PARTITIONS" not in problem.remedy


def test_what_is_wrong_with_several_topics_alike_is_one_sentence() -> None:
    found = {spec.name: TopicState(spec.name, 4, 3, {}) for spec in topic_specs(SETTINGS, PIPELINE)[:6]}
    said = in_words(partition_problems(topic_specs(SETTINGS, PIPELINE), found))
    assert len(said) == 1
    assert said[0].startswith(
        "t, g.retry, g.dlq, g.alerts, g-partitions-changelog, g-consumers-changelog: partitions is 4, must be 8. Set "
    )
    assert said[0].count("KAFKA_PARTITIONS=4") == 1
