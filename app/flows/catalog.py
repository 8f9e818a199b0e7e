"""Where the data extensions come from."""

from __future__ import annotations

from pathlib import Path

from app.bundled import schema_path
from app.profile.catalog_file import CatalogError, parse_catalog
from app.profile.column_types import DEFAULT_TIME_ZONE
from app.profile.entities import Catalog
from app.settings import ConfigurationError


def load_catalog(path: Path | None, time_zone: str = DEFAULT_TIME_ZONE) -> Catalog:
    """The data extensions in the file that ``CMT_DATA_EXTENSIONS`` names, or else the bundled ones.

    ``time_zone``: of the dates that accounts return, for markets that do not name one.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    path = path or schema_path("data-extensions.json")
    try:
        return parse_catalog(path.read_bytes(), time_zone)
    except (OSError, CatalogError) as error:
        raise ConfigurationError([f"CMT_DATA_EXTENSIONS {path}: {error}"]) from None
