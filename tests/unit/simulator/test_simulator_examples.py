"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from app.simulator import filters, retrieves, soap_writer


@pytest.mark.parametrize("module", [filters, retrieves, soap_writer])
def test_examples(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
