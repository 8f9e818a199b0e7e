"""What the sinks' tests share."""

from __future__ import annotations

import pytest

from app.bundled import schema_path
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog
from tests.unit.sinks.fake_cmt import FakeCmt


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return parse_catalog(schema_path("data-extensions.json").read_bytes())


@pytest.fixture
def cmt(catalog: Catalog) -> FakeCmt:
    return FakeCmt(catalog)
