"""What makes the pipelines that a worker can run, by their names (``--flow``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.flows.consumers import consumers
from app.flows.recipe import Recipe
from app.observe.metrics import Metrics
from app.settings import WorkerSettings
from app.settings.pipelines import CONSUMERS

RECIPES: Mapping[str, Callable[[WorkerSettings, Metrics], Recipe]] = {CONSUMERS: consumers}
