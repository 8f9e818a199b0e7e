"""Which compressed records this installation can read.

A producer chooses the codec of its records, a topic's ``compression.type`` may choose another one (Apache Kafka,
"Topic configs"). Every topic of ours is read by two clients: aiokafka (worker) and librdkafka (read models, commands).
"""

from __future__ import annotations

import logging
from functools import cache

from aiokafka import codec as aiokafka_codec
from confluent_kafka import KafkaException, Producer

# That no broker is named is no news.
_silent = logging.getLogger(__name__)
_silent.addHandler(logging.NullHandler())
_silent.propagate = False

# Apache Kafka 4: all there are.
CODECS = ("gzip", "snappy", "lz4", "zstd")


@cache
def readable_codecs() -> frozenset[str]:
    """The codecs that both clients can read as they are installed."""
    return frozenset(codec for codec in CODECS if _aiokafka_reads(codec) and _librdkafka_reads(codec))


def _aiokafka_reads(codec: str) -> bool:
    return bool(getattr(aiokafka_codec, f"has_{codec}")())


def _librdkafka_reads(codec: str) -> bool:
    try:
        # librdkafka refuses the setting when it was built without the codec. Nothing is connected to.
        Producer({"compression.type": codec}, logger=_silent)
    except KafkaException:
        return False
    return True
