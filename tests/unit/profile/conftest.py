"""What the domain's tests share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from app.bundled import schema_path
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog
from tests.support.examples import examples

# No deadline per example: how busy the machine is says nothing about the code.
settings.register_profile(
    "domain", deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("domain")


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The bundled data extensions."""
    return parse_catalog(schema_path("data-extensions.json").read_bytes())
