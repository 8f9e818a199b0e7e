"""Carries out a schedule on real processes, and notes when each act really happened."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.broker.local_broker import LocalBroker
from tests.chaos.schedule import SLOTS, Act, Blow, Deed, Schedule
from tests.chaos.surroundings import Surroundings
from tests.support.deployment import Deployment
from tests.support.worker_process import WorkerProcess

# A stopping worker drains, commits and leaves its group, which it cannot do while the broker is away.
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Done:
    """An act and when it was carried out (UNIX time). Of a kill or a freeze also the partitions that the worker had,
    and whether no other one was awake."""

    act: Act
    at: float
    partitions: frozenset[int] = frozenset()
    alone: bool = False


@dataclass
class Blows:
    """Acts on the workers and brokers (by ID) of a run. ``awake`` may be read from any thread."""

    deployment: Deployment
    brokers: Mapping[int, LocalBroker]
    schedule: Schedule
    done: list[Done] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    surroundings: Surroundings | None = None
    _workers: dict[int, WorkerProcess] = field(default_factory=dict)
    _up: set[int] = field(default_factory=set)
    _frozen: set[int] = field(default_factory=set)
    _stopping: set[int] = field(default_factory=set)
    _faults: dict[int, str] = field(default_factory=dict)
    _rested: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """Set the lasting fault rules and start the first workers; returns when all are ready."""
        for rule in self.schedule.lasting:
            self._add_rule(dict(rule))
        for slot in self.schedule.workers:
            self._start(slot)
        for worker in self._workers.values():
            worker.ready()

    def carry_out(self, stop: threading.Event) -> None:
        """Carry out all acts at their times; returns after the last one, or soon after ``stop`` is set."""
        began = time.monotonic()
        for act in self.schedule.acts:
            if stop.wait(max(0.0, began + act.at - time.monotonic())):
                return
            # A broker may need long to start on a busy machine, so later acts are delayed by the same time.
            began = max(began, time.monotonic() - act.at)
            self._look_after()
            self._carry_out(act)

    def end(self) -> None:
        """Thaw all processes and undo all blows; returns when the workers that were asked to stop have ended."""
        if self.surroundings is not None:
            self.surroundings.give_all()
        for broker in self.brokers.values():
            broker.thaw()
            if not broker.running:
                broker.start()
        for slot in sorted(self._frozen):
            self._workers[slot].signal(signal.SIGCONT)
        self._frozen.clear()
        for fault in list(self._faults):
            self._end_fault(fault)
        for slot in sorted(self._stopping):
            self._await_end(slot)
        self._look_after()

    def awake(self) -> dict[int, WorkerProcess]:
        """The workers that run and are not frozen, by slot."""
        return {slot: self._workers[slot] for slot in sorted(self._up - self._frozen)}

    def _look_after(self) -> None:
        """Note workers that ended by themselves, which they must not do, and start them again."""
        for slot in sorted(self._up):
            worker = self._workers[slot]
            if not worker.running:
                self.remarks.append(f"worker {slot} ended by itself, exit code {worker.exit_code}: {worker.log}")
                worker.start()

    def _carry_out(self, act: Act) -> None:
        partitions: frozenset[int] = frozenset()
        if act.deed in (Deed.KILL, Deed.FREEZE) and act.worker is not None:
            partitions = partitions_of(self._workers[act.worker])
        if act.deed is Deed.END_FAULT:
            self._end_fault(act.fault)
        elif act.deed in (Deed.BROKER_START, Deed.BROKER_STOP):
            # The times that matter are when the broker begins to go and when it is back.
            if act.deed is Deed.BROKER_STOP:
                self.done.append(Done(act, time.time()))
            self._deed(act)()
            if act.deed is Deed.BROKER_STOP:
                return
        else:
            self._deed(act)()
        self.done.append(Done(act, time.time(), partitions, alone=not self.awake()))

    def _deed(self, act: Act) -> Callable[[], None]:
        slot = -1 if act.worker is None else act.worker
        broker = self.brokers[act.broker or min(self.brokers)]
        return {
            Deed.KILL: lambda: self._kill(slot),
            Deed.TERM: lambda: self._terminate(slot),
            Deed.START: lambda: self._start(slot),
            Deed.FREEZE: lambda: self._freeze(slot),
            Deed.THAW: lambda: self._thaw(slot),
            Deed.BROKER_KILL: broker.kill,
            Deed.BROKER_STOP: broker.stop,
            Deed.BROKER_START: broker.start,
            Deed.BROKER_FREEZE: broker.freeze,
            Deed.BROKER_THAW: broker.thaw,
            Deed.FAULT: lambda: self._fault(act.fault),
            Deed.TAKE: lambda: self._take(act.what, act.broker),
            Deed.GIVE: lambda: self._give(act.what),
        }[act.deed]

    def _start(self, slot: int) -> None:
        if slot in self._stopping:
            self._await_end(slot)
        if slot in self._workers:
            self._workers[slot].start()
        else:
            self._workers[slot] = self.deployment.worker()
        assert len(self._workers) <= SLOTS
        self._up.add(slot)

    def _kill(self, slot: int) -> None:
        self._up.discard(slot)
        self._workers[slot].kill9()

    def _terminate(self, slot: int) -> None:
        self._up.discard(slot)
        self._stopping.add(slot)
        self._workers[slot].signal(signal.SIGTERM)

    def _await_end(self, slot: int) -> None:
        self._stopping.discard(slot)
        worker = self._workers[slot]
        try:
            code = worker.ended(STOP_SECONDS)
        except AssertionError:
            self.remarks.append(f"worker {slot} did not end within {STOP_SECONDS:g} s of SIGTERM: {worker.log}")
            worker.kill9()
        else:
            if code:
                self.remarks.append(f"worker {slot} ended with exit code {code} after SIGTERM: {worker.log}")

    def _freeze(self, slot: int) -> None:
        self._frozen.add(slot)
        self._workers[slot].signal(signal.SIGSTOP)

    def _thaw(self, slot: int) -> None:
        self._workers[slot].signal(signal.SIGCONT)
        self._frozen.discard(slot)

    def _take(self, what: Blow | None, broker: int | None) -> None:
        assert what is not None and self.surroundings is not None
        if what is Blow.NO_OFFSETS:
            # A group's offsets can be deleted only while it has no members, as when it was stopped for longer than they
            # are kept.
            self._rested = sorted(self._up)
            for slot in self._rested:
                self._thaw(slot)
                self._terminate(slot)
            for slot in self._rested:
                self._await_end(slot)
        self.surroundings.take(what, broker)

    def _give(self, what: Blow | None) -> None:
        assert what is not None and self.surroundings is not None
        self.surroundings.give(what)
        if what is Blow.NO_OFFSETS:
            for slot in self._rested:
                self._start(slot)
            for slot in self._rested:
                self._workers[slot].ready()

    def _add_rule(self, rule: dict[str, object]) -> str:
        kind = str(rule.pop("kind"))
        return self.deployment.simulator.add_fault(kind, **rule)

    def _fault(self, number: int | None) -> None:
        assert number is not None
        self._faults[number] = self._add_rule(dict(self.schedule.rules[number]))

    def _end_fault(self, number: int | None) -> None:
        assert number is not None
        if (known := self._faults.pop(number, None)) is None:
            return
        # Rules with `times` may be used up already.
        active = self.deployment.simulator.request("GET", "/_sim/faults")["faults"]
        if any(fault["id"] == known for fault in active):
            self.deployment.simulator.request("DELETE", f"/_sim/faults/{known}")


def partitions_of(worker: WorkerProcess) -> frozenset[int]:
    """The partitions that a worker reads; none when it does not answer (yet)."""
    try:
        return frozenset(int(n) for n in re.findall(r'consumer_lag{partition="(\d+)"}', worker.text("/metrics")))
    except OSError:
        return frozenset()
