"""A token lives as long as it was said to, by a clock that the test moves."""

from __future__ import annotations

from app.simulator.tokens import KEPT_TOKENS, Tokens, TokenState


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_valid_until_its_time_is_over() -> None:
    clock = Clock()
    tokens = Tokens("i", "s", 60, clock)
    token = tokens.issue(None)
    clock.now += 59.9
    assert tokens.state(token) is TokenState.VALID
    clock.now += 0.1
    assert tokens.state(token) is TokenState.EXPIRED
    assert tokens.state("another") is TokenState.UNKNOWN


def test_expiring_all_spares_tokens_issued_later() -> None:
    tokens = Tokens("i", "s", 60, Clock())
    old = tokens.issue("1")
    tokens.expire_all()
    new = tokens.issue("1")
    assert (tokens.state(old), tokens.state(new)) == (TokenState.EXPIRED, TokenState.VALID)


def test_no_two_tokens_are_alike() -> None:
    tokens = Tokens("i", "s", 60, Clock())
    assert len({tokens.issue("1") for _ in range(50)} | {tokens.issue_legacy() for _ in range(50)}) == 100


def test_credentials_must_match_both() -> None:
    tokens = Tokens("i", "s", 60, Clock())
    assert tokens.accepts("i", "s")
    assert not tokens.accepts("i", "x")
    assert not tokens.accepts("é", "s")
    assert tokens.refused == 2


def test_clients_that_ask_for_every_call_do_not_fill_the_memory() -> None:
    tokens = Tokens("i", "s", 60, Clock())
    first = tokens.issue_legacy()
    for number in range(KEPT_TOKENS):
        tokens.remember(str(number))
    assert tokens.state(first) is TokenState.UNKNOWN
    assert tokens.state("0") is TokenState.VALID
