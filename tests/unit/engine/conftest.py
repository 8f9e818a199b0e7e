"""Logs are kept, not drawn: thousands of made-up events and tracebacks would take longer than the tests."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Everything that the engine logs during a test."""
    with capture_logs() as entries:
        yield entries
