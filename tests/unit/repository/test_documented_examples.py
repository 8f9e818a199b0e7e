"""The examples in the docstrings of the pure rooms are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import app.delivery
import app.http
import app.profile

ROOMS = (app.delivery, app.http, app.profile)
MODULES = [module.name for room in ROOMS for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", ["app.delivery.backoff", "app.profile.entities"])
def test_where_examples_are_promised_there_are_some(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).attempted > 0
