"""Headers of other programs are masked, except those that say where a record comes from."""

from __future__ import annotations

import pytest

from app.profile.masked_value import masked_headers
from app.profile.masking import MASK


@pytest.mark.parametrize(
    ("name", "value", "stays"),
    [
        ("__connect.errors.topic", b"orders", True),
        ("__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.DataException", True),
        ("__streams.errors.exception", b"java.lang.NumberFormatException", True),
        ("kafka_dlt-exception-fqcn", b"java.lang.IllegalStateException", True),
        ("__connect.errors.topic", b"Ann Lee", False),
        ("__connect.errors.topic", b"\xff", False),
        ("__connect.errors.exception.message", b"Ann", False),
        ("__streams.errors.stacktrace", b"Ann", False),
        ("kafka_dlt-exception-message", b"Ann", False),
        ("kafka_dlt-exception-stacktrace", b"Ann", False),
        ("__connect.errors.user", b"Ann", False),
    ],
)
def test_only_places_and_kinds_of_errors_stay(name: str, value: bytes, stays: bool) -> None:
    assert masked_headers(((name, value),)) == ((name, value if stays else MASK.encode()),)
