"""Ports for servers: free, and never the same one for two of them."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from app.broker import free_port as module
from app.broker.free_port import free_port


class Scripted:
    """Says given numbers, one after the other."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = iter(numbers)

    def randint(self, _lowest: int, _highest: int) -> int:
        return next(self._numbers)


@pytest.fixture
def free() -> Iterator[tuple[int, int]]:
    """Two ports that nothing listens on and that were not returned before."""
    one, two = free_port(), free_port()
    module._given.difference_update((one, two))
    yield one, two


def test_no_port_is_given_twice(free: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = free
    monkeypatch.setattr(module, "_random", Scripted(one, one, two))
    assert (free_port(), free_port()) == (one, two)


def test_a_port_that_is_wanted_for_something_else_is_left_out(
    free: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = free
    monkeypatch.setattr(module, "_random", Scripted(one, two))
    assert free_port(one) == two


def test_a_port_in_use_is_left_out(free: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = free
    monkeypatch.setattr(module, "_random", Scripted(one, two))
    with socket.socket() as server:
        server.bind(("127.0.0.1", one))
        server.listen()
        assert free_port() == two


def test_a_seed_does_not_bring_the_same_ports_again() -> None:
    state = random.getstate()
    try:
        random.seed(0)
        first = [free_port() for _ in range(3)]
        module._given.difference_update(first)
        random.seed(0)
        assert [free_port() for _ in range(3)] != first
    finally:
        random.setstate(state)


def test_without_a_free_port_the_error_says_so(monkeypatch: pytest.MonkeyPatch, free: tuple[int, int]) -> None:
    one, _ = free
    monkeypatch.setattr(module, "_random", Scripted(*[one] * 200))
    with pytest.raises(OSError, match="No free TCP port"):
        free_port(one)
