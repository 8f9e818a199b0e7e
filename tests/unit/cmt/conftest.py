"""What the tests of the Marketing Cloud client share."""

from __future__ import annotations

import pytest

from app.bundled import schema_path
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The bundled data extensions."""
    return parse_catalog(schema_path("data-extensions.json").read_bytes())
