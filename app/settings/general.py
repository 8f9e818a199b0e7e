"""What belongs to no single target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from app.settings.group import SettingsGroup
from app.settings.values import OptionalSecret


class GeneralSettings(SettingsGroup):
    """What belongs to no single target."""

    kpi_keep_days: Annotated[int, Field(ge=1, le=1_000_000)] = 400
    """How many days of counts are kept; older days are dropped, from the totals too; 1000000 keeps all."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe lines that are written."""

    log_format: Literal["json", "console"] = "json"
    """`console` for people."""

    log_hash_key: OptionalSecret = None
    """Key of the hashes that stand for consumer IDs in logs; without it a new one at every start."""

    data_dir: Path = Path("data")
    """Read models; may be lost, they are rebuilt from Kafka. Folder and files are readable by the worker's user
    only.
    """
