"""File descriptors: raised as far as needed, or refused in one line."""

from __future__ import annotations

import resource

import pytest

from app.flows.descriptors import TooFewDescriptors, allow_descriptors


@pytest.mark.parametrize(
    ("limits", "raised"),
    [
        ((64, 4096), (500, 4096)),
        ((64, resource.RLIM_INFINITY), (500, resource.RLIM_INFINITY)),
        ((500, 500), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: tuple[int, int] | None
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: set_to.append(wanted))
    allow_descriptors(500)
    assert set_to == ([raised] if raised else [])


def test_a_hard_limit_that_is_too_low_is_said_with_the_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(TooFewDescriptors, match=r"may need 500 .* may have 64: raise the limit"):
        allow_descriptors(500)
