"""How events are processed (``SYNC_*``)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from app.settings.group import SettingsGroup
from app.settings.values import DAY_SECONDS, WEEK_SECONDS


class SyncSettings(SettingsGroup):
    """How events are processed (``SYNC_*``)."""

    model_config = SettingsConfigDict(env_prefix="SYNC_")

    strategy: Literal["replace", "reconcile"] = "replace"
    """`replace`: as the [README](../README.md#an-event) says. `reconcile` leaves the same rows with fewer calls: an
    `UPDATE` gets all rows at the same time, upserts the rows that differ, then deletes the rows that it does not list
    (a failure there is `partial`). `profile-sync plan` shows the calls.
    """

    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 64
    """The most calls to one account that a worker makes at the same time. It runs events of 1.25 times as many
    consumers, so that the next call is ready as soon as another is answered.
    """

    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    """Attempts of an event before it is given up."""

    backoff_base_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 10.0
    """Wait after the first failed attempt. It doubles with each attempt, minus a random part of up to half. After a
    call without an answer it is at least `CMT_TIMEOUT_SECONDS`, because the call may still be carried out.
    """

    backoff_max_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 300.0
    """The longest wait between two attempts."""

    child_failure: Literal["log", "dlq"] = "log"
    """`dlq`: `partial` events become dead letters too."""

    replace_parent: bool = False
    """Whether an `UPDATE` also deletes the parent row before it posts; only with `replace`."""

    breaker_failures: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """This many failures of connection or service in a row open the circuit breaker. 0 = no breaker: outages and
    throttling use up attempts.
    """

    breaker_probe_seconds: Annotated[float, Field(ge=0.01, le=DAY_SECONDS, allow_inf_nan=False)] = 5.0
    """How often the open circuit breaker lets one event through as a probe."""

    breaker_alert_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 60.0
    """An outage or throttling that lasts longer than this, counted from its first failure, becomes one incident. It is
    over when there was no failure for half of this time.
    """

    max_parked: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """A worker takes no new events while this many are parked because of failures. This includes events of an account
    that is down while others are up. It excludes events that only wait because their consumer has more than its share.
    """

    dry_run: bool = False
    """A dry run does everything except the writes to Marketing Cloud, and logs each write with its event. It needs its
    own group: a dry run does not join the group of a real run, and a real run does not join the group of a dry run. The
    page, `kpi`, `status`, the metric `profile_sync_dry_run` and every log line say that it is a dry run.
    """
