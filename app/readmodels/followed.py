"""The topics that the read models may follow. A worker follows all of them, a command only those that it needs."""

from __future__ import annotations

from enum import StrEnum

from app.delivery.pipeline import Pipeline


class Followed(StrEnum):
    """What a followed topic holds."""

    STATE = "state"  # partition records and the documents of closed days
    CONSUMERS = "consumers"  # consumer records
    LETTERS = "letters"  # dead-letter records
    TASKS = "tasks"  # operators' tasks


ALL = frozenset(Followed)

# There may be a million dead-letter records, and no take-over waits for them: they are read after all others.
LATER = frozenset({Followed.LETTERS})


def topic_of(pipeline: Pipeline, followed: Followed) -> str:
    """The name of a followed topic."""
    match followed:
        case Followed.STATE:
            return pipeline.state_topic
        case Followed.CONSUMERS:
            return pipeline.consumers_topic
        case Followed.LETTERS:
            return pipeline.letters_topic
        case Followed.TASKS:
            return pipeline.tasks_topic
