"""Which faults the simulator is told to inject, for a share of all SOAP calls that shall fail. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _FaultKind:
    """A kind of fault of the simulator and its share of all faults."""

    name: str
    share: float
    after: bool = False  # the write takes effect, only its answer is lost


# Of the call as a whole. What a repeat inside the call mends (503, resets, broken answers) and what parks a consumer
# until its next attempt (faults) come about equally often.
_CALL_KINDS = (
    _FaultKind("server_fault", 0.25),
    _FaultKind("rate_limited", 0.10),
    _FaultKind("security_fault", 0.05),
    _FaultKind("http_503", 0.15),
    _FaultKind("reset", 0.10),
    _FaultKind("reset", 0.10, after=True),
    _FaultKind("malformed_xml", 0.05),
)
# Of a row, writes only. The permanent one makes partial events, and dead letters where it meets a parent.
_ROW_KINDS = (_FaultKind("row_error_transient", 0.10), _FaultKind("row_error", 0.10))


def fault_rules(rate: float) -> list[dict[str, Any]]:
    """Bodies for ``POST /_sim/faults``, in their order, so that ``rate`` (0 to 1) of all SOAP calls fail.

    The simulator asks one rule after the other, first those of calls, then those of rows, and the first that fires
    ends it. So each rule's probability is that it fires if none before it did. Reads have no rows to refuse: one rule
    more makes up for it.

    >>> [(rule["kind"], round(rule["probability"], 3)) for rule in fault_rules(0.1)][:3]
    [('server_fault', 0.025), ('rate_limited', 0.01), ('security_fault', 0.005)]
    """
    if rate <= 0:
        return []
    rules = []
    fired = 0.0
    for kind in _CALL_KINDS:
        rules.append(_rule(kind.name, rate * kind.share, fired, after=kind.after))
        fired += rate * kind.share
    rows = rate * sum(kind.share for kind in _ROW_KINDS)
    rules.append(_rule("server_fault", rows, fired, operation="Retrieve"))
    for kind in _ROW_KINDS:
        rules.append(_rule(kind.name, rate * kind.share, fired))
        fired += rate * kind.share
    return rules


def _rule(kind: str, chance: float, fired: float, *, after: bool = False, operation: str = "") -> dict[str, Any]:
    # At rate 1 the last rule must fire for certain, whatever the rounding of the sums.
    left = max(1.0 - fired, chance)
    rule: dict[str, Any] = {"kind": kind, "probability": min(1.0, chance / left)}
    if 1.0 - rule["probability"] < 1e-9:
        rule["probability"] = 1.0
    if after:
        rule["after"] = True
    if operation:
        rule["operation"] = operation
    return rule
