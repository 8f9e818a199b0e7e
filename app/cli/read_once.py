"""The read models of a command: they read topics to their end, and keep what they have read for the next command."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.cli.command_errors import CommandError
from app.cli.output import waiting
from app.delivery.pipeline import Pipeline
from app.observe.logging import configure_command_logging
from app.readmodels import Followed, ReadModels, ReadModelUnavailable, SlotError, wait_until_caught_up
from app.settings import GeneralSettings, KafkaSettings, load
from app.settings.pipelines import CONSUMERS, pipeline_of

_WHAT = "Reading the state topics"
# Fewer records are read before anybody has seen their number.
_WORTH_A_NUMBER = 20_000


@contextmanager
def caught_up_read_models(
    flow: str = CONSUMERS,
    topics: Collection[Followed] = (Followed.STATE,),
    *,
    optional: Collection[Followed] = (),
    patience_seconds: float = math.inf,
) -> Iterator[ReadModels]:
    """The read models, after they have caught up with the topics. Needs ``KAFKA_*`` only.

    What was read stays in a folder under ``DATA_DIR``. The next command goes on from there.

    Args:
        topics: what the command asks about. The other topics are not read.
        optional: topics that an older installation may not have; they count as empty.
        patience_seconds: how long to read although it comes further.

    Raises:
        ConfigurationError: something is missing or wrong in ``KAFKA_*``.
        CommandError: the topics could not be read; the message says why.
    """
    configure_command_logging("ERROR")  # the follower's warnings are part of the CommandError
    kafka = load(KafkaSettings)
    models = _started(kafka, pipeline_of(kafka, flow), topics, optional)
    try:
        try:
            with waiting(_WHAT) as say:
                wait_until_caught_up(
                    models,
                    lambda read, total: say(_progress_text(read, total)),
                    patience_seconds=patience_seconds,
                )
        except ReadModelUnavailable as error:
            raise CommandError(str(error)) from None
        yield models
    finally:
        models.stop()


def command_folder(data_dir: Path, group: str) -> Path:
    """Where commands about a group keep what they have read. The name cannot lead out of the folder.

    >>> command_folder(Path("data"), "profile-sync").as_posix(), command_folder(Path("data"), "..").as_posix()
    ('data/commands/profile-sync', 'data/commands/%2E%2E')
    """
    return data_dir / "commands" / (group if group.strip(".") else group.replace(".", "%2E"))


def _started(
    kafka: KafkaSettings, pipeline: Pipeline, topics: Collection[Followed], optional: Collection[Followed]
) -> ReadModels:
    folder = command_folder(load(GeneralSettings).data_dir, pipeline.group)
    try:
        models = ReadModels(kafka, pipeline, folder, topics=topics, optional=optional, check=False)
        models.start()
    except SlotError as error:
        print(f"Nothing is kept for the next command: {error}", file=sys.stderr)
        models.stop()
        models = ReadModels(kafka, pipeline, None, topics=topics, optional=optional)
        models.start()
    return models


def _progress_text(read: int, total: int) -> str:
    """What a person is told while it takes long.

    >>> _progress_text(1_234_000, 2_000_000), _progress_text(1, 9)
    ('Reading the state topics: 1,234,000 of 2,000,000 records', 'Reading the state topics')
    """
    return _WHAT if total < _WORTH_A_NUMBER else f"{_WHAT}: {read:,} of {total:,} records"
