"""A worker's configuration, checked as a whole before anything starts."""

from __future__ import annotations

from app.flows.catalog import load_catalog
from app.kafka.clients import ssl_context
from app.profile.plan import contradiction
from app.settings import ConfigurationError, WorkerSettings
from app.settings.pipelines import CONSUMERS, pipeline_of


def worker_settings(flow: str = CONSUMERS) -> WorkerSettings:
    """The settings of a worker of that pipeline.

    Raises:
        ConfigurationError: with all that is wrong, also in the files that they name.
    """
    return WorkerSettings(also=[lambda settings: pipeline_of(settings.kafka, flow), _catalog, _certificates, _strategy])


def _catalog(settings: WorkerSettings) -> None:
    load_catalog(settings.cmt.data_extensions)


def _certificates(settings: WorkerSettings) -> None:
    ssl_context(settings.kafka)


def _strategy(settings: WorkerSettings) -> None:
    if problem := contradiction(settings.sync.strategy, replace_parent=settings.sync.replace_parent):
        raise ConfigurationError([problem])
