"""Filters of a Retrieve. Pure.

Values are compared by the type of their column; texts without case and trailing blanks, as SQL Server does. The
operators are those of the enumeration SimpleOperators of the Marketing Cloud WSDL. `like` is refused for data-extension
rows (vendor page "Retrieve Data from a Data Extension"); the anniversary operators are refused too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.simulator.column_types import Value, ValueRefused, fold

Row = Mapping[str, "str | None"]
Parse = Callable[[str], "Value | None"]


@dataclass(frozen=True, slots=True)
class SimpleFilter:
    """`property operator values`. `values` are texts as sent; after bind(), folded values of the column's type."""

    column: str
    operator: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class ComplexFilter:
    """Operands joined by AND or OR."""

    operator: str
    operands: tuple[Filter, ...]


Filter = SimpleFilter | ComplexFilter
_Test = Callable[[Hashable, tuple[Any, ...]], bool]
_TEXT_OPERATORS = frozenset(
    {"beginsWith", "endsWith", "contains", "notContains"}
    | {"existsInString", "existsInStringAsAWord", "notExistsInString"}
)


class UnusableFilter(ValueError):
    """The filter cannot be applied; the text goes into the answer's OverallStatus."""


def as_text(text: str) -> str:
    """Parses the values of a column without a type."""
    return text


def bind(
    condition: Filter, column: Callable[[str], str | None], parse: Callable[[str], Parse] = lambda _: as_text
) -> Filter:
    """The same filter with defined column names, and values of the columns' types; `parse` gives a column's parser.

    Raises UnusableFilter for unknown columns, values that do not fit their column, and refused operators.
    """
    if isinstance(condition, ComplexFilter):
        if condition.operator not in ("AND", "OR"):
            raise UnusableFilter(f"Invalid logical operator '{condition.operator}'.")
        return replace(condition, operands=tuple(bind(operand, column, parse) for operand in condition.operands))
    name = column(condition.column)
    if name is None:
        raise UnusableFilter(f"Invalid column name '{condition.column}'.")
    if condition.operator not in _OPERATORS:
        raise UnusableFilter(f"The operator '{condition.operator}' is not supported for this object type.")
    if not condition.values and condition.operator not in ("isNull", "isNotNull"):
        raise UnusableFilter(f"The filter on '{condition.column}' has no value.")
    if condition.operator == "between" and len(condition.values) != 2:
        raise UnusableFilter(f"The filter between on '{condition.column}' needs two values.")
    # Reported by several tools: a single value needs equals.
    if condition.operator == "IN" and len(condition.values) == 1:
        raise UnusableFilter(f"The filter IN on '{condition.column}' needs more than one value.")
    value_of = as_text if condition.operator in _TEXT_OPERATORS else parse(name)
    try:
        return replace(condition, column=name, values=tuple(fold(value_of(value)) for value in condition.values))
    except ValueRefused as error:
        raise UnusableFilter(f"The value of the filter on '{condition.column}' {error}") from None


def matches(condition: Filter, row: Mapping[str, Value | None]) -> bool:
    """Whether a row's values pass a bound filter."""
    if isinstance(condition, SimpleFilter):
        return _OPERATORS[condition.operator](fold(row.get(condition.column)), condition.values)
    quantifier = all if condition.operator == "AND" else any
    return quantifier(matches(operand, row) for operand in condition.operands)


def required_values(condition: Filter | None) -> dict[str, tuple[Any, ...]]:
    """Column -> values; a matching row must hold one of them. An index can answer this.

    >>> required_values(SimpleFilter("ConsumerId", "equals", ("c1",)))
    {'ConsumerId': ('c1',)}
    >>> required_values(ComplexFilter("OR", (SimpleFilter("A", "equals", ("1",)), SimpleFilter("B", "isNull"))))
    {}
    """
    if isinstance(condition, SimpleFilter):
        return {condition.column: condition.values} if condition.operator in ("equals", "IN") else {}
    required: dict[str, tuple[Any, ...]] = {}
    if condition is not None and (condition.operator == "AND" or len(condition.operands) == 1):
        for operand in condition.operands:
            for column, values in required_values(operand).items():
                required.setdefault(column, values)
    return required


def _compare(left: Any, right: Any) -> int | None:
    """-1, 0 or 1, by type; None without a value. Texts count as numbers if both are numbers; ISO dates sort as text."""
    if left is None or right is None:
        return None
    if isinstance(left, str):
        with contextlib.suppress(ValueError):
            left, right = float(left), float(right)
    return int(left > right) - int(left < right)


def _ordered(accept: tuple[int, ...]) -> _Test:
    return lambda value, wanted: _compare(value, wanted[0]) in accept


def _between(value: Hashable, wanted: tuple[Any, ...]) -> bool:
    return _compare(value, wanted[0]) in (0, 1) and _compare(value, wanted[1]) in (-1, 0)


def _text(test: Callable[[str, str], bool]) -> _Test:
    return lambda value, wanted: value is not None and any(test(str(value).lower(), text) for text in wanted)


_OPERATORS: dict[str, _Test] = {
    "equals": lambda value, wanted: value in wanted,
    "notEquals": lambda value, wanted: value not in wanted,
    "IN": lambda value, wanted: value in wanted,
    "isNull": lambda value, _: value is None,
    "isNotNull": lambda value, _: value is not None,
    "greaterThan": _ordered((1,)),
    "greaterThanOrEqual": _ordered((0, 1)),
    "lessThan": _ordered((-1,)),
    "lessThanOrEqual": _ordered((-1, 0)),
    "between": _between,
    "beginsWith": _text(str.startswith),
    "endsWith": _text(str.endswith),
    "contains": _text(lambda value, text: text in value),
    "notContains": lambda value, wanted: not _OPERATORS["contains"](value, wanted),
    "existsInString": _text(lambda value, text: text in value),
    "existsInStringAsAWord": _text(lambda value, text: text in value.split()),
    "notExistsInString": lambda value, wanted: not _OPERATORS["existsInString"](value, wanted),
}
