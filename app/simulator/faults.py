"""Injected faults: decides which fault a call meets. answers.py then carries the fault out.

A rule matches by operation, data extension and consumer, fires with its probability, and is spent after `times`.
The first matching rule of a call wins, except that `slow` combines with others.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from app.simulator.answer_fields import AnswerFields, Shape
from app.simulator.definitions import Target

# How long `slow` waits if the rule does not say.
DEFAULT_SLOW_MS = 1000
# `timeout` never answers; it holds the connection at most this long if the client does not give up.
MAX_TIMEOUT_MS = 300_000
_SPENT_KEPT = 100


class FaultKind(StrEnum):
    RATE_LIMITED = "rate_limited"
    SERVER_FAULT = "server_fault"
    SECURITY_FAULT = "security_fault"
    MAINTENANCE = "maintenance"
    ROW_ERROR = "row_error"
    ROW_ERROR_TRANSIENT = "row_error_transient"
    RESET = "reset"
    TIMEOUT = "timeout"
    HTTP_503 = "http_503"
    HTML_500 = "html_500"
    MALFORMED_XML = "malformed_xml"
    SLOW = "slow"
    TOKEN_500 = "token_500"  # noqa: S105 - a kind, not a token
    TOKEN_429 = "token_429"  # noqa: S105 - a kind, not a token
    EXPIRE_TOKENS = "expire_tokens"
    INCIDENT_500 = "incident_500"
    INCIDENT_429 = "incident_429"
    DEADLOCK_ROW = "deadlock_row"
    DEADLOCK_FAULT = "deadlock_fault"
    DUPLICATE_KEY_FAULT = "duplicate_key_fault"
    OK_BUT_UNKNOWN = "ok_but_unknown"
    ANSWER = "answer"


ROW_KINDS = frozenset(
    {FaultKind.ROW_ERROR, FaultKind.ROW_ERROR_TRANSIENT, FaultKind.DEADLOCK_ROW, FaultKind.OK_BUT_UNKNOWN}
)
# Faults of a whole call that only a write can meet.
WRITE_KINDS = frozenset({FaultKind.DUPLICATE_KEY_FAULT})
TOKEN_KINDS = frozenset({FaultKind.TOKEN_500, FaultKind.TOKEN_429})
INCIDENT_KINDS = frozenset({FaultKind.INCIDENT_500, FaultKind.INCIDENT_429})
# Faults below SOAP. They also affect the token and the incident endpoint if `operation` names it.
TRANSPORT_KINDS = frozenset(
    {FaultKind.RESET, FaultKind.TIMEOUT, FaultKind.HTTP_503, FaultKind.HTML_500, FaultKind.SLOW, FaultKind.ANSWER}
)
_WRITES = ("Create", "Update", "Delete")
SOAP_KINDS = frozenset(FaultKind) - ROW_KINDS - TOKEN_KINDS - INCIDENT_KINDS

Operation = Literal["Create", "Update", "Delete", "Retrieve", "Token", "Incident"]


class FaultRule(AnswerFields):
    """The body of `POST /_sim/faults`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: FaultKind
    operation: Operation | None = None
    data_extension: str | None = Field(None, alias="dataExtension")
    consumer_id: str | None = Field(None, alias="consumerId")
    times: int | None = Field(None, ge=1)
    probability: float = Field(1.0, ge=0, le=1)
    delay_ms: int | None = Field(None, alias="delayMs", ge=0)
    after: bool = False

    @model_validator(mode="after")
    def _kind_and_operation_fit(self) -> FaultRule:
        if self.operation not in self.operations():
            raise ValueError(f"{self.kind} cannot happen to operation {self.operation}")
        if self.kind is not FaultKind.ANSWER and self.given():
            raise ValueError(f"{', '.join(sorted(self.given()))}: only the kind answer has these")
        if (contradiction := self.contradiction()) is not None:
            raise ValueError(contradiction)
        return self

    @property
    def strikes_rows(self) -> bool:
        """Whether the fault affects single rows of a write, not the call."""
        return self.kind in ROW_KINDS or (self.kind is FaultKind.ANSWER and self.shape is Shape.ROWS)

    @property
    def at_once(self) -> bool:
        """Whether the fault needs no call: all tokens expire when the rule is set, and the rule is spent at once."""
        unbound = FaultRule(kind=FaultKind.EXPIRE_TOKENS)
        return self in (unbound, unbound.model_copy(update={"times": 1}))

    def operations(self) -> Collection[str | None]:
        """The values that `operation` may have; None stands for all operations of this kind."""
        if self.strikes_rows or self.kind in WRITE_KINDS:
            return (None, *_WRITES)
        if self.kind in TOKEN_KINDS:
            return (None, "Token")
        if self.kind in INCIDENT_KINDS:
            return (None, "Incident")
        soap = (None, *_WRITES, "Retrieve")
        below_soap = self.kind in TRANSPORT_KINDS and self.shape is Shape.RAW
        return (*soap, "Token", "Incident") if below_soap else soap

    def covers(self, operation: str, targets: Iterable[Target]) -> bool:
        if self.operation is not None and self.operation != operation:
            return False
        if self.kind in WRITE_KINDS and operation not in _WRITES:
            return False
        if self.data_extension is None and self.consumer_id is None:
            return True
        return any(
            (self.data_extension is None or self.data_extension == data_extension)
            and (self.consumer_id is None or self.consumer_id == consumer_id)
            for data_extension, consumer_id in targets
        )


@dataclass(slots=True)
class _Armed:
    id: str
    rule: FaultRule
    hits: int = 0

    def as_dict(self) -> dict[str, Any]:
        document = self.rule.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {"id": self.id, **document, "hits": self.hits}


@dataclass(frozen=True, slots=True)
class FaultVerdict:
    """The faults of one call: waits before and after it takes effect, and the fault, if any."""

    fault: FaultRule | None = None
    delay_before_ms: int = 0
    delay_after_ms: int = 0


_UNHARMED = FaultVerdict()


class Faults:
    """The active rules. With `seed`, probabilities give the same results on every run."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._armed: dict[str, _Armed] = {}
        # The rules by consumer (None: any consumer), so that a call looks at few of many rules.
        self._by_consumer: dict[str | None, dict[str, _Armed]] = {}
        self._spent: deque[_Armed] = deque(maxlen=_SPENT_KEPT)
        self._last_id = 0
        self.fired: Counter[str] = Counter()

    def add(self, rule: FaultRule) -> str:
        self._last_id += 1
        armed = _Armed(str(self._last_id), rule)
        self._armed[armed.id] = armed
        self._by_consumer.setdefault(rule.consumer_id, {})[armed.id] = armed
        return armed.id

    def spend(self, rule_id: str) -> None:
        """Counts a rule that took effect at once as fired, and deactivates it."""
        armed = self._armed[rule_id]
        armed.hits += 1
        self.fired[armed.rule.kind] += 1
        self.remove(rule_id)
        self._spent.append(armed)

    def remove(self, rule_id: str) -> bool:
        """Removes a rule; returns whether it was active."""
        armed = self._armed.pop(rule_id, None)
        if armed is None:
            return False
        of_consumer = self._by_consumer[armed.rule.consumer_id]
        del of_consumer[rule_id]
        if not of_consumer:
            del self._by_consumer[armed.rule.consumer_id]
        return True

    def active(self) -> list[dict[str, Any]]:
        return [armed.as_dict() for armed in self._armed.values()]

    def spent(self) -> list[dict[str, Any]]:
        """The last rules that were used up, with their hits."""
        return [armed.as_dict() for armed in self._spent]

    def clear(self) -> int:
        """Removes all rules; returns how many were active."""
        count = len(self._armed)
        self._armed.clear()
        self._by_consumer.clear()
        return count

    def reset(self) -> None:
        self.clear()
        self._spent.clear()
        self.fired.clear()
        self._random.seed(self._seed)

    def for_soap(self, operation: str, targets: Collection[Target]) -> FaultVerdict:
        return self._verdict(SOAP_KINDS, operation, targets)

    def for_token(self) -> FaultVerdict:
        return self._verdict(TOKEN_KINDS | TRANSPORT_KINDS, "Token", ())

    def for_incident(self) -> FaultVerdict:
        return self._verdict(INCIDENT_KINDS | TRANSPORT_KINDS, "Incident", ())

    def for_row(self, operation: str, target: Target) -> FaultRule | None:
        """The row error that one object of a write meets."""
        if not self._armed:
            return None
        for armed in self._meant_for((target,)):
            if armed.rule.strikes_rows and self._strikes(armed, operation, (target,)):
                return armed.rule
        return None

    def _verdict(self, kinds: Collection[FaultKind], operation: str, targets: Collection[Target]) -> FaultVerdict:
        if not self._armed:
            return _UNHARMED
        before = after = 0
        fault: FaultRule | None = None
        for armed in self._meant_for(targets):
            rule = armed.rule
            if rule.kind not in kinds or rule.strikes_rows or (fault is not None and rule.kind is not FaultKind.SLOW):
                continue
            # A transport fault without an operation affects SOAP only.
            if operation in ("Token", "Incident") and rule.kind in TRANSPORT_KINDS and rule.operation is None:
                continue
            if not self._strikes(armed, operation, targets):
                continue
            if rule.kind is FaultKind.TIMEOUT:
                fault = rule
                continue
            delay = DEFAULT_SLOW_MS if rule.delay_ms is None and rule.kind is FaultKind.SLOW else (rule.delay_ms or 0)
            if rule.after:
                after += delay
            else:
                before += delay
            if rule.kind is not FaultKind.SLOW:
                fault = rule
        return FaultVerdict(fault, before, after)

    def _meant_for(self, targets: Collection[Target]) -> list[_Armed]:
        """The rules for any consumer and for the consumers of a call, oldest first."""
        consumers = dict.fromkeys((None, *(consumer for _, consumer in targets)))
        found = [armed for consumer in consumers for armed in self._by_consumer.get(consumer, {}).values()]
        return sorted(found, key=lambda armed: int(armed.id))

    def _strikes(self, armed: _Armed, operation: str, targets: Iterable[Target]) -> bool:
        rule = armed.rule
        if not rule.covers(operation, targets):
            return False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return False
        self._fire(armed)
        return True

    def _fire(self, armed: _Armed) -> None:
        armed.hits += 1
        self.fired[armed.rule.kind] += 1
        if armed.rule.times is not None and armed.hits >= armed.rule.times:
            self.remove(armed.id)
            self._spent.append(armed)
