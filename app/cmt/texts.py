"""What the words of an answer mean, wherever they stand: a fault, a row, the OverallStatus of a Retrieve. Pure.

Marketing Cloud gives one code to errors that pass and to errors that stay, and a Retrieve gives no code at all. Only
the words tell them apart: those of SQL Server, which are passed on, and a few of Marketing Cloud's own.
"""

from __future__ import annotations

import re

from app.delivery import errors as registry
from app.delivery.errors import ErrorEntry

# Real texts are short. What is longer than this is not searched.
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
# A bare number may be the ID of any error.
_BLOCKED = re.compile(r"error[ _]?code\W{0,4}50200\b|account (?:is |has been |was )?blocked", re.IGNORECASE)
_BLOCKED_BODY = re.compile(rb"error[ _]?code\W{0,4}50200\b", re.IGNORECASE)

# The account or its package may not do this. A fresh token changes nothing, another data extension may.
_NO_RIGHT = re.compile(
    r"permission|privilege|access (?:is |was )?denied|insufficient (?:rights|access)|not (?:allowed|permitted)|"
    r"not authori[sz]ed|unauthori[sz]ed|authori[sz]ation",
    re.IGNORECASE,
)
# The same, in a fault that blames the server: it may be in trouble with its own authorisation.
_PERMISSION_FAILED = re.compile(
    r"permission (?:failed|denied)|(?:no|insufficient) (?:permission|privilege)", re.IGNORECASE
)
# Where a call comes from is what is refused; such a text may also say "unauthorized". Both have to be there, as a text
# may quote a value.
_ADDRESS = re.compile(r"\bIP(?:v[46])?[ -](?:address|range|restriction)|\b(?:allow|white|safe)[ -]?list", re.IGNORECASE)
_REFUSED = re.compile(
    r"restrict|denied|reject|block|forbidden|outside|unauthori[sz]ed|not authori[sz]ed|not \w*list|"
    r"not (?:in|on|within|part of|valid|allowed|permitted)\b",
    re.IGNORECASE,
)
# A fresh token may help.
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
    """Whether the database was too slow, or not to be reached."""
    return _TIMED_OUT.search(text, 0, LONGEST) is not None


def passing(text: str) -> ErrorEntry | None:
    """The entry of a text that says "later"; None: it does not say so. For texts that quote no values."""
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
    """Whether the account takes no calls from this IP address."""
    return _ADDRESS.search(text, 0, LONGEST) is not None and _REFUSED.search(text, 0, LONGEST) is not None


def permission_failed(text: str) -> bool:
    """Whether a right is missing, in so many words."""
    return _PERMISSION_FAILED.search(text, 0, LONGEST) is not None


def bad_token(text: str) -> bool:
    """Whether the token is refused, its age for instance."""
    return _BAD_TOKEN.search(text, 0, LONGEST) is not None


def wrong_request(text: str) -> bool:
    """Whether a Retrieve can never be answered as it is."""
    return _WRONG_REQUEST.search(text, 0, LONGEST) is not None


def account_blocked(body: bytes) -> bool:
    """Whether an answer without SOAP says that the account is blocked (errorcode 50200)."""
    return _BLOCKED_BODY.search(body, 0, LONGEST) is not None
