"""``check``: looks at everything that a worker needs, and says what is wrong and how to correct it.

It reads only: nothing is written to Kafka or Marketing Cloud, and no consumer group is joined. Every call has a time
limit. What depends on a part that is wrong is reported as not checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from app.cmt.token_answer import token_url
from app.delivery.installation import CheckLine, Part, PartState, not_checked, wrong_parts
from app.delivery.pipeline import Pipeline
from app.flows.catalog import load_catalog
from app.flows.clock_check import clock_lines
from app.flows.configuration import worker_settings
from app.flows.incident_check import incident_line
from app.flows.kafka_check import kafka_lines
from app.flows.target_check import target_lines
from app.settings import (
    CmtSettings,
    ConfigurationError,
    KafkaSettings,
    ServiceNowSettings,
    SyncSettings,
    load,
    warnings,
)
from app.settings.pipelines import pipeline_of

_BROKEN = "its configuration is wrong"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Installation:
    """What was found. ``pipeline``: None if the configuration does not say which topic and group it has."""

    pipeline: Pipeline | None
    lines: list[CheckLine]


async def check_installation(flow: str, *, test_incident: bool) -> Installation:
    """Check everything that a worker of this pipeline needs, as far as it is configured."""
    kafka = _usable(lambda: load(KafkaSettings))
    pipeline = None if kafka is None else _usable(lambda: pipeline_of(kafka, flow))
    cmt = _usable(lambda: load(CmtSettings))
    sync = _usable(lambda: load(SyncSettings))
    servicenow = _usable(lambda: load(ServiceNowSettings))
    parts = await asyncio.gather(
        _kafka(kafka, pipeline, sync),
        _target(cmt),
        _incidents(servicenow, pipeline, test_incident),
        _clock(cmt, servicenow),
    )
    found = [line for lines in parts for line in lines]
    # A client may refuse settings that look right, so these lines are collected from all parts.
    configuration = [*_configuration(flow), *(line for line in found if line.part is Part.CONFIGURATION)]
    if not wrong_parts(configuration):
        configuration.insert(0, CheckLine(Part.CONFIGURATION, PartState.OK, "all settings can be used"))
    others = [line for line in found if line.part is not Part.CONFIGURATION]
    return Installation(pipeline, [*dict.fromkeys(configuration), *others])


def _usable(made: Callable[[], T]) -> T | None:
    """What the settings make; None: they are wrong, which the lines of the configuration say."""
    try:
        return made()
    except ConfigurationError:
        return None


def _configuration(flow: str) -> list[CheckLine]:
    problems: list[str] = []
    try:
        worker_settings(flow)
    except ConfigurationError as error:
        problems = error.problems
    notes = [CheckLine(Part.CONFIGURATION, PartState.NOTE, warning) for warning in warnings()]
    return [*map(_wrong_setting, problems), *notes]


def _wrong_setting(problem: str) -> CheckLine:
    return CheckLine(Part.CONFIGURATION, PartState.WRONG, problem)


async def _kafka(kafka: KafkaSettings | None, pipeline: Pipeline | None, sync: SyncSettings | None) -> list[CheckLine]:
    if kafka is None or pipeline is None:
        return [not_checked(part, _BROKEN) for part in (Part.BROKER, Part.TOPICS, Part.RIGHTS, Part.GROUP)]
    lines = await kafka_lines(kafka, pipeline, dry_run=sync is not None and sync.dry_run)
    if sync is not None:
        return lines
    return [not_checked(Part.GROUP, _BROKEN) if line.part is Part.GROUP else line for line in lines]


async def _target(cmt: CmtSettings | None) -> list[CheckLine]:
    try:
        if cmt is not None:
            return await target_lines(cmt, load_catalog(cmt.data_extensions, cmt.time_zone))
    except ConfigurationError as error:
        return [*map(_wrong_setting, error.problems), *_target_not_checked()]
    return _target_not_checked()


def _target_not_checked() -> list[CheckLine]:
    return [not_checked(part, _BROKEN) for part in (Part.TOKEN, Part.DATA_EXTENSION)]


async def _incidents(
    servicenow: ServiceNowSettings | None, pipeline: Pipeline | None, test_incident: bool
) -> list[CheckLine]:
    if servicenow is None or pipeline is None:
        return [not_checked(Part.SERVICENOW, _BROKEN)]
    try:
        return [await incident_line(servicenow, pipeline.group, test_incident=test_incident)]
    except ConfigurationError as error:
        return [*map(_wrong_setting, error.problems), not_checked(Part.SERVICENOW, _BROKEN)]


async def _clock(cmt: CmtSettings | None, servicenow: ServiceNowSettings | None) -> list[CheckLine]:
    addresses = [] if cmt is None else [token_url(cmt.auth_url)]
    if servicenow is not None and servicenow.url is not None:
        addresses.append(servicenow.url)
    return await clock_lines(addresses, None if cmt is None else cmt.ca_file)
