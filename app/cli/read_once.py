"""The read models of a command: they read the topics once, to their end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.cli.command_errors import CommandError
from app.cli.output import waiting
from app.observe.logging import configure_command_logging
from app.readmodels import ReadModels, ReadModelUnavailable, wait_until_caught_up
from app.settings import KafkaSettings, load
from app.settings.pipelines import CONSUMERS, pipeline_of


@contextmanager
def caught_up_read_models(flow: str = CONSUMERS) -> Iterator[ReadModels]:
    """The read models, after they have caught up with the topics. Needs ``KAFKA_*`` only.

    Raises:
        ConfigurationError: something is missing or wrong in ``KAFKA_*``.
        CommandError: the topics could not be read; the message says why.
    """
    configure_command_logging("ERROR")  # the follower's warnings are part of the CommandError
    kafka = load(KafkaSettings)
    models = ReadModels(kafka, pipeline_of(kafka, flow), None)
    models.start()
    try:
        try:
            with waiting("Reading the state topics"):
                wait_until_caught_up(models)
        except ReadModelUnavailable as error:
            raise CommandError(str(error)) from None
        yield models
    finally:
        models.stop()
