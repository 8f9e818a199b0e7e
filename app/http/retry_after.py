"""The Retry-After header (RFC 9110, 10.2.3): seconds, or a date."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# A header must not stop this program for a day; after this long it tries again.
LONGEST_SECONDS = 3600.0
# An HTTP date has 29 characters.
LONGEST_DATE = 100


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Seconds to wait from ``now``, at most ``LONGEST_SECONDS``; None: there is no header, or it cannot be read.

    >>> noon = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    >>> retry_after_seconds("5", noon), retry_after_seconds("Sat, 31 Jan 2026 12:01:30 GMT", noon)
    (5.0, 90.0)
    >>> retry_after_seconds("Mon, 01 Jan 99999999999 00:00:00 GMT", noon) is None
    True
    >>> retry_after_seconds("soon", noon) is None, retry_after_seconds("Sat, 31 Jan 2026 11:00:00 GMT", noon)
    (True, 0.0)
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_SECONDS)
    if len(text) > LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        wait = (moment - now).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        # email.utils does not expect hostile dates: a year of eleven digits, for example, raises OverflowError.
        return None
    return min(max(wait, 0.0), LONGEST_SECONDS)
