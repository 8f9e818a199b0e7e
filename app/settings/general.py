"""Settings that belong to no single target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from app.settings.group import SettingsGroup
from app.settings.values import OptionalSecret


class GeneralSettings(SettingsGroup):
    """Settings that belong to no single target."""

    kpi_keep_days: Annotated[int, Field(ge=1, le=1_000_000)] = 400
    """Days of counts to keep. Older days are dropped, also from the totals; 1000000 keeps all."""

    dlq_keep_days: Annotated[int, Field(ge=30, le=1_000_000)] = 90
    """Days to keep dead letters that were settled or discarded, tasks that have ended, and the records of who saw
    values. Open dead letters are always kept; their values are kept as long as the dead-letter topic keeps them.
    """

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level of lines to write."""

    log_format: Literal["json", "console"] = "json"
    """`console` is for people to read."""

    log_hash_key: OptionalSecret = None
    """Key of the hashes that replace consumer IDs in logs; default: a new key at every start."""

    data_dir: Path = Path("data")
    """Folder of the read models. It may be lost: they are rebuilt from Kafka. Only the worker's user can read the
    folder and its files.
    """
