"""Messages about environment variables: unknown names and wrong values. Pure: the environment is passed in.

No message repeats a value, because it may be a password in the wrong variable.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

# Only this program has variables with these prefixes, apart from those that Kubernetes derives from a service's name.
OWN_PREFIXES = (
    "KAFKA_",
    "CMT_",
    "SYNC_",
    "SERVICENOW_",
    "WEB_",
    "KPI_",
    "DLQ_",
    "LISTENER_",
    "MDM_",
    "CIM_",
    "WRITEBACK_",
)
# Other programs have variables with these prefixes too, so only a near miss of one of ours is reported.
SHARED_PREFIXES = ("LOG_", "DATA_")

# Kubernetes, "Accessing the Service", environment variables: for a service called `kafka` KAFKA_SERVICE_HOST,
# KAFKA_SERVICE_PORT, KAFKA_SERVICE_PORT_<name>, KAFKA_PORT, KAFKA_PORT_9092_TCP, KAFKA_PORT_9092_TCP_ADDR ...
_OF_A_SERVICE = re.compile(
    r"[A-Z0-9_]+_SERVICE_HOST|[A-Z0-9_]+_SERVICE_PORT(_[A-Z0-9_]+)?|[A-Z0-9_]+_PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
# The similarity (0 to 1) above which an unknown name counts as a misspelt known one.
_ALIKE = 0.75


def unknown_variables(environment: Iterable[str], known: Collection[str]) -> list[str]:
    """One line for each variable that looks like one of ours but is not known.

    >>> unknown_variables(["KAFKA_BOOTSTRAP_SERVER", "KAFKA_PORT", "PATH"], ["KAFKA_BOOTSTRAP_SERVERS"])
    ['KAFKA_BOOTSTRAP_SERVER is not known and has no effect; is KAFKA_BOOTSTRAP_SERVERS meant?']
    """
    lines = []
    for name in sorted(set(environment) - set(known)):
        nearest = get_close_matches(name.upper(), known, n=1, cutoff=_ALIKE)
        ours = name.upper().startswith(OWN_PREFIXES) or (name.upper().startswith(SHARED_PREFIXES) and bool(nearest))
        if not ours or (_OF_A_SERVICE.fullmatch(name) and name not in known):
            continue
        meant = f"; is {nearest[0]} meant?" if nearest else ""
        lines.append(f"{name} is not known and has no effect{meant}")
    return lines


def in_words(problem: Mapping[str, Any], options: Collection[str] = (), *, value: str | None = None) -> str:
    """One validation error of pydantic, in words for the person who sets the variable.

    Args:
        problem: one of ``ValidationError.errors()``.
        options: the allowed values of a variable that has only a few.
        value: the variable's value; the message does not repeat it.
    """
    context = problem.get("ctx", {})
    if value is not None and _SERVICE_ADDRESS.match(value):
        return "holds the address of a Kubernetes service; set it, or switch enableServiceLinks off for the pod"
    match problem["type"]:
        case "missing":
            return "is required but not set"
        case "literal_error":
            return f"must be {_one_of(options)}"
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return "must be a whole number"
        case "float_parsing" | "float_type" | "finite_number":
            return "must be a number"
        case "bool_parsing" | "bool_type":
            return "must be true or false"
        case "greater_than":
            return f"must be above {context['gt']:.15g}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:.15g}"
        case "less_than_equal":
            return f"must be at most {context['le']:.15g}"
        case "less_than":
            return f"must be below {context['lt']:.15g}"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case "json_invalid" | "dict_type" | "list_type":
            return "must be JSON in the form that docs/configuration.md shows"
        case "value_error":
            return str(problem["msg"]).removeprefix("Value error, ")
        case _:
            return "has a value that cannot be used"


def _one_of(options: Collection[str]) -> str:
    *others, last = options
    return f"{', '.join(others)} or {last}" if others else last
