"""Filters of a Retrieve: what a row must hold. Pure.

Operators as in the enumeration SimpleOperators of the Marketing Cloud WSDL. `like` is refused for data-extension
rows (vendor page "Retrieve Data from a Data Extension"); the anniversary operators are refused too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

Row = Mapping[str, "str | None"]


@dataclass(frozen=True, slots=True)
class SimpleFilter:
    """`property operator values`."""

    column: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComplexFilter:
    """Operands joined by AND or OR."""

    operator: str
    operands: tuple[Filter, ...]


Filter = SimpleFilter | ComplexFilter


class FilterError(ValueError):
    """The filter cannot be applied; the text goes into OverallStatus of the answer."""


def bind(condition: Filter, column: Callable[[str], str | None]) -> Filter:
    """The same filter with defined column names. Raises FilterError for unknown columns and refused operators."""
    if isinstance(condition, ComplexFilter):
        if condition.operator not in ("AND", "OR"):
            raise FilterError(f"Invalid logical operator '{condition.operator}'.")
        return replace(condition, operands=tuple(bind(operand, column) for operand in condition.operands))
    name = column(condition.column)
    if name is None:
        raise FilterError(f"Invalid column name '{condition.column}'.")
    if condition.operator not in _OPERATORS:
        raise FilterError(f"The operator '{condition.operator}' is not supported for this object type.")
    if not condition.values and condition.operator not in ("isNull", "isNotNull"):
        raise FilterError(f"The filter on '{condition.column}' has no value.")
    if condition.operator == "between" and len(condition.values) != 2:
        raise FilterError(f"The filter between on '{condition.column}' needs two values.")
    return replace(condition, column=name)


def matches(condition: Filter, row: Row) -> bool:
    """Whether the row passes a filter that went through bind()."""
    if isinstance(condition, SimpleFilter):
        return _OPERATORS[condition.operator](row.get(condition.column), condition.values)
    quantifier = all if condition.operator == "AND" else any
    return quantifier(matches(operand, row) for operand in condition.operands)


def required_values(condition: Filter | None) -> dict[str, tuple[str, ...]]:
    """Column -> values of which a matching row must hold one: what an index can answer.

    >>> required_values(SimpleFilter("ConsumerId", "equals", ("c1",)))
    {'ConsumerId': ('c1',)}
    >>> required_values(ComplexFilter("OR", (SimpleFilter("A", "equals", ("1",)), SimpleFilter("B", "isNull"))))
    {}
    """
    if isinstance(condition, SimpleFilter):
        return {condition.column: condition.values} if condition.operator in ("equals", "IN") else {}
    required: dict[str, tuple[str, ...]] = {}
    if condition is not None and (condition.operator == "AND" or len(condition.operands) == 1):
        for operand in condition.operands:
            for column, values in required_values(operand).items():
                required.setdefault(column, values)
    return required


def _compare(left: str | None, right: str) -> int | None:
    """-1, 0, 1 as numbers when both are, else as text (ISO dates sort as text); None when there is no value."""
    if left is None:
        return None
    a: float | str = left
    b: float | str = right
    try:
        a, b = float(left), float(right)
    except ValueError:
        a, b = left, right
    return (a > b) - (a < b)  # type: ignore[operator]


def _ordered(accept: tuple[int, ...]) -> Callable[[str | None, tuple[str, ...]], bool]:
    return lambda value, wanted: _compare(value, wanted[0]) in accept


def _between(value: str | None, wanted: tuple[str, ...]) -> bool:
    return _compare(value, wanted[0]) in (0, 1) and _compare(value, wanted[1]) in (-1, 0)


def _text(test: Callable[[str, str], bool]) -> Callable[[str | None, tuple[str, ...]], bool]:
    return lambda value, wanted: value is not None and any(test(value.lower(), text.lower()) for text in wanted)


_OPERATORS: dict[str, Callable[[str | None, tuple[str, ...]], bool]] = {
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
