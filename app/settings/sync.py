"""How events are worked on (``SYNC_*``)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from app.settings.group import SettingsGroup
from app.settings.values import DAY_SECONDS, WEEK_SECONDS


class SyncSettings(SettingsGroup):
    """How events are worked on (``SYNC_*``)."""

    model_config = SettingsConfigDict(env_prefix="SYNC_")

    strategy: Literal["replace", "reconcile"] = "replace"
    """`replace`: as the [README](../README.md#an-event) says. `reconcile` leaves the same rows with fewer calls: an
    `UPDATE` gets all rows at the same time, upserts those that differ, then deletes those that it does not list (a
    failure there is `partial`); `profile-sync plan` shows it.
    """

    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Calls to one account that a worker makes at the same time. It works on 1.25 times as many consumers, so that a
    call is ready when another one is answered.
    """

    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    """Attempts of an event before it is given up."""

    backoff_base_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 10.0
    """Wait after the first failed attempt; doubles each time, less up to half of it at random. After a call without
    an answer it is at least `CMT_TIMEOUT_SECONDS`, as the call may still be carried out.
    """

    backoff_max_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 300.0
    """The longest wait between two attempts."""

    child_failure: Literal["log", "dlq"] = "log"
    """`dlq` makes dead letters of `partial` events."""

    replace_parent: bool = False
    """An `UPDATE` deletes the parent row too before it posts; with `replace` only."""

    breaker_failures: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """Failures of connection or service in a row that open the circuit breaker; 0 = none: outages and throttling use
    up attempts.
    """

    breaker_probe_seconds: Annotated[float, Field(ge=0.01, le=DAY_SECONDS, allow_inf_nan=False)] = 5.0
    """While it is open, one event is let through this often."""

    breaker_alert_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 60.0
    """An outage, or throttling, that lasts longer becomes one incident, counted from its first failure; it is over
    when all has been well for half of this time.
    """

    max_parked: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """A worker takes no new events while this many are parked because of failures. Events of an account that is down
    while others are up count too. Events that only wait because their consumer has more than its share do not.
    """

    dry_run: bool = False
    """Does everything except the writes to Marketing Cloud, and logs each write with its event. It needs a group of
    its own: a dry run does not join a live group, and a live worker does not join the group of a dry run. The page,
    `kpi`, `status`, the metric `profile_sync_dry_run` and every log line say so.
    """
