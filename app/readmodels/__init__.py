"""The read models: followers of the state topics, for the pages, the commands and the engine."""

from app.readmodels.models import ReadModels, ReadModelUnavailable
from app.readmodels.reading_once import wait_until_caught_up
from app.readmodels.slot import SlotError

__all__ = ["ReadModelUnavailable", "ReadModels", "SlotError", "wait_until_caught_up"]
