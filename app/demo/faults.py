"""The fault rules for the simulator that make a given share of all SOAP calls fail. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _FaultShare:
    """A kind of fault, and its share of all faults."""

    name: str
    share: float
    after: bool = False  # the write takes effect, but its answer is lost


# Faults of whole calls. Faults that are repeated within the call (503, resets, broken answers) and faults that park the
# consumer until its next attempt are about equally frequent.
_CALL_KINDS = (
    _FaultShare("server_fault", 0.25),
    _FaultShare("rate_limited", 0.10),
    _FaultShare("security_fault", 0.05),
    _FaultShare("http_503", 0.15),
    _FaultShare("reset", 0.10),
    _FaultShare("reset", 0.10, after=True),
    _FaultShare("malformed_xml", 0.05),
)
# Faults of single rows, for writes only. The permanent one makes an event partial, or a dead letter if it hits a
# parent.
_ROW_KINDS = (_FaultShare("row_error_transient", 0.10), _FaultShare("row_error", 0.10))


def fault_rules(rate: float) -> list[dict[str, Any]]:
    """Bodies for ``POST /_sim/faults``, in their order, so that a share of ``rate`` (0 to 1) of all SOAP calls fail.

    The simulator tries the rules in order, first those for calls, then those for rows, until one fires. A rule's
    probability is therefore conditional: no rule before it has fired. A read has no rows to refuse, so an additional
    rule makes reads fail equally often.

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
    # At rate 1 the last rule must always fire, regardless of rounding in the sums.
    left = max(1.0 - fired, chance)
    rule: dict[str, Any] = {"kind": kind, "probability": min(1.0, chance / left)}
    if 1.0 - rule["probability"] < 1e-9:
        rule["probability"] = 1.0
    if after:
        rule["after"] = True
    if operation:
        rule["operation"] = operation
    return rule
