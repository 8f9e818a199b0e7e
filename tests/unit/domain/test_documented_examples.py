"""The examples in the docstrings of the domain are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import app.domain

MODULES = [f"app.domain.{module.name}" for module in pkgutil.iter_modules(app.domain.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", ["app.domain.backoff", "app.domain.entities"])
def test_where_examples_are_promised_there_are_some(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).attempted > 0
