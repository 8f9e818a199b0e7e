"""Finds the entry of the error registry for what Marketing Cloud answered. Pure.

Sources: the vendor's pages "SOAP Faults", "1-99 General", "310000-310099 DataExtension Object" and "70000-71999 Custom
Object". Two facts are known only from use: throttling is a fault (code 17, HTTP 500), and a deadlock shows only in the
text. ``texts`` knows what the words mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.cmt import texts
from app.delivery import errors as registry
from app.delivery.errors import ErrorEntry
from app.http.answer import FailureKind, TransportFailed

_THROTTLED, _BLOCKED = 50100, 50200

_FAULT_CODES = {
    8: registry.CMT_MAINTENANCE,
    9: registry.CMT_MAINTENANCE,
    10: registry.CMT_MAINTENANCE,
    11: registry.CMT_PERMISSION,
    12: registry.CMT_AUTH,
    17: registry.CMT_RATE_LIMITED,
    _THROTTLED: registry.CMT_RATE_LIMITED,
    _BLOCKED: registry.CMT_BLOCKED,
}
_BAD_LOGIN = 12
_NOT_PROCESSED = frozenset({8, 9, 10, 11, 12, 13, 17})
# WS-Security 1.1, section 12, and WS-Trust: fault codes about the token. A new token may help with each of them.
TOKEN_FAULTS = frozenset(
    {
        "Security",
        "FailedAuthentication",
        "FailedCheck",
        "InvalidSecurity",
        "InvalidSecurityToken",
        "SecurityTokenUnavailable",
        "UnsupportedSecurityToken",
        "MessageExpired",
        "ExpiredData",
    }
)
_CLIENT_FAULTS = ("Client", "Sender", "MustUnderstand", "VersionMismatch")

_FAILURES = {
    FailureKind.ADDRESS: registry.CMT_ENDPOINT,
    FailureKind.CONNECTION: registry.CMT_CONNECTION,
    FailureKind.CERTIFICATE: registry.CMT_CERTIFICATE,
    FailureKind.TIMEOUT: registry.CMT_TIMEOUT,
    FailureKind.ANSWER: registry.CMT_MALFORMED,
}

# A row with one of these codes was not finished, even if its status is OK: a batch that timed out answers like that.
_UNFINISHED = frozenset({71000, 71001, 71006})
# Permanent and transient errors share this code.
_UNEXPECTED = 2

_ROW_CODES = {
    **dict.fromkeys((_UNEXPECTED, 13, *_UNFINISHED), registry.CMT_ROW_ABORTED),
    **dict.fromkeys((9, 10), registry.CMT_MAINTENANCE),
    11: registry.CMT_PERMISSION,
    12: registry.CMT_AUTH,
    **dict.fromkeys((17, _THROTTLED), registry.CMT_RATE_LIMITED),
    _BLOCKED: registry.CMT_BLOCKED,
    **dict.fromkeys((1, 12014, 310003, 71002), registry.CMT_ROW_EXISTS),
    **dict.fromkeys((3, 310002, 310004), registry.CMT_ROW_NOT_FOUND),
    310001: registry.CMT_ROW_MISSING_KEY,
    70003: registry.CMT_DATA_EXTENSION,
    **dict.fromkeys((310007, 70000, 70001, 70002, 70004, 71003, 71004, 71005), registry.CMT_ROW_INVALID),
}


def entry_of(failure: TransportFailed) -> ErrorEntry:
    """The entry of a request that got no answer."""
    return _FAILURES[failure.kind]


def told(failure: TransportFailed) -> str:
    """The failure in words, with advice where there is any."""
    return f"{failure}; CMT_CA_FILE adds a CA" if failure.kind is FailureKind.CERTIFICATE else str(failure)


@dataclass(frozen=True, slots=True)
class CallError:
    """Why a call as a whole failed.

    ``message`` is safe to show: values are masked, and it never holds a secret. ``outcome_unknown``: the write may have
    taken effect. ``retry_after``: seconds to wait, because Marketing Cloud asks for them or may still be working on the
    call. ``request_id``: of the answer; empty if there was none.
    """

    code: str
    message: str
    outcome_unknown: bool = False
    retry_after: float | None = None
    request_id: str = ""


class CallFailed(Exception):
    """A call failed as a whole; there is no result for any row."""

    def __init__(self, error: CallError) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error


@dataclass(frozen=True, slots=True)
class Fault:
    """A SOAP fault: the local part of its code ("Security", "Server", "Client"), its text, the code of an apifault.

    If the code has subcodes, ``code`` is the one that is in ``TOKEN_FAULTS``, else the first.
    """

    code: str
    text: str
    api_code: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerVerdict:
    """What an answer without results means. ``token_refused``: the call is repeated once with a new token."""

    entry: ErrorEntry
    outcome_unknown: bool = False
    token_refused: bool = False


def of_fault(fault: Fault) -> AnswerVerdict:
    """What a SOAP fault means."""
    code, text = fault.api_code, fault.text
    if texts.address_refused(text):
        return AnswerVerdict(registry.CMT_ADDRESS_REFUSED)
    if code == _BAD_LOGIN:
        return AnswerVerdict(registry.CMT_AUTH, token_refused=True)
    if code in _FAULT_CODES:
        return AnswerVerdict(_FAULT_CODES[code])
    if code is None and (fault.code in TOKEN_FAULTS or fault.code in _CLIENT_FAULTS):
        return _of_refusal(fault)
    passing = texts.passing(text)
    if passing in (registry.CMT_ROW_CONTENTION, registry.CMT_RATE_LIMITED, registry.CMT_BLOCKED):
        return AnswerVerdict(passing)
    if texts.permission_failed(text):
        return AnswerVerdict(registry.CMT_PERMISSION)
    if fault.code in TOKEN_FAULTS:
        return AnswerVerdict(registry.CMT_AUTH, token_refused=True)
    if fault.code in _CLIENT_FAULTS and passing is None:
        return AnswerVerdict(registry.CMT_CLIENT_FAULT)
    return AnswerVerdict(registry.CMT_SERVER_FAULT, outcome_unknown=code not in _NOT_PROCESSED)


def _of_refusal(fault: Fault) -> AnswerVerdict:
    """A fault without detail that blames the caller: its token, its rights or its request."""
    text = fault.text
    if texts.bad_token(text):
        return AnswerVerdict(registry.CMT_AUTH, token_refused=True)
    if texts.no_right(text):
        return AnswerVerdict(registry.CMT_PERMISSION, token_refused=True)
    if fault.code in TOKEN_FAULTS:
        return AnswerVerdict(registry.CMT_AUTH, token_refused=True)
    if (entry := texts.passing(text)) is not None:
        return AnswerVerdict(entry, outcome_unknown=entry is registry.CMT_BUSY)
    return AnswerVerdict(registry.CMT_CLIENT_FAULT)


def of_status(status: int, body: bytes = b"") -> AnswerVerdict:
    """What an HTTP answer without a SOAP message means."""
    if status >= 400 and texts.account_blocked(body):
        return AnswerVerdict(registry.CMT_BLOCKED)
    match status:
        case 401:
            return AnswerVerdict(registry.CMT_AUTH, token_refused=True)
        case 429:
            return AnswerVerdict(registry.CMT_RATE_LIMITED)
        case 403 | 404 | 405 | 407 | 410:
            return AnswerVerdict(registry.CMT_ENDPOINT)
        case 408:
            return AnswerVerdict(registry.CMT_TIMEOUT, outcome_unknown=True)
        case _ if 300 <= status < 400:
            return AnswerVerdict(registry.CMT_ENDPOINT)
        case _ if 400 <= status < 500:
            return AnswerVerdict(registry.CMT_HTTP_REFUSED)
        case _ if status >= 500:
            return AnswerVerdict(registry.CMT_UNAVAILABLE, outcome_unknown=True)
        case _:
            return AnswerVerdict(registry.CMT_MALFORMED, outcome_unknown=True)


def of_row(error_code: int | None, said: tuple[str, ...], *, column_errors: bool) -> ErrorEntry:
    """What the error of one row means.

    Args:
        error_code: the Result's ErrorCode.
        said: StatusMessage, ErrorMessage and the messages of columns. They may quote values.
        column_errors: whether KeyErrors or ValueErrors name columns.
    """
    if any(texts.contention(text) for text in said):
        return registry.CMT_ROW_CONTENTION
    if column_errors and error_code in (None, _UNEXPECTED):
        return registry.CMT_ROW_INVALID
    if error_code == _UNEXPECTED and any("required keys are missing" in text.casefold() for text in said):
        return registry.CMT_ROW_MISSING_KEY
    if error_code is not None and error_code in _ROW_CODES:
        return _ROW_CODES[error_code]
    if column_errors:
        return registry.CMT_ROW_INVALID
    if any(texts.timed_out(text) for text in said):
        return registry.CMT_ROW_ABORTED
    if any(texts.address_refused(text) for text in said):
        return registry.CMT_ADDRESS_REFUSED
    if any(texts.no_right(text) for text in said):
        return registry.CMT_PERMISSION
    return next((entry for text in said if (entry := _of_row_text(text)) is not None), registry.CMT_ROW_ERROR)


def _of_row_text(text: str) -> ErrorEntry | None:
    entry = texts.passing(text)
    return registry.CMT_ROW_ABORTED if entry is registry.CMT_BUSY else entry


def unfinished(error_code: int | None) -> bool:
    """Whether a row that says OK may not have been written. Only another write of the row makes it certain."""
    return error_code in _UNFINISHED


def of_retrieve(overall_status: str) -> AnswerVerdict:
    """What an OverallStatus other than OK and MoreDataAvailable means. A Retrieve puts its error text there.

    A read may be repeated without harm, so it fails for good only where the text says that it can never work.
    """
    if texts.contention(overall_status):
        return AnswerVerdict(registry.CMT_ROW_CONTENTION)
    if "continuerequest does not exist" in overall_status.casefold():
        return AnswerVerdict(registry.CMT_RETRIEVE_EXPIRED)
    if texts.address_refused(overall_status):
        return AnswerVerdict(registry.CMT_ADDRESS_REFUSED)
    if texts.bad_token(overall_status):
        return AnswerVerdict(registry.CMT_AUTH, token_refused=True)
    if texts.no_right(overall_status):
        return AnswerVerdict(registry.CMT_PERMISSION)
    if texts.wrong_request(overall_status):
        return AnswerVerdict(registry.CMT_RETRIEVE_ERROR)
    return AnswerVerdict(texts.passing(overall_status) or registry.CMT_RETRIEVE_FAILED)


def of_no_results(overall_status: str) -> AnswerVerdict:
    """What the answer to a write means if it has no result for any row."""
    if texts.address_refused(overall_status):
        return AnswerVerdict(registry.CMT_ADDRESS_REFUSED)
    if texts.bad_token(overall_status):
        return AnswerVerdict(registry.CMT_AUTH, token_refused=True)
    if texts.no_right(overall_status):
        return AnswerVerdict(registry.CMT_PERMISSION)
    entry = texts.passing(overall_status) or registry.CMT_MALFORMED
    return AnswerVerdict(entry, outcome_unknown=True)
