"""Whether a consumer's calls can be explained by its events, one after another. Pure.

``event_calls.py`` says which calls an event causes, in which phases. These calls are allowed:

* the next call of the current event, or the same call again at once, because its answer was lost. A lookup may be
repeated
  during the phase of the lookups, because they are made at the same time;
* the first call of the same event, because its worker died or lost the partition, or the attempt failed: its calls are
  *repeated*;
* the first call of the next event, once this one is complete or one of its calls has failed; * after a thaw, one call
that was on its way when its worker was frozen: it is *late*, at most one per consumer and freeze; * after packets were
dropped, a lookup that its worker has given up but a busy target still answers: it changes nothing.

Any other call is a violation of order. It is left out, and the others are explained without it. The best explanation
has the fewest violations, then the fewest late calls, then the fewest repeated calls. (A stray lookup among the lookups
of its own event counts as a repeat.)

Which writes are needed depends on the consumer's rows at the time (``held.py``). The effect of late and stray writes is
in doubt, because the current event may have looked the rows up before or after them. Writes soon after a thaw are in
doubt for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.profile.entities import Catalog
from app.profile.event import ProfileEvent
from tests.chaos.event_calls import AfterFailure, Identity, Phase, Strategy, identity, phases_of
from tests.chaos.held import Held
from tests.support.simulator_probe import Call

# More than all repeated calls of a run, and than all late ones.
_LATE_COST = 10**6
_VIOLATION_COST = 10**9


@dataclass(frozen=True, slots=True)
class Stamped:
    """A call, and when it took effect. ``freeze``: the number of the freeze that had just ended, if any.

    ``stray``: a lookup that its worker may have given up.
    """

    call: Call
    freeze: int | None = None
    stray: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the events explain the calls of a consumer.

    ``repeated``: the number of repeated calls. ``again``: events (by index) that were begun again. ``failed``: events
    that were settled although one of their calls had failed. ``lost``: events whose calls were never completed.
    ``violations``: calls that no order of events explains. ``late``: freezes (by number) after which a call came late.
    ``held``: the rows at the end. ``equal``: the number of writes of rows that were already held.
    """

    held: Held
    repeated: int = 0
    equal: int = 0
    again: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()
    lost: tuple[int, ...] = ()
    violations: tuple[Call, ...] = ()
    late: frozenset[int] = frozenset()


class _State(NamedTuple):
    """The position of an explanation: event, phase, and the attempt's calls that were made or had a bad answer."""

    event: int
    phase: int = 0
    made: frozenset[Identity] = frozenset()
    bad: frozenset[Identity] = frozenset()
    last: Identity | None = None
    frozen: frozenset[int] = frozenset()


class _Account(NamedTuple):
    held: Held
    cost: int = 0
    run: int = 0  # calls of this attempt
    equal: int = 0
    again: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()
    violations: tuple[Call, ...] = ()
    late: frozenset[int] = frozenset()

    def with_effect(self, one: Stamped, *, certain: bool = True) -> _Account:
        certain = certain and one.call.status == "ok" and one.freeze is None
        equal = self.equal + self.held.has(one.call)
        return self._replace(held=self.held.after(one.call, certain=certain), equal=equal)


class _Explainer:
    def __init__(self, events: Sequence[tuple[Phase, ...]], given_up: frozenset[int], nothing: Held) -> None:
        self._events = events
        self._given_up = given_up
        self._states = {_State(-1): _Account(nothing)}

    def take(self, one: Stamped) -> None:
        """Go on with every explanation that the call leaves, and with those that leave the call out."""
        after: dict[_State, _Account] = {}
        for state, account in self._thawed_before(one.freeze):
            for follower, new in (*self._followers(state, account, one), (state, _left_out(account, one))):
                known = after.get(follower)
                if known is None or new.cost < known.cost:
                    after[follower] = new
        # Two violations behind another explanation: it will hardly turn out to be the better one.
        most = min(account.cost for account in after.values()) + 2 * _VIOLATION_COST
        self._states = {state: account for state, account in after.items() if account.cost < most}

    def _thawed_before(self, freeze: int | None) -> Iterable[tuple[_State, _Account]]:
        """The explanations, merged where they differ only in the late calls of earlier freezes. Nothing depends on
        those any more, and without merging each freeze would double the number of explanations."""
        current, together = frozenset(() if freeze is None else (freeze,)), {}
        for state, account in self._states.items():
            past = state.frozen - current
            if past:
                state, account = (
                    state._replace(frozen=state.frozen & current),
                    account._replace(late=account.late | past),
                )
            known = together.get(state)
            if known is None or account.cost < known.cost:
                together[state] = account
        return together.items()

    def _followers(self, state: _State, account: _Account, one: Stamped) -> Iterable[tuple[_State, _Account]]:
        call, held = identity(one.call), account.held
        ok = one.call.status == "ok" or (one.call.status == "error" and _deletes_nothing(one.call, held))
        effect = account.with_effect(one)
        further = effect._replace(run=account.run + 1)
        if self._comes_again(state, call, held):
            noted = further._replace(cost=further.cost + 1, again=further.again | {state.event})
            yield _answered(state, call, ok=ok), noted
        if state.event >= 0:
            for follower in self._fitting(state, call, held, ok=ok):
                yield follower, further
            restarted = _State(state.event, frozen=state.frozen)
            again = effect._replace(cost=account.cost + account.run, run=1, again=account.again | {state.event})
            for follower in self._fitting(restarted, call, held, ok=ok):
                yield follower, again
        if self._may_end(state, held):
            ended = account.failed | {state.event} if state.bad else account.failed
            for event in self._next_events(state.event):
                begun = _State(event, frozen=state.frozen)
                for follower in self._fitting(begun, call, held, ok=ok):
                    yield follower, effect._replace(run=1, failed=ended)
        if one.stray:
            yield state, account._replace(cost=account.cost + 1)
        if one.freeze is not None and one.freeze not in state.frozen:
            yield state._replace(frozen=state.frozen | {one.freeze}), effect._replace(cost=account.cost + _LATE_COST)

    def _next_events(self, event: int) -> Iterable[int]:
        """The next one; those that were given up may have got no further than to fetch a token."""
        for following in range(event + 1, len(self._events)):
            yield following
            if following not in self._given_up:
                return

    def _comes_again(self, state: _State, call: Identity, held: Held) -> bool:
        """Whether it is a call whose answer was good, as far as can be seen."""
        if call not in state.made or call in state.bad:
            return False
        phase = self._events[state.event][state.phase]
        return call == state.last or (call[0] == "Retrieve" and phase.takes(call, state.made, held))

    def _fitting(self, state: _State, call: Identity, held: Held, *, ok: bool) -> Iterable[_State]:
        """The state after the call, if there is room for it."""
        if call in state.bad:
            if call == state.last or call[0] == "Retrieve":
                yield _answered(state, call, ok=ok)
            return
        if call in state.made:
            return
        phases = self._events[state.event]
        for number in range(state.phase, len(phases)):
            if phases[number].takes(call, state.made, held):
                yield _answered(state._replace(phase=number), call, ok=ok)
                return
            if state.bad:
                if phases[number].after_failure is AfterFailure.NOTHING:
                    return
            elif not phases[number].complete(state.made, held):
                return

    def _may_end(self, state: _State, held: Held) -> bool:
        if state.event < 0 or state.event in self._given_up:
            return True
        phases = self._events[state.event][state.phase :]
        if state.bad:
            return phases[0].after_failure is AfterFailure.END
        return all(phase.complete(state.made, held) for phase in phases)

    def outcome(self) -> tuple[_State, _Account]:
        """The best explanation: fewest violations and lost events, then the least cost."""

        def rank(item: tuple[_State, _Account]) -> tuple[int, int]:
            state, account = item
            return len(account.violations) + len(self.lost(state, account)), account.cost

        return min(self._states.items(), key=rank)

    def lost(self, state: _State, account: _Account) -> tuple[int, ...]:
        first = state.event + 1 if self._may_end(state, account.held) else state.event
        return tuple(event for event in range(max(first, 0), len(self._events)) if event not in self._given_up)


def explain(
    events: Sequence[ProfileEvent],
    calls: Iterable[Stamped],
    catalog: Catalog,
    strategy: Strategy,
    given_up: frozenset[int] = frozenset(),
) -> Explanation:
    """Explain the calls of one consumer (in the order in which they took effect) by its valid events (in theirs).

    ``given_up``: events, by index, that have a dead letter.
    """
    phases = [phases_of(event, catalog, strategy) for event in events]
    explainer = _Explainer(phases, given_up, Held.nothing(catalog))
    for one in calls:
        explainer.take(one)
    state, account = explainer.outcome()
    return Explanation(
        held=account.held,
        repeated=account.cost % _LATE_COST,
        equal=account.equal,
        again=account.again,
        failed=account.failed | {state.event} if state.bad else account.failed,
        lost=explainer.lost(state, account),
        violations=account.violations,
        late=account.late | state.frozen,
    )


def _left_out(account: _Account, one: Stamped) -> _Account:
    account = account.with_effect(one, certain=False)
    return account._replace(cost=account.cost + _VIOLATION_COST, violations=(*account.violations, one.call))


def _answered(state: _State, call: Identity, *, ok: bool) -> _State:
    if ok:
        return state._replace(made=state.made | {call}, bad=state.bad - {call}, last=call)
    return state._replace(bad=state.bad | {call}, last=call)


def _deletes_nothing(call: Call, held: Held) -> bool:
    """Whether it may be an error only because the row was gone already, which is none."""
    return call.operation == "Delete" and all(
        None in held.of(held.place(call.data_extension, row)) for row in call.rows
    )
