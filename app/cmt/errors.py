"""From what Marketing Cloud answered to an entry of the error registry. Pure.

Sources: the vendor's pages "SOAP Faults", "1-99 General", "310000-310099 DataExtension Object" and "70000-71999 Custom
Object"; that throttling is a fault (code 17, HTTP 500) and that a deadlock shows in the text only is known from use.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.domain import errors as registry
from app.domain.errors import ErrorEntry

# SQL Server's own words, passed on under a code that permanent errors have too.
_DEADLOCK_ENDING = "rerun the transaction."

_FAULT_CODES = {
    8: registry.CMT_MAINTENANCE,
    9: registry.CMT_MAINTENANCE,
    10: registry.CMT_MAINTENANCE,
    11: registry.CMT_AUTH,
    12: registry.CMT_AUTH,
    17: registry.CMT_RATE_LIMITED,
}
_BAD_LOGIN = 12
_NOT_PROCESSED = frozenset({8, 9, 10, 11, 12, 13, 17})

_ROW_CODES = {
    **dict.fromkeys((2, 13, 71000, 71001, 71006), registry.CMT_ROW_ABORTED),
    **dict.fromkeys((9, 10), registry.CMT_MAINTENANCE),
    17: registry.CMT_RATE_LIMITED,
    **dict.fromkeys((1, 12014, 310003, 71002), registry.CMT_ROW_EXISTS),
    **dict.fromkeys((3, 310002, 310004), registry.CMT_ROW_NOT_FOUND),
    310001: registry.CMT_ROW_MISSING_KEY,
    70003: registry.CMT_DATA_EXTENSION,
    **dict.fromkeys((310007, 70000, 70001, 70002, 70004, 71003, 71004, 71005), registry.CMT_ROW_INVALID),
}


@dataclass(frozen=True, slots=True)
class CallError:
    """Why a call as a whole failed.

    ``message`` is safe to show: values are masked, secrets never in it. ``outcome_unknown``: the write may have taken
    effect. ``retry_after``: seconds the other side asks to wait, or may still be busy with it. ``late_seconds``: for so
    long a write that was given up without an answer may still be carried out.
    """

    code: str
    message: str
    outcome_unknown: bool = False
    retry_after: float | None = None
    late_seconds: float = 0.0


class CallFailed(Exception):
    """A call failed as a whole; there is no result for any row."""

    def __init__(self, error: CallError) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error


@dataclass(frozen=True, slots=True)
class Fault:
    """A SOAP fault: the local part of its code ("Security", "Server", "Client"), its text, the code of an apifault."""

    code: str
    text: str
    api_code: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer other than results means. ``token_refused``: worth one repeat with a new token."""

    entry: ErrorEntry
    outcome_unknown: bool = False
    token_refused: bool = False


def of_fault(fault: Fault) -> Verdict:
    """What a SOAP fault means."""
    if fault.code == "Security" or fault.api_code == _BAD_LOGIN:
        return Verdict(registry.CMT_AUTH, token_refused=True)
    if fault.api_code in _FAULT_CODES:
        return Verdict(_FAULT_CODES[fault.api_code])
    if "rate limit" in fault.text.casefold():
        return Verdict(registry.CMT_RATE_LIMITED)
    if fault.code in ("Client", "Sender", "MustUnderstand", "VersionMismatch"):
        return Verdict(registry.CMT_CLIENT_FAULT)
    return Verdict(registry.CMT_SERVER_FAULT, outcome_unknown=fault.api_code not in _NOT_PROCESSED)


def of_status(status: int) -> Verdict:
    """What an HTTP answer means that carries no SOAP message."""
    match status:
        case 401:
            return Verdict(registry.CMT_AUTH, token_refused=True)
        case 429:
            return Verdict(registry.CMT_RATE_LIMITED)
        case 403 | 404 | 405 | 407 | 410:
            return Verdict(registry.CMT_ENDPOINT)
        case 408:
            return Verdict(registry.CMT_TIMEOUT, outcome_unknown=True)
        case _ if 300 <= status < 400:
            return Verdict(registry.CMT_ENDPOINT)
        case _ if 400 <= status < 500:
            return Verdict(registry.CMT_HTTP_REFUSED)
        case _ if status >= 500:
            return Verdict(registry.CMT_UNAVAILABLE, outcome_unknown=True)
        case _:
            return Verdict(registry.CMT_MALFORMED, outcome_unknown=True)


def of_row(error_code: int | None, texts: tuple[str, ...], *, column_errors: bool) -> ErrorEntry:
    """What the error of one row means.

    Args:
        error_code: the Result's ErrorCode.
        texts: StatusMessage, ErrorMessage and the messages of columns.
        column_errors: whether KeyErrors or ValueErrors name columns.
    """
    if any(_is_deadlock(text) for text in texts):
        return registry.CMT_ROW_CONTENTION
    if error_code is not None and error_code in _ROW_CODES:
        return _ROW_CODES[error_code]
    return registry.CMT_ROW_INVALID if column_errors else registry.CMT_ROW_ERROR


def of_retrieve(overall_status: str) -> Verdict:
    """What an OverallStatus other than OK and MoreDataAvailable means: a Retrieve puts its error text there."""
    text = overall_status.casefold()
    if _is_deadlock(text):
        return Verdict(registry.CMT_ROW_CONTENTION)
    if "continuerequest does not exist" in text:
        return Verdict(registry.CMT_RETRIEVE_EXPIRED)
    if "permission failed" in text:
        return Verdict(registry.CMT_AUTH)
    return Verdict(registry.CMT_RETRIEVE_ERROR)


def _is_deadlock(text: str) -> bool:
    return text.rstrip().casefold().endswith(_DEADLOCK_ENDING)
