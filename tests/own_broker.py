"""A broker of a test's own, for tests that stop or freeze it or give it other settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.kafka.distribution import BrokerStartError
from app.kafka.local_broker import LocalBroker


@contextmanager
def own_broker(broker: LocalBroker | None = None) -> Iterator[LocalBroker]:
    """Running for the length of a ``with`` block. Where none can be had the test is skipped, but not in CI."""
    broker = broker or LocalBroker()
    try:
        broker.start()
    except BrokerStartError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs a local broker: {error}")
    try:
        yield broker
    finally:
        broker.close()
