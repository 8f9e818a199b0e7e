"""How an account of Marketing Cloud is, as its calls tell: the breaker and the metrics hear of every one."""

from __future__ import annotations

from app.cmt.call import FIELDS, OK
from app.cmt.rights import Right
from app.delivery.errors import CMT_BLOCKED, CMT_TOKEN_THROTTLED, ErrorClass, ErrorEntry, lookup
from app.engine.breaker import Breaker
from app.flows.missing_rights import MissingRights
from app.observe.metrics import Metrics


class TargetHealth:
    """Observer of one account's calls: tells the metrics, and the breaker whether the account lives.

    ``trouble``: what a request was last answered with that says it does not; None: the last answer was a good one.
    """

    def __init__(self, breaker: Breaker, metrics: Metrics, account: str) -> None:
        self.breaker = breaker
        self.trouble: ErrorEntry | None = None
        self.rights = MissingRights(breaker.now)
        self.throttled_at: float | None = None  # the last throttled answer, by the breaker's clock
        self.throttled_by: ErrorEntry | None = None  # what it said
        # Since when the account is throttled, by the breaker's clock; None: it is not. Its ``OutageWatch`` says so.
        self.throttled_since: float | None = None
        self._metrics = metrics
        self._account = account

    def call(self, operation: str, entity: str, result: str, seconds: float) -> None:
        """A SOAP call ended; ``result`` is "ok" or a registry code."""
        self._metrics.call(operation, entity, result, seconds, self._account)
        if operation == FIELDS:
            return  # no event needs it, so it says nothing of whether events get through
        entry = None if result == OK else lookup(result)
        if entry is not None and entry.error_class is ErrorClass.THROTTLED:
            # The call waits and is sent again: neither an outage nor the end of one.
            self.trouble = self.throttled_by = entry
            self.throttled_at = self.breaker.now()
        elif entry is not None and entry.transport:
            self._is_in_trouble(entry)
            self.breaker.failed()
        elif entry is not None and entry.doubtful:
            # Neither a failure of the target nor its success: the engine has the breaker ask.
            self._is_in_trouble(entry)
        else:
            self.trouble = None
            self.breaker.succeeded()

    def token(self, result: str) -> None:
        """A token request ended. The breaker hears of those that failed by the events that failed for want of one: a
        refresh ahead of time may fail without harm."""
        self._metrics.token(result, self._account)
        if result == CMT_TOKEN_THROTTLED.code:
            self.trouble = self.throttled_by = CMT_TOKEN_THROTTLED
            self.throttled_at = self.breaker.now()
        elif result != OK:
            self._is_in_trouble(lookup(result))
            self.breaker.in_trouble()

    def right(self, right: Right, entity: str, data_extension: str, *, granted: bool) -> None:
        """A right was missing, or is there again."""
        if granted:
            self.rights.granted(right, data_extension)
        else:
            self.rights.denied(right, entity, data_extension)

    def _is_in_trouble(self, entry: ErrorEntry) -> None:
        self.trouble = entry
        self.breaker.probe_rarely(entry is CMT_BLOCKED)
