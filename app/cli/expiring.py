"""The values of open dead letters that Kafka may delete soon, for ``status``, ``check`` and ``topics check``."""

from __future__ import annotations

import math
import sys
import time

from app.cli.command_errors import CommandError
from app.cli.output import printable
from app.cli.read_once import caught_up_read_models
from app.delivery.expiring_values import ExpiringValues
from app.delivery.pipeline import Pipeline
from app.flows.expiring_values import holder_topics, values_that_expire
from app.kafka.admin import Admin, KafkaAccessError
from app.kafka.topics import retentions
from app.readmodels import Followed, ReadModelUnavailable
from app.settings import KafkaSettings

# How long a command that shows other things reads dead letters. A million take two minutes the first time.
LETTERS_SECONDS = 15.0
_LETTERS = (Followed.LETTERS,)


def expiring_values(
    kafka: KafkaSettings, pipeline: Pipeline, patience_seconds: float = math.inf
) -> list[ExpiringValues]:
    """What people are told. If it is not known, none, and standard error says why: the command has more to show.

    Args:
        patience_seconds: how long the dead letters are read. The next command goes on from there.
    """
    try:
        with Admin(kafka) as admin:
            kept = retentions(admin, holder_topics(pipeline).values())
        if all(retention_ms < 0 for retention_ms in kept.values()):
            return []
        with caught_up_read_models(
            pipeline.name, topics=_LETTERS, optional=_LETTERS, patience_seconds=patience_seconds
        ) as models:
            return values_that_expire(models.letters, pipeline, kept, int(time.time() * 1000))
    except (CommandError, KafkaAccessError, ReadModelUnavailable) as error:
        print(f"Whether values of dead letters expire soon is not known: {printable(error)}", file=sys.stderr)
        return []
