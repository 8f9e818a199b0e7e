"""The read models: followers of the pipeline's topics, for the pages, the commands and the engine."""

from app.readmodels.followed import Followed
from app.readmodels.models import ReadModels
from app.readmodels.reading_once import wait_until_caught_up
from app.readmodels.slot import SlotError
from app.readmodels.unavailable import ReadModelUnavailable

__all__ = ["Followed", "ReadModelUnavailable", "ReadModels", "SlotError", "wait_until_caught_up"]
