"""The examples in the docstrings of the demo are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import app.demo

MODULES = [f"app.demo.{module.name}" for module in pkgutil.iter_modules(app.demo.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", ["faults", "environment", "clients", "processes"])
def test_where_examples_are_promised_there_are_some(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"app.demo.{name}")).attempted > 0
