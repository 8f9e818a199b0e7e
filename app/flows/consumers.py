"""The pipeline ``consumers``: consumer profiles go to Marketing Cloud."""

from __future__ import annotations

from urllib.parse import urlsplit

from app.flows.accounts import Accounts
from app.flows.catalog import load_catalog
from app.flows.consumer_sync import ConsumerSync
from app.flows.consumer_verification import Repair
from app.flows.mending import Mending
from app.flows.recipe import Recipe
from app.observe.metrics import Metrics
from app.settings import WorkerSettings
from app.settings.pipelines import CONSUMERS, pipeline_of
from app.sinks import Sink


def consumers(settings: WorkerSettings, metrics: Metrics, sink: Sink | None = None) -> Recipe:
    """Make it of the settings.

    Args:
        sink: takes the events instead of Marketing Cloud's accounts, whose breakers stay.

    Raises:
        ConfigurationError: they cannot be used.
    """
    cmt = settings.cmt
    catalog = load_catalog(cmt.data_extensions, cmt.time_zone)
    accounts = Accounts(cmt, settings.sync, catalog, metrics, sink)
    mending = None if sink else Mending(catalog, accounts.home, Repair(cmt.batch_size, settings.sync.dry_run))
    flow = ConsumerSync(accounts, catalog, settings.sync, largest=settings.kafka.max_message_bytes, mending=mending)
    # The address that comes with the token is of the same tenant.
    target = urlsplit(cmt.soap_url or cmt.auth_url).hostname or ""
    return Recipe(pipeline_of(settings.kafka, CONSUMERS), target, flow, accounts, cmt.timeout_seconds, catalog)
