"""What the words of an answer mean, be it in a fault, a row or the OverallStatus of a Retrieve. Pure.

Marketing Cloud gives the same code to transient and to permanent errors, and a Retrieve gives no code at all. Only the
words tell them apart. Most come from SQL Server, whose errors Marketing Cloud passes on; a few are its own.
"""

from __future__ import annotations

import re

from app.delivery import errors as registry
from app.delivery.errors import ErrorEntry

# Real texts are short. Only this many characters are searched.
LONGEST = 4_000

# SQL Server's own words for a conflict of two writers. No value of a row is likely to hold them.
_CONTENTION = re.compile(
    r"rerun the transaction|deadlock(?:ed)? |deadlock victim|lock request time ?-?out|duplicate key|"
    r"concurrency violation|snapshot isolation transaction aborted",
    re.IGNORECASE,
)
_TIMED_OUT = re.compile(
    r"time-?out (?:period )?(?:has )?expired|timed[ -]out|execution timeout|transport-level error|"
    r"transaction log for database \S{1,100} is full",
    re.IGNORECASE,
)
_THROTTLED = re.compile(r"rate.?limit|too many (?:requests|calls)|throttl", re.IGNORECASE)
_MAINTENANCE = re.compile(r"\bmaintenance\b", re.IGNORECASE)
_LATER = re.compile(
    r"time-?out|database problem|try again|retry|at this time|temporar|unavailable|not available|\bbusy\b|overloaded|"
    r"unplanned outage|unexpected error|internal error|connection",
    re.IGNORECASE,
)
# A number alone may be the ID of any error.
_BLOCKED = re.compile(r"error[ _]?code\W{0,4}50200\b|account (?:is |has been |was )?blocked", re.IGNORECASE)
_BLOCKED_BODY = re.compile(rb"error[ _]?code\W{0,4}50200\b", re.IGNORECASE)

# The account or its package lacks a right. A new token does not help; another data extension may be allowed.
_NO_RIGHT = re.compile(
    r"permission|privilege|access (?:is |was )?denied|insufficient (?:rights|access)|not (?:allowed|permitted)|"
    r"not authori[sz]ed|unauthori[sz]ed|authori[sz]ation",
    re.IGNORECASE,
)
# The same, in a fault that blames the server. Its own authorisation may be in trouble, so the words must be plainer.
_PERMISSION_FAILED = re.compile(
    r"permission (?:failed|denied)|(?:no|insufficient) (?:permission|privilege)", re.IGNORECASE
)
# The address that a call comes from is refused. Such a text may also say "unauthorized". Both patterns have to match,
# because a text may quote a value.
_ADDRESS = re.compile(r"\bIP(?:v[46])?[ -](?:address|range|restriction)|\b(?:allow|white|safe)[ -]?list", re.IGNORECASE)
_REFUSED = re.compile(
    r"restrict|denied|reject|block|forbidden|outside|unauthori[sz]ed|not authori[sz]ed|not \w*list|"
    r"not (?:in|on|within|part of|valid|allowed|permitted)\b",
    re.IGNORECASE,
)
# A new token may help.
_BAD_TOKEN = re.compile(
    r"token (?:has |is |was )?(?:expired|invalid|revoked)|(?:expired|invalid|missing) (?:\w+ )?token|"
    r"login failed|authentication|not authenticated",
    re.IGNORECASE,
)
# A Retrieve of this form fails every time.
_WRONG_REQUEST = re.compile(
    r"unable to find a handler|do(?:es)? not match with the fields|"
    r"invalid column|does not exist|no data extension|unknown filter|"
    r"check spelling|not supported|is not valid|invalid (?:object|property|filter)",
    re.IGNORECASE,
)


def contention(text: str) -> bool:
    """Whether another writer was in the way: a deadlock, a lock, the same key inserted at the same moment."""
    return _CONTENTION.search(text, 0, LONGEST) is not None


def timed_out(text: str) -> bool:
    """Whether the database was too slow, or could not be reached."""
    return _TIMED_OUT.search(text, 0, LONGEST) is not None


def passing(text: str) -> ErrorEntry | None:
    """The entry of a text about a transient error; None: it is about none. Only for texts that quote no values."""
    if contention(text):
        return registry.CMT_ROW_CONTENTION
    if _BLOCKED.search(text, 0, LONGEST):
        return registry.CMT_BLOCKED
    if _THROTTLED.search(text, 0, LONGEST):
        return registry.CMT_RATE_LIMITED
    if _MAINTENANCE.search(text, 0, LONGEST):
        return registry.CMT_MAINTENANCE
    if _LATER.search(text, 0, LONGEST) or timed_out(text):
        return registry.CMT_BUSY
    return None


def no_right(text: str) -> bool:
    """Whether a right is missing."""
    return _NO_RIGHT.search(text, 0, LONGEST) is not None


def address_refused(text: str) -> bool:
    """Whether the account refuses calls from this IP address."""
    return _ADDRESS.search(text, 0, LONGEST) is not None and _REFUSED.search(text, 0, LONGEST) is not None


def permission_failed(text: str) -> bool:
    """Whether the text says plainly that a right is missing."""
    return _PERMISSION_FAILED.search(text, 0, LONGEST) is not None


def bad_token(text: str) -> bool:
    """Whether the token is refused, for instance because it has expired."""
    return _BAD_TOKEN.search(text, 0, LONGEST) is not None


def wrong_request(text: str) -> bool:
    """Whether a Retrieve can never be answered as it is."""
    return _WRONG_REQUEST.search(text, 0, LONGEST) is not None


def account_blocked(body: bytes) -> bool:
    """Whether an answer without SOAP says that the account is blocked (errorcode 50200)."""
    return _BLOCKED_BODY.search(body, 0, LONGEST) is not None
