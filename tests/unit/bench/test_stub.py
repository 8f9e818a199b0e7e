"""The HTTP target: it waits as long as it is told to, counts, and serves many at a time."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.stub import ANSWER_BODY, Stub, ceiling, stub

_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Stub]:
    with stub(tmp_path) as running:
        yield running


def post(url: str, body: bytes = b"x" * 100_000, action: str = "Update") -> bytes:
    """More than one segment, so that a request arrives in parts."""
    headers = {"SOAPAction": f'"{action}"'}
    with _http.open(urllib.request.Request(url, body, headers, method="POST"), timeout=30) as answer:
        content: bytes = answer.read()
        return content


def test_it_answers_after_the_time_in_the_path_and_counts(target: Stub) -> None:
    began = time.monotonic()

    assert post(target.url(200)) == ANSWER_BODY

    assert time.monotonic() - began >= 0.19  # a timer may be a millisecond early
    assert target.answered().calls == 1


def test_it_says_how_long_its_answers_really_took(target: Stub) -> None:
    post(target.url(20))
    before = target.answered()
    assert before.seconds >= 0.019
    assert before.ms_each_since(before) == 0.0

    for _ in range(2):
        post(target.url(200))

    assert 199 <= target.answered().ms_each_since(before) < 20_000


def test_calls_wait_side_by_side(target: Stub) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: post(target.url(500)), range(16)))

    assert answers == [ANSWER_BODY] * 16
    assert time.monotonic() - began < 16 * 0.5 / 2
    assert target.answered().calls == 16


def test_soap_reads_are_answered_but_not_counted(target: Stub) -> None:
    assert post(target.url(20), action="Retrieve") == ANSWER_BODY
    assert target.answered().calls == 0


def test_looking_at_the_count_does_not_change_it(target: Stub) -> None:
    assert [target.answered().calls for _ in range(3)] == [0, 0, 0]


def test_its_ceiling_is_measured_with_clients_that_do_nothing_else(target: Stub) -> None:
    speed = ceiling(target, 50, connections=8, seconds=0.5)

    assert 0 < speed <= 8 / 0.049
