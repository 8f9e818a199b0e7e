"""Whether a worker may join its group: asked before it joins, so that the group's other workers are not disturbed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from app.delivery.dry_run import refusal_of_group
from app.delivery.pipeline import Pipeline
from app.delivery.pipeline_identity import Difference, PipelineIdentity, compare
from app.engine.flow import Topics, TopicsUnknown
from app.flows.worker_end import WorkerFailed
from app.readmodels import Followed, ReadModels, ReadModelUnavailable

# For reading the group's records. If they take longer, only the claim looks at them.
READ_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.05


async def check_group(
    read_models: ReadModels,
    topics: Topics,
    pipeline: Pipeline,
    *,
    dry_run: bool,
    stopped_within: Callable[[float], Awaitable[bool]],
) -> None:
    """Look at the group's records. The claim of a partition looks again, because others may write meanwhile.

    Args:
        stopped_within: waits some seconds; true: the worker is to stop.

    Raises:
        WorkerFailed: the group works on another topic, or one of the two is a dry run and the other is not.
    """
    deadline = time.monotonic() + READ_SECONDS
    while not read_models.caught_up(Followed.STATE) and time.monotonic() < deadline:
        if await stopped_within(LOOK_AGAIN_SECONDS):
            return
    try:
        records = read_models.partitions()
        seen = await topics.look()
    except (ReadModelUnavailable, TopicsUnknown):
        return
    running = PipelineIdentity(pipeline.name, pipeline.topic, seen.ids)
    if why := refusal_of_group(records.values(), running, dry_run=dry_run, group=pipeline.group):
        found = {compare(state.identity, running).difference for state in records.values()}
        raise WorkerFailed(why, configuration=not found & {Difference.RECREATED, Difference.CONSUMERS_LOST})
