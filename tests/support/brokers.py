"""Brokers for tests. If no broker can be started, tests that need one are skipped, except in CI."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import pytest

from app.broker.distribution import BrokerStartError
from app.broker.local_broker import LocalBroker

_Broker = TypeVar("_Broker")


@contextmanager
def needed(broker: AbstractContextManager[_Broker]) -> Iterator[_Broker]:
    """The broker, running for the length of a ``with`` block."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(broker)
        except BrokerStartError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"needs a broker: {error}")
        yield started


def own_broker(broker: LocalBroker | None = None) -> AbstractContextManager[LocalBroker]:
    """A broker for one test that stops it, freezes it or gives it other settings; otherwise like ``needed``."""
    return needed(broker or LocalBroker())
