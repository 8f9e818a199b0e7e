"""Answers in JSON."""

from __future__ import annotations

import json

from app.web.json_answers import json_bytes


def test_a_sum_of_more_than_64_bits_is_written() -> None:
    document = {"matched": 3000 * (2**53 - 1), "by": "\u00e4\u2028"}
    assert json.loads(json_bytes(document)) == document
