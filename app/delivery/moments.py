"""Times that a person types: a day, a time, or an age. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_AGE = re.compile(r"([0-9]{1,5})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9:]{5})?)?"
)
FORMS = "a day such as 2026-01-31, a time such as 2026-01-31T02:30Z, or an age such as 5m, 24h or 7d"


class MomentError(ValueError):
    """A text is not a time; the message says what is one, and repeats no input."""


def read_moment(text: str, now: datetime) -> int:
    """A time in ms since 1970; an earlier one is 0. Without a zone it is UTC.

    Raises:
        MomentError: the text is none of the three.

    >>> read_moment("1970-01-02", datetime.now(UTC)), read_moment("1970-01-01T01:00Z", datetime.now(UTC))
    (86400000, 3600000)
    >>> read_moment("2h", datetime(1970, 1, 1, 3, tzinfo=UTC)), read_moment("0001-01-01", datetime.now(UTC))
    (3600000, 0)
    """
    try:
        if (age := _AGE.fullmatch(text)) is not None:
            moment = now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        elif _TIME.fullmatch(text):
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            raise ValueError
        return max(0, int(moment.timestamp() * 1000))
    except (ValueError, OverflowError):
        raise MomentError(FORMS) from None
