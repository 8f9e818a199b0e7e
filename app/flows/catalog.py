"""Where the data extensions come from."""

from __future__ import annotations

from pathlib import Path

from app.bundled import schema_path
from app.domain.entities import Catalog, CatalogError, parse_catalog
from app.settings import ConfigurationError


def load_catalog(path: Path | None) -> Catalog:
    """The data extensions of the file that ``CMT_DATA_EXTENSIONS`` names, else the bundled ones.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    path = path or schema_path("data-extensions.json")
    try:
        return parse_catalog(path.read_bytes())
    except (OSError, CatalogError) as error:
        raise ConfigurationError([f"CMT_DATA_EXTENSIONS {path}: {error}"]) from None
