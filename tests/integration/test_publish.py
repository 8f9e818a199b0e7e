"""``publish``: valid events from a file reach the topic unchanged, with consumerId as the key."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.broker.free_port import free_port
from app.broker.local_broker import LocalBroker
from app.bundled import schema_path
from app.delivery.record import SourceRecord
from app.flows.publishing import publish_events, publish_lines
from app.kafka.topics import create
from app.profile.catalog_file import parse_catalog
from app.profile.event_reader import read_event
from app.profile.samples.samples import sample_events, to_json
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.brokers import own_broker
from tests.support.kafka_probe import Eventually, KafkaProbe, MakeKafkaSettings, Record

CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
SECONDS = 60


def lines_of(count: int, seed: int = 1) -> list[bytes]:
    return [json.dumps(to_json(event), ensure_ascii=False).encode() for event in sample_events(count, seed)]


def environment(settings: KafkaSettings | None, **more: str) -> dict[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "CMT_"))}
    if settings is not None:
        bare |= {
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "KAFKA_TOPIC": pipeline_of(settings).topic,
            "KAFKA_MAX_MESSAGE_BYTES": str(settings.max_message_bytes),
        }
    return bare | more


def publish(
    settings: KafkaSettings | None, *arguments: str, stdin: bytes = b"", **more: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "app", "publish", *arguments],
        input=stdin,
        capture_output=True,
        env=environment(settings, **more),
        timeout=SECONDS,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def source(record: Record) -> SourceRecord:
    return SourceRecord("t", record.partition, record.offset, record.timestamp, record.key, record.value)


def values(kafka: KafkaProbe, settings: KafkaSettings) -> set[bytes | None]:
    return {record.value for record in kafka.read_all(pipeline_of(settings).topic)}


def test_a_file_of_samples_arrives_as_it_stands_in_order_and_keyed_by_consumer(
    kafka: KafkaProbe, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    lines = lines_of(200)
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    done = publish(kafka_settings, str(tmp_path / "events.jsonl"))

    assert (done.returncode, done.stdout, done.stderr) == (0, "published 200, rejected 0\n", "")
    records = kafka.read_all(pipeline_of(kafka_settings).topic)
    assert {record.value for record in records} == set(lines)
    assert len(records) == 200
    by_consumer: dict[bytes | None, list[bytes | None]] = {}
    for record in records:
        by_consumer.setdefault(record.key, []).append(record.value)
    for key, of_one in by_consumer.items():
        assert of_one == [line for line in lines if json.loads(line)["consumerId"].encode() == key]
    for record in records:  # the worker will take them
        read_event(
            SourceRecord("t", record.partition, record.offset, record.timestamp, record.key, record.value), CATALOG
        )


def test_one_document_an_array_and_cloud_events_are_published_as_they_stand(
    kafka: KafkaProbe, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    first, second, third = (json.loads(line) for line in lines_of(3))
    one = json.dumps(first, indent=2).encode()
    data = {name: value for name, value in third.items() if name != "eventId"}
    cloud = {"specversion": "1.0", "id": third["eventId"], "source": "/crm", "type": "profile", "data": data}
    entries = [json.dumps(second, indent=1).encode(), json.dumps(cloud).encode()]
    for content in (one, b"[" + b",\n".join(entries) + b"]"):
        (tmp_path / "events.json").write_bytes(content)
        done = publish(kafka_settings, str(tmp_path / "events.json"))
        assert (done.returncode, done.stderr) == (0, "")
    records = kafka.read_all(pipeline_of(kafka_settings).topic)
    assert {record.value for record in records} == {one, *entries}
    found = {read_event(source(record), CATALOG).event_id for record in records}
    assert found == {first["eventId"], second["eventId"], third["eventId"]}


BAD: list[tuple[bytes, str]] = [
    (b"{not json}", "EVENT-NOT-JSON"),
    (b'["Zq-secret"]', "EVENT-NOT-JSON"),
    (b'{"eventId": "Zq-secret"}', "EVENT-SCHEMA"),
    (b'{"eventId": "Z\xff"}', "EVENT-NOT-TEXT"),
]


def changed(line: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(line), **fields}).encode()


def test_bad_lines_are_reported_with_number_and_reason_but_no_value_and_the_good_ones_are_sent(
    kafka: KafkaProbe, kafka_settings: KafkaSettings
) -> None:
    good = [line for line in lines_of(30) if json.loads(line)["operation"] == "NEW"][:3]
    foreign = changed(good[0], consumer={"ConsumerId": "Zq-secret"})
    column = changed(good[0], consumer={"ConsumerId": json.loads(good[0])["consumerId"], "Shoe": "Zq-secret"})
    text = b"\n".join([good[0], BAD[0][0], b"", good[1], *(bad for bad, _ in BAD[1:]), foreign, column, good[2]])

    done = publish(kafka_settings, "--json", stdin=text)

    expected = [(2, BAD[0][1]), *((5 + at, code) for at, (_, code) in enumerate(BAD[1:]))]
    expected += [(8, "EVENT-FOREIGN-ROW"), (9, "EVENT-UNKNOWN-COLUMN")]
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert document["published"] == 3
    assert document["stoppedAfter"] is None
    assert [(line["line"], line["code"]) for line in document["rejected"]] == expected
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        [f"line {number}", code] for number, code in expected
    ]
    assert "Zq-secret" not in done.stdout + done.stderr
    assert values(kafka, kafka_settings) == set(good)


def test_a_dead_letter_of_a_partition_that_is_not_there_is_rejected_and_the_rest_is_sent(
    kafka: KafkaProbe, kafka_settings: KafkaSettings
) -> None:
    good = lines_of(1)[0]
    source = {"topic": kafka_settings.topic, "partition": 999, "offset": 1}
    line = json.dumps({"id": "999-1", "key": "c", "value": "{}", "headers": [], "source": source, "masked": False})

    done = publish(kafka_settings, "--json", stdin=b"\n".join([line.encode(), good]))

    document = json.loads(done.stdout)
    assert (document["published"], document["stoppedAfter"]) == (1, None)
    assert [(one["line"], one["code"]) for one in document["rejected"]] == [(1, "EXPORT")]
    assert "the topic has no partition 999" in done.stderr
    assert values(kafka, kafka_settings) == {good}


def test_byte_order_mark_blank_lines_and_windows_line_ends_are_no_part_of_an_event(
    kafka: KafkaProbe, kafka_settings: KafkaSettings
) -> None:
    lines = lines_of(3)
    done = publish(kafka_settings, "-", stdin=b"\xef\xbb\xbf" + b"\r\n\r\n  ".join(lines) + b"\r\n")
    assert (done.returncode, values(kafka, kafka_settings)) == (0, set(lines))


def test_nothing_to_publish_is_fine(kafka_settings: KafkaSettings) -> None:
    done = publish(kafka_settings, "--json")
    nothing = {"published": 0, "redrives": 0, "rejected": [], "stoppedAfter": None}
    assert (done.returncode, json.loads(done.stdout)) == (0, nothing)


def test_events_are_sent_while_the_input_goes_on(
    kafka: KafkaProbe, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    first, second = lines_of(2)
    with subprocess.Popen(
        [sys.executable, "-m", "app", "publish"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(kafka_settings),
    ) as running:
        try:
            assert running.stdin is not None
            running.stdin.write(first + b"\n")
            running.stdin.flush()
            eventually(lambda: values(kafka, kafka_settings) == {first}, "the first line is in the topic")
            assert running.poll() is None
            out, _ = running.communicate(second, timeout=SECONDS)
        finally:
            running.kill()
    assert (running.returncode, out) == (0, b"published 2, rejected 0\n")
    assert values(kafka, kafka_settings) == {first, second}


def test_events_that_are_too_large_for_kafka_are_reported_and_the_rest_is_sent(
    kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings
) -> None:
    settings = make_kafka_settings(max_message_bytes=20_000)
    before, event, after = [line for line in lines_of(30) if json.loads(line)["operation"] == "NEW"][:3]
    parent = json.loads(event)["consumer"]
    longest = changed(event, consumer={**parent, "LastName": "x" * 100_000})
    fitting = changed(event, consumer={**parent, "LastName": "x" * 15_000})

    done = publish(settings, "--json", stdin=b"\n".join([before, longest, fitting, longest, after]))

    document = json.loads(done.stdout)
    assert [(line["line"], line["code"]) for line in document["rejected"]] == [
        (2, "EVENT-TOO-LARGE"),
        (4, "EVENT-TOO-LARGE"),
    ]
    assert (done.returncode, document["published"]) == (1, 3)
    assert values(kafka, settings) == {before, fitting, after}


def test_the_topics_own_limit_counts_also_for_records_that_only_just_exceed_it(
    kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings
) -> None:
    settings = make_kafka_settings(max_message_bytes=20_000)
    # The program's setting allows more than the topic does.
    told = settings.model_copy(update={"max_message_bytes": 1_000_000})
    lines = [line for line in lines_of(90) if json.loads(line)["operation"] == "NEW"][:24]

    def of_length(line: bytes, length: int) -> bytes:
        longer = changed(line, consumer={**json.loads(line)["consumer"], "LastName": ""})
        return longer.replace(b'"LastName": ""', b'"LastName": "%s"' % (b"x" * (length - len(longer))))

    lines[10], lines[20] = of_length(lines[10], 20_000), of_length(lines[20], 20_001)

    result = publish_lines(io.BytesIO(b"\n".join(lines)), CATALOG, told, pipeline_of(told).topic)

    assert [len(lines[at]) for at in (10, 20)] == [20_000, 20_001]  # the first is refused by the broker
    assert [(line.line, line.code) for line in result.rejected] == [(11, "EVENT-TOO-LARGE"), (21, "EVENT-TOO-LARGE")]
    assert (result.published, result.stopped_after) == (22, None)
    assert values(kafka, settings) == set(lines) - {lines[10], lines[20]}


def test_columns_are_checked_against_the_data_extensions_that_are_configured(
    kafka: KafkaProbe, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    catalog = json.loads(schema_path("data-extensions.json").read_bytes())
    catalog["dataExtensions"]["consumer"]["columns"].append("Shoe")
    (tmp_path / "own.json").write_text(json.dumps(catalog))
    line = next(line for line in lines_of(1))
    own = changed(line, consumer={**json.loads(line)["consumer"], "Shoe": "44"})

    assert publish(kafka_settings, stdin=own).returncode == 1
    assert publish(kafka_settings, stdin=own, CMT_DATA_EXTENSIONS=str(tmp_path / "own.json")).returncode == 0
    assert values(kafka, kafka_settings) == {own}


def test_wrong_configuration_is_named_and_nothing_is_read(tmp_path: Path) -> None:
    none = publish(None)
    assert (none.returncode, none.stderr) == (2, "KAFKA_BOOTSTRAP_SERVERS: is required but not set\n")
    (tmp_path / "own.json").write_text("{}")
    own = publish(
        None,
        KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}",
        CMT_DATA_EXTENSIONS=str(tmp_path / "own.json"),
    )
    assert own.returncode == 2
    assert 'needs an object "dataExtensions"' in own.stderr


def test_a_file_that_is_not_there_is_wrong_usage(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        done = publish(kafka_settings, str(path))
        assert done.returncode == 2
        assert "no such file" in done.stderr


def test_a_topic_that_does_not_exist_is_told_with_its_remedy(make_kafka_settings: MakeKafkaSettings) -> None:
    settings = make_kafka_settings(create=False)
    done = publish(settings, stdin=lines_of(1)[0])
    assert done.returncode == 1
    assert (
        done.stderr
        == f"The topic {pipeline_of(settings).topic} does not exist. Create all topics: profile-sync topics create\n"
    )


def test_the_demo_publishes_events_in_the_same_way(kafka: KafkaProbe, kafka_settings: KafkaSettings) -> None:
    pipeline = pipeline_of(kafka_settings)
    events = list(sample_events(100, seed=3))
    sent: list[int] = []
    assert publish_events(events, kafka_settings, pipeline.topic, on_sent=sent.append).published == 100
    assert sent == list(range(1, 101))
    read = [read_event(source(record), CATALOG) for record in kafka.read_all(pipeline.topic)]
    assert sorted(event.event_id for event in read) == sorted(event.event_id for event in events)


@pytest.fixture
def mortal_broker() -> Iterator[LocalBroker]:
    with own_broker() as broker:
        yield broker


def test_when_kafka_goes_away_no_more_is_read_and_what_it_does_not_have_is_named(mortal_broker: LocalBroker) -> None:
    settings = KafkaSettings(bootstrap_servers=mortal_broker.bootstrap_servers, topic="mortal", partitions=1)
    create(settings, pipeline_of(settings))
    lines = lines_of(5000)

    class Input(io.BytesIO):
        """Kafka is killed when the third line is read; reading goes on until the program notices."""

        asked = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            self.asked += 1
            if self.asked == 3:
                mortal_broker.kill()
            return lines[(self.asked - 1) % len(lines)] + b"\n"

    stream = Input()
    result = publish_lines(stream, CATALOG, settings, pipeline_of(settings).topic, delivery_seconds=2)

    assert result.stopped_after == stream.asked
    assert result.published + len(result.rejected) == stream.asked
    assert result.published <= 2
    assert [line.line for line in result.rejected] == list(range(result.published + 1, stream.asked + 1))
    assert {line.code for line in result.rejected} <= {"_MSG_TIMED_OUT", "_TIMED_OUT", "_TRANSPORT"}
