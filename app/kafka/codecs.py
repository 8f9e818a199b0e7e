"""Which compression codecs this installation can read.

A producer chooses the codec of its records, and a topic's ``compression.type`` may choose another one (Apache Kafka,
"Topic configs"). Two clients read every topic of ours: aiokafka (worker) and librdkafka (read models, commands).
"""

from __future__ import annotations

import logging
from functools import cache

from aiokafka import codec as aiokafka_codec
from confluent_kafka import KafkaException, Producer

# librdkafka would complain that no broker is configured.
_silent = logging.getLogger(__name__)
_silent.addHandler(logging.NullHandler())
_silent.propagate = False

# All codecs of Apache Kafka 4.
CODECS = ("gzip", "snappy", "lz4", "zstd")


@cache
def readable_codecs() -> frozenset[str]:
    """The codecs that both installed clients can read."""
    return frozenset(codec for codec in CODECS if _aiokafka_reads(codec) and _librdkafka_reads(codec))


def _aiokafka_reads(codec: str) -> bool:
    return bool(getattr(aiokafka_codec, f"has_{codec}")())


def _librdkafka_reads(codec: str) -> bool:
    try:
        # librdkafka refuses the setting if it was built without the codec. This makes no connection.
        Producer({"compression.type": codec}, logger=_silent)
    except KafkaException:
        return False
    return True
