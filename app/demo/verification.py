"""Collects the numbers and rows that must add up, once all events are settled."""

from __future__ import annotations

import asyncio

from app.delivery.pipeline import Pipeline
from app.demo.clients import SimulatorClient, Totals
from app.demo.dead_letters import DeadLetters
from app.demo.failed import DemoFailed
from app.demo.outcomes import OutcomesUnreadable, published_events, read_outcomes
from app.demo.rows import ExpectedRows, compare, expect
from app.demo.totals import Findings
from app.profile.entities import Catalog, EntityType
from app.profile.samples.samples import sample_events
from app.settings import KafkaSettings


async def verify(
    events: int,
    seed: int,
    totals: Totals,
    seconds: float,
    *,
    kafka: KafkaSettings,
    pipeline: Pipeline,
    catalog: Catalog,
    simulator: SimulatorClient,
    dead_letters: DeadLetters,
) -> Findings:
    """Check the result of ``events`` sample events with ``seed``, which the workers settled in ``seconds``.

    Raises:
        DemoFailed, KafkaAccessError, aiohttp.ClientError, TimeoutError: the broker or the simulator did not answer.
    """
    held = {entity: await simulator.rows(catalog[entity].customer_key) for entity in EntityType}
    stats = await simulator.stats()
    letters = await asyncio.to_thread(dead_letters.events)
    try:
        expected = await asyncio.to_thread(_expect, events, seed, totals, kafka, pipeline, catalog)
    except OutcomesUnreadable as error:
        raise DemoFailed(str(error)) from error
    return Findings(
        published=events,
        totals=totals,
        dead_letters=letters,
        calls=stats.calls,
        seconds=seconds,
        rows=compare(expected, held, catalog),
        consumers_checked=len(expected.consumers),
        consumers_left_out=expected.left_out,
    )


def _expect(
    events: int, seed: int, totals: Totals, kafka: KafkaSettings, pipeline: Pipeline, catalog: Catalog
) -> ExpectedRows:
    consumers = {event.consumer_id for event in sample_events(events, seed)}
    outcome_of = read_outcomes(kafka, pipeline, consumers, totals, events)
    return expect(published_events(events, seed, catalog), outcome_of, catalog)
