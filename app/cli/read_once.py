"""The read models of a command: they read the topics once, to their end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.cli.command_errors import CommandError
from app.cli.output import waiting
from app.observe.logging import configure_command_logging
from app.readmodels import ReadModels
from app.settings import KafkaSettings, load

# About ten thousand consumers are read per second. A longer wait is a sign of trouble, not of size.
PATIENCE_SECONDS = 60.0
# A trouble that lasts this long is reported: a broker that is away, a topic that does not exist.
TROUBLE_SECONDS = 8.0


@contextmanager
def caught_up_read_models() -> Iterator[ReadModels]:
    """The read models, after they have caught up with the topics. Needs ``KAFKA_*`` only.

    Raises:
        ConfigurationError: something is missing or wrong in ``KAFKA_*``.
        CommandError: the topics could not be read; the message says why.
    """
    configure_command_logging("ERROR")  # the follower's warnings are part of the CommandError
    models = ReadModels(load(KafkaSettings), None)
    models.start()
    try:
        with waiting("Reading the state topics"):
            _until_caught_up(models)
        yield models
    finally:
        models.stop()


def _until_caught_up(models: ReadModels) -> None:
    started = time.monotonic()
    while not models.caught_up():
        waited, trouble = time.monotonic() - started, models.trouble()
        if trouble is not None and waited > TROUBLE_SECONDS:
            raise CommandError(trouble)
        if waited > PATIENCE_SECONDS:
            raise CommandError(f"the state topics could not be read within {PATIENCE_SECONDS:g} s; try again")
        time.sleep(0.02)
