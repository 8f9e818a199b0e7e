"""Offsets are looked at when they have come to rest."""

from __future__ import annotations

from typing import cast

import pytest

from tests.chaos import evidence
from tests.chaos.evidence import lags_at_rest
from tests.support.deployment import Deployment

NOBODY = cast(Deployment, None)
BEHIND = {"profiles.alerts": {2: (10, 12)}}


def test_an_alert_that_is_committed_a_moment_later_is_no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([BEHIND, BEHIND, {}])
    monkeypatch.setattr(evidence, "lags_of", lambda _: next(seen))
    assert lags_at_rest(NOBODY, 30.0) == {}


def test_an_offset_that_is_never_committed_is_a_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "lags_of", lambda _: BEHIND)
    assert lags_at_rest(NOBODY, 0.1) == BEHIND
