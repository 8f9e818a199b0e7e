"""The pipelines that a worker can run, by their names (``--flow``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.flows import consumers
from app.flows.recipe import Recipe
from app.observe.metrics import Metrics
from app.settings import WorkerSettings

PIPELINES: Mapping[str, Callable[[WorkerSettings, Metrics], Recipe]] = {consumers.NAME: consumers.consumers}
DEFAULT = consumers.NAME
