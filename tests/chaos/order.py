"""Whether a consumer's calls can be explained by its events, one after another. Pure.

An event's calls come in phases (look up, delete, parent, children); within a phase in any order. What may happen:

* the next call of the event under way, or the same call again at once (its answer was lost);
* the event from its beginning (its worker died, lost the partition, or the attempt failed): its calls are *repeated*;
* the next event from its beginning, once this one is complete, or once one of its calls has failed;
* at a thaw, one call that was on its way when its worker was frozen: *late*, at most one of a consumer per freeze.

Everything else is a violation of order: such a call is left out, and the others are explained without it. Of all
explanations the one with the fewest violations, then late calls, then repeated calls is taken. (A stray lookup among
the lookups of its own event passes for a repeat.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.domain.entities import CHILD_TYPES, CONSUMER_ID_COLUMN, Catalog, EntityType, as_text
from app.domain.event import DeleteScope, Operation, ProfileEvent
from tests.integration.worker.simulator_probe import Call

# Operation, data extension, columns and values.
Identity = tuple[str, str, frozenset[tuple[str, str | None]]]
# More than all repeated calls of a run, and than all late ones.
_LATE_COST = 10**6
_VIOLATION_COST = 10**9


@dataclass(frozen=True, slots=True)
class Phase:
    """Calls that may come in any order. ``any_child``: deletes of whichever child rows were found."""

    required: frozenset[Identity] = frozenset()
    any_child: bool = False


@dataclass(frozen=True, slots=True)
class Stamped:
    """A call and when it took effect; ``freeze``: number of the freeze that had ended just before, if any."""

    call: Call
    freeze: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """``repeated``: calls done again; ``again``: events (by index) that were begun again; ``failed``: events settled
    although a call of theirs had failed; ``lost``: events whose calls were never all made; ``violations``: calls that
    no order of events explains; ``late``: freezes (by number) of which one call came late."""

    repeated: int = 0
    again: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()
    lost: tuple[int, ...] = ()
    violations: tuple[Call, ...] = ()
    late: frozenset[int] = frozenset()


def identity(call: Call) -> Identity:
    """What tells a call from another."""
    return call.operation, call.data_extension, frozenset(item for row in call.rows for item in row.items())


def phases_of(event: ProfileEvent, catalog: Catalog) -> tuple[Phase, ...]:
    """The calls that an event must cause."""

    def call(operation: str, entity: EntityType, row: Iterable[tuple[str, object]] = ()) -> Identity:
        pairs = frozenset((column, as_text(value)) for column, value in row)  # type: ignore[arg-type]
        return operation, catalog[entity].customer_key, pairs

    lookups = Phase(frozenset(call("Retrieve", entity) for entity in CHILD_TYPES))
    parent_key = {CONSUMER_ID_COLUMN: event.consumer_id}.items()
    if event.operation is Operation.DELETE:
        if event.delete_scope is DeleteScope.ENTITIES:
            keys = [(entity, catalog[entity].key_of(row)) for entity, row in event.rows()]
            return (Phase(frozenset(call("Delete", entity, key.items()) for entity, key in keys)),)
        parent = call("Delete", EntityType.CONSUMER, parent_key)
        return lookups, Phase(any_child=True), Phase(frozenset([parent]))
    posts = (
        Phase(frozenset([call("Update", EntityType.CONSUMER, (event.consumer or {}).items())])),
        Phase(frozenset(call("Update", entity, row.items()) for entity, row in event.rows())),
    )
    return (lookups, Phase(any_child=True), *posts) if event.operation is Operation.UPDATE else posts


class _State(NamedTuple):
    """Where an explanation stands: event, phase, what of the phase is done, and what failed in this attempt.

    ``pending``: the last call, whose answer was bad; it may come again, or the event may go on without it.
    """

    event: int
    phase: int
    done: frozenset[Identity]
    failed: bool
    pending: Identity | None
    last: Identity | None
    frozen: frozenset[int] = frozenset()


class _Account(NamedTuple):
    cost: int = 0
    run: int = 0  # calls of this attempt
    again: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()
    violations: tuple[Call, ...] = ()


@dataclass
class _Explainer:
    events: Sequence[tuple[Phase, ...]]
    given_up: frozenset[int]
    child_extensions: frozenset[str]
    states: dict[_State, _Account] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.states = {_State(-1, 0, frozenset(), False, None, None): _Account()}

    def take(self, one: Stamped) -> None:
        """Go on with every explanation that the call leaves, and with those that leave the call out."""
        after: dict[_State, _Account] = {}
        for state, account in self.states.items():
            left_out = account._replace(cost=account.cost + _VIOLATION_COST, violations=(*account.violations, one.call))
            for follower, new in (*self._followers(state, account, one), (state, left_out)):
                known = after.get(follower)
                if known is None or new.cost < known.cost:
                    after[follower] = new
        # Two violations behind another explanation: it will hardly turn out to be the better one.
        most = min(account.cost for account in after.values()) + 2 * _VIOLATION_COST
        self.states = {state: account for state, account in after.items() if account.cost < most}

    def _followers(self, state: _State, account: _Account, one: Stamped) -> Iterable[tuple[_State, _Account]]:
        call = identity(one.call)
        ok = one.call.status == "ok" or (one.call.status == "error" and one.call.operation == "Delete")
        further = account._replace(run=account.run + 1)
        if call == state.last:
            repeated = state._replace(pending=None if ok else call)
            if state.pending is None:  # the answer was good, as far as can be seen
                noted = further._replace(cost=further.cost + 1, again=further.again | {state.event})
            else:
                noted = further
                repeated = self._with_done(repeated, call) if ok else repeated
            yield repeated, noted
        gone_on = self._gone_on(state)
        if state.event >= 0:
            for follower in self._fitting(gone_on, call, ok):
                yield follower, further
            restarted = _State(state.event, 0, frozenset(), False, None, None, state.frozen)
            for follower in self._fitting(restarted, call, ok):
                yield (
                    follower,
                    account._replace(cost=account.cost + account.run, run=1, again=account.again | {state.event}),
                )
        if self._may_end(gone_on):
            ended = account.failed | {state.event} if gone_on.failed else account.failed
            for event in self._next_events(state.event):
                begun = _State(event, 0, frozenset(), False, None, None, state.frozen)
                for follower in self._fitting(begun, call, ok):
                    yield follower, account._replace(run=1, failed=ended)
        if one.freeze is not None and one.freeze not in state.frozen:
            yield state._replace(frozen=state.frozen | {one.freeze}), account._replace(cost=account.cost + _LATE_COST)

    def _next_events(self, event: int) -> Iterable[int]:
        """The next one; those that were given up may have got no further than to fetch a token."""
        for following in range(event + 1, len(self.events)):
            yield following
            if following not in self.given_up:
                return

    def _with_done(self, state: _State, call: Identity) -> _State:
        found = self._place(state, call)
        return state if found is None else state._replace(phase=found[0], done=found[1])

    def _fitting(self, state: _State, call: Identity, ok: bool) -> Iterable[_State]:
        found = self._place(state, call)
        if found is None:
            return
        if ok:
            yield state._replace(phase=found[0], done=found[1], last=call)
        else:
            yield state._replace(pending=call, last=call)

    def _place(self, state: _State, call: Identity) -> tuple[int, frozenset[Identity]] | None:
        """The phase that has room for the call, and what is done of it then."""
        done = state.done
        for number in range(state.phase, len(self.events[state.event])):
            phase = self.events[state.event][number]
            free = phase.any_child and call[0] == "Delete" and call[1] in self.child_extensions
            if (free or call in phase.required) and call not in done:
                return number, done | {call}
            if not (phase.required <= done or state.failed):
                return None
            done = frozenset()
        return None

    def _may_end(self, state: _State) -> bool:
        if state.event < 0 or state.failed or state.event in self.given_up:
            return True
        phases = self.events[state.event]
        return phases[state.phase].required <= state.done and not any(
            phase.required for phase in phases[state.phase + 1 :]
        )

    def outcome(self) -> tuple[_State, _Account]:
        """The best explanation: fewest violations and lost events, then the least cost."""

        def rank(item: tuple[_State, _Account]) -> tuple[int, int]:
            state, account = item
            return len(account.violations) + len(self.lost(state)), account.cost

        return min(self.states.items(), key=rank)

    def _gone_on(self, state: _State) -> _State:
        """The same, with a bad last answer taken as the last word about that call."""
        if state.pending is None:
            return state
        return self._with_done(state, state.pending)._replace(failed=True, pending=None)

    def lost(self, state: _State) -> tuple[int, ...]:
        first = state.event + 1 if self._may_end(self._gone_on(state)) else state.event
        return tuple(event for event in range(max(first, 0), len(self.events)) if event not in self.given_up)

    def failed(self, state: _State, account: _Account) -> frozenset[int]:
        return account.failed | {state.event} if self._gone_on(state).failed else account.failed


def explain(
    events: Sequence[ProfileEvent], calls: Iterable[Stamped], catalog: Catalog, given_up: frozenset[int] = frozenset()
) -> Explanation:
    """Explain the calls of one consumer (in the order in which they took effect) by its valid events (in theirs).

    ``given_up``: events, by index, that have a dead letter.
    """
    children = frozenset(catalog[entity].customer_key for entity in CHILD_TYPES)
    explainer = _Explainer([phases_of(event, catalog) for event in events], given_up, children)
    for one in calls:
        explainer.take(one)
    state, account = explainer.outcome()
    violations = account.violations
    return Explanation(
        repeated=account.cost % _LATE_COST,
        again=account.again,
        failed=explainer.failed(state, account),
        lost=explainer.lost(state),
        violations=violations,
        late=state.frozen,
    )
