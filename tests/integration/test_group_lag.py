"""How far a group is behind, asked from a real broker."""

from __future__ import annotations

from app.kafka.group_lag import group_lag
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import KafkaProbe, MakeKafkaSettings

# The numbers matter: with one record more or less in the last partition, its end was not fetched with its records.
RECORDS = {0: 5, 1: 7, 2: 2, 3: 24, 4: 2, 5: 15, 6: 0, 7: 5}


def test_records_count_though_the_end_of_their_partition_is_read_with_them(
    kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings
) -> None:
    settings = make_kafka_settings(partitions=8)
    pipeline = pipeline_of(settings)
    for number, records in RECORDS.items():
        if records:
            kafka.produce(pipeline.topic, [(b"C-1", b"{}")] * records, partition=number)
    lag = group_lag(settings, pipeline)
    assert {number: one.records for number, one in lag.items()} == RECORDS
    assert all(one.since_ms for number, one in lag.items() if RECORDS[number])
