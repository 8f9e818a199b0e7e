"""What the domain's tests share."""

from __future__ import annotations

import pytest

from app.bundled import schema_path
from app.domain.entities import Catalog, parse_catalog


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The bundled data extensions."""
    return parse_catalog(schema_path("data-extensions.json").read_bytes())
