"""The health of an account of Marketing Cloud, as its calls show it."""

from __future__ import annotations

from app.cmt.call import FIELDS, OK
from app.cmt.rights import Right
from app.delivery.errors import CMT_BLOCKED, CMT_TOKEN_THROTTLED, ErrorClass, ErrorEntry, lookup
from app.engine.breaker import Breaker
from app.flows.missing_rights import MissingRights
from app.observe.metrics import Metrics


class TargetHealth:
    """Observes the calls of one account, and tells the metrics and the breaker of each.

    ``trouble``: what a request was last answered with that says it does not; None: the last answer was a good one.
    """

    def __init__(self, breaker: Breaker, metrics: Metrics, account: str) -> None:
        self.breaker = breaker
        self.trouble: ErrorEntry | None = None
        self.rights = MissingRights(breaker.now)
        self.throttled_at: float | None = None  # the last throttled answer, by the breaker's clock
        self.throttled_by: ErrorEntry | None = None  # the error that it named
        # Since when the account is throttled, by the breaker's clock; None: it is not. Set by its ``OutageWatch``.
        self.throttled_since: float | None = None
        self._metrics = metrics
        self._account = account

    def call(self, operation: str, entity: str, result: str, seconds: float) -> None:
        """A SOAP call ended; ``result`` is "ok" or a registry code."""
        self._metrics.call(operation, entity, result, seconds, self._account)
        if operation == FIELDS:
            return  # no event needs this call, so it does not show whether events get through
        entry = None if result == OK else lookup(result)
        if entry is not None and entry.error_class is ErrorClass.THROTTLED:
            # The call waits and is sent again: neither an outage nor the end of one.
            self.trouble = self.throttled_by = entry
            self.throttled_at = self.breaker.now()
        elif entry is not None and entry.transport:
            self._is_in_trouble(entry)
            self.breaker.failed()
        elif entry is not None and entry.doubtful:
            # Neither a failure nor a success of the target: the engine has the breaker check.
            self._is_in_trouble(entry)
        else:
            self.trouble = None
            self.breaker.succeeded()

    def token(self, result: str) -> None:
        """A token request ended. A failed one does not count as a failure for the breaker: a refresh ahead of time may
        fail without harm, and an event that fails for lack of a token counts itself."""
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
