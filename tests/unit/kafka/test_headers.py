"""A header name that is not UTF-8 costs the headers of its record, as confluent-kafka reads them, and nothing more."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import Message

from app.kafka.headers import headers_of


class Record:
    def __init__(self, found: Any) -> None:
        self._found = found

    def headers(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


@pytest.mark.parametrize(
    ("found", "headers"),
    [
        (None, ()),
        ([("a", b"1"), ("b", None), ("a", "2")], (("a", b"1"), ("b", None), ("a", b"2"))),
        (SystemError("returned a result with an exception set"), ()),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), ()),
    ],
)
def test_headers_that_cannot_be_read_are_left_out(found: Any, headers: Any) -> None:
    assert headers_of(cast(Message, Record(found))) == headers
