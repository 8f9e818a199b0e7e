"""Every operator, and what an index may rely on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator.column_types import column_type
from app.simulator.definitions import SERVER_ZONE
from app.simulator.filters import ComplexFilter, Filter, SimpleFilter, UnusableFilter, bind, matches, required_values

COLUMNS = ("A", "B", "C")


@pytest.mark.parametrize(
    ("operator", "values", "held", "passes"),
    [
        ("equals", ["x"], "x", True),
        ("equals", ["x"], "X ", True),
        ("equals", ["x"], " x", False),
        ("equals", ["x"], None, False),
        ("notEquals", ["x"], "y", True),
        ("notEquals", ["x"], "x", False),
        ("IN", ["x", "y"], "y", True),
        ("IN", ["x", "y"], "z", False),
        ("isNull", [], None, True),
        ("isNull", [], "", False),
        ("isNotNull", [], "", True),
        ("isNotNull", [], None, False),
        ("greaterThan", ["9"], "10", True),
        ("greaterThan", ["b"], "a", False),
        ("greaterThan", ["1"], None, False),
        ("greaterThanOrEqual", ["10"], "10.0", True),
        ("lessThan", ["2026-01-02"], "2026-01-01", True),
        ("lessThan", ["5"], "5", False),
        ("lessThanOrEqual", ["5"], "5", True),
        ("between", ["1", "3"], "3", True),
        ("between", ["1", "3"], "4", False),
        ("beginsWith", ["an"], "Anna", True),
        ("endsWith", ["NA"], "Anna", True),
        ("contains", ["nn"], "Anna", True),
        ("contains", ["nn"], None, False),
        ("notContains", ["nn"], None, True),
        ("existsInString", ["nn"], "Anna", True),
        ("existsInStringAsAWord", ["cat"], "a Cat here", True),
        ("existsInStringAsAWord", ["cat"], "concatenate", False),
        ("notExistsInString", ["nn"], "Anna", False),
    ],
)
def test_operators(operator: str, values: list[str], held: str | None, passes: bool) -> None:
    bound = bind(SimpleFilter("A", operator, tuple(values)), {"A": "A"}.get)
    assert matches(bound, {"A": held}) is passes


@pytest.mark.parametrize(
    ("operator", "values", "passes"),
    [
        ("equals", ["2026-01-15T12:00:00Z"], True),
        ("equals", ["1/15/2026 6:00:00 AM"], True),
        ("greaterThan", ["12/31/2025"], True),
        ("lessThan", ["2026-02-01"], True),
        ("between", ["2026-01-16", "2026-02-01"], False),
        ("IN", ["2026-01-15T06:00", "2026-01-16"], True),
    ],
)
def test_dates_are_compared_as_dates(operator: str, values: list[str], passes: bool) -> None:
    parse = column_type("Date", SERVER_ZONE).parse
    bound = bind(SimpleFilter("A", operator, tuple(values)), {"A": "A"}.get, lambda _: parse)
    assert matches(bound, {"A": parse("2026-01-15 06:00")}) is passes


def test_a_column_that_was_never_set_is_null() -> None:
    assert matches(SimpleFilter("B", "isNull"), {"A": "x"})


def test_binding_gives_columns_their_defined_spelling() -> None:
    condition = ComplexFilter("AND", (SimpleFilter("a", "equals", ("1",)), SimpleFilter("B", "isNull")))
    bound = bind(condition, {"a": "A", "B": "B"}.get)
    assert bound == ComplexFilter("AND", (SimpleFilter("A", "equals", ("1",)), SimpleFilter("B", "isNull")))


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (SimpleFilter("Z", "equals", ("1",)), "Invalid column name 'Z'"),
        (SimpleFilter("A", "like", ("1",)), "'like' is not supported"),
        (SimpleFilter("A", "isAnniversary", ("1",)), "'isAnniversary' is not supported"),
        (SimpleFilter("A", "equals"), "has no value"),
        (SimpleFilter("A", "IN", ("1",)), "needs more than one value"),
        (SimpleFilter("A", "between", ("1",)), "needs two values"),
        (ComplexFilter("XOR", ()), "logical operator 'XOR'"),
    ],
)
def test_filters_that_cannot_be_applied_are_refused(condition: Filter, reason: str) -> None:
    with pytest.raises(UnusableFilter, match=reason):
        bind(condition, {"A": "A"}.get)


def test_only_what_must_hold_is_required() -> None:
    one, two = SimpleFilter("A", "equals", ("1",)), SimpleFilter("B", "IN", ("2", "3"))
    assert required_values(ComplexFilter("AND", (one, two))) == {"A": ("1",), "B": ("2", "3")}
    assert required_values(ComplexFilter("OR", (one, two))) == {}
    assert required_values(SimpleFilter("A", "greaterThan", ("1",))) == {}
    assert required_values(None) == {}


simple = st.builds(
    SimpleFilter,
    st.sampled_from(COLUMNS),
    st.sampled_from(["equals", "notEquals", "IN", "greaterThan"]),
    st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=2).map(tuple),
)
conditions = st.recursive(
    simple,
    lambda inner: st.builds(
        ComplexFilter, st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


@given(conditions, st.dictionaries(st.sampled_from(COLUMNS), st.sampled_from(["1", "2", "3"])))
def test_a_row_that_passes_holds_one_of_the_required_values(condition: Filter, row: dict[str, str | None]) -> None:
    if matches(condition, row):
        assert all(row.get(column) in values for column, values in required_values(condition).items())
