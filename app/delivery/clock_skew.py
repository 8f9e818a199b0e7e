"""How far this machine's clock is from a server's, judged by the Date header of an answer. Pure."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from app.delivery.installation import CheckLine, Part, PartState

# Machines whose clocks are set by NTP differ by milliseconds. Shorter waits than this do not matter to a retry.
MOST_SECONDS = 5.0
# RFC 9110, 5.6.7: the header has whole seconds, rounded down.
_RESOLUTION_SECONDS = 1.0
# An HTTP date has 29 characters.
_LONGEST_DATE = 100

_WHY = (
    "Workers compare the due times of retries and the expiry of tokens with their own clocks, so retries may run too "
    "early or too late, and good tokens may be refused."
)
_REMEDY = "Let NTP set the clocks of all machines that run workers."


def date_seconds(header: str | None) -> float | None:
    """The time of a Date header in seconds since 1970; None: there is none that can be read.

    >>> date_seconds("Thu, 01 Jan 1970 00:01:00 GMT"), date_seconds("yesterday"), date_seconds(None)
    (60.0, None, None)
    """
    if header is None or len(header) > _LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(header)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def ahead_seconds(asked_at: float, answered_at: float, server: float) -> float:
    """The least that this clock is ahead of the server's; negative: behind; 0: they may be equal.

    Args:
        asked_at: this clock right before the request.
        answered_at: this clock right after the answer.
        server: the server's Date.

    >>> ahead_seconds(100.0, 102.0, 100.0), ahead_seconds(100.0, 102.0, 90.0), ahead_seconds(100.0, 102.0, 110.0)
    (0.0, 9.0, -8.0)
    """
    if asked_at > server + _RESOLUTION_SECONDS:
        return asked_at - server - _RESOLUTION_SECONDS
    return min(0.0, answered_at - server)


def clock_line(host: str, asked_at: float, answered_at: float, header: str | None) -> CheckLine:
    """What an answer says of the clock. ``header``: the Date of the answer; the other times as in ``ahead_seconds``."""
    server = date_seconds(header)
    if server is None:
        return CheckLine(Part.CLOCK, PartState.NOT_CHECKED, f"the answer of {host} has no Date")
    ahead = ahead_seconds(asked_at, answered_at, server)
    if abs(ahead) <= MOST_SECONDS:
        return CheckLine(Part.CLOCK, PartState.OK, f"agrees with {host} within {MOST_SECONDS:g} s")
    where = "ahead of" if ahead > 0 else "behind"
    return CheckLine(Part.CLOCK, PartState.WRONG, f"is {abs(ahead):.0f} s {where} that of {host}. {_WHY}", _REMEDY)
