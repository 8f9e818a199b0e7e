"""What the pages, the commands and the engine read: followers of the state topics."""

from app.readmodels.models import ReadModels, ReadModelUnavailable
from app.readmodels.slot import SlotError

__all__ = ["ReadModelUnavailable", "ReadModels", "SlotError"]
