"""Whatever a Retry-After header says, it is a wait within bounds or nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.http.retry_after import LONGEST_SECONDS, retry_after_seconds
from tests.support.examples import examples

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
DATE_LIKE = st.text(alphabet="0123456789 ,:+-MonJanFebGMT()", max_size=60)


@settings(deadline=None, max_examples=examples(300))
@given(st.text(max_size=200) | DATE_LIKE)
@example("Mon, 01 Jan 99999999999 00:00:00 GMT")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Mon, 01 Jan 2026 00:00:00 +9999999999")
@example("9" * 8_000)
@example("(" * 8_000)
@example("\ud800")
def test_any_text_is_a_wait_within_bounds_or_nothing(text: str) -> None:
    wait = retry_after_seconds(text, NOON)
    assert wait is None or 0.0 <= wait <= LONGEST_SECONDS


@pytest.mark.parametrize(
    ("text", "wait"),
    [("9" * 400, LONGEST_SECONDS), ("Sun, 01 Feb 2026 12:00:00 GMT", LONGEST_SECONDS), ("٣", None), ("-1", None)],
)
def test_what_it_comes_to(text: str, wait: float | None) -> None:
    assert retry_after_seconds(text, NOON) == wait
