"""What is watched during a soak: memory, and whether every standstill has a stated reason."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.support.worker_process import WorkerProcess

EVERY_SECONDS = 2.0
# If no event is settled for this long although events wait, this is a standstill.
STANDSTILL_SECONDS = 15.0
GROWTH_MOST = 1.1
_WARNINGS = frozenset({"warning", "error", "critical"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. ``rss``: (slot, process) -> bytes; ``settled``: events, the most that a worker says; ``said``: why no
    worker, or not every one, works."""

    at: float
    rss: Mapping[tuple[int, int], int]
    published: int
    settled: int
    said: bool


def standstills(samples: Sequence[Sample]) -> list[tuple[float, float, bool]]:
    """From, to, and whether a worker said so at any time between: no event was settled, though some waited."""
    found: list[tuple[float, float, bool]] = []
    begin: Sample | None = None
    said, settled = False, -1
    for sample in samples:
        moved = sample.settled > settled or sample.settled >= sample.published
        settled = max(settled, sample.settled)
        if begin is not None and not moved:
            said = said or sample.said
            continue
        if begin is not None and sample.at - begin.at >= STANDSTILL_SECONDS:
            found.append((begin.at, sample.at, said))
        begin, said = sample, sample.said
    if begin is not None and samples[-1].at - begin.at >= STANDSTILL_SECONDS:
        found.append((begin.at, samples[-1].at, said))
    return found


def memory(samples: Sequence[Sample]) -> dict[int, dict[int, float]]:
    """Slot -> quarter (0 to 3) -> median memory in bytes, of the process that each worker was longest."""
    quarters: dict[tuple[int, int], dict[int, list[int]]] = {}
    if not samples:
        return {}
    first, last = samples[0].at, samples[-1].at
    for sample in samples:
        quarter = min(3, int(4 * (sample.at - first) / max(last - first, 1e-9)))
        for who, rss in sample.rss.items():
            quarters.setdefault(who, {}).setdefault(quarter, []).append(rss)
    found: dict[int, dict[int, float]] = {}
    for (slot, _), of in quarters.items():
        medians = {quarter: statistics.median(rss) for quarter, rss in of.items()}
        found[slot] = max(found.get(slot, {}), medians, key=len)
    return found


def growth(samples: Sequence[Sample]) -> dict[int, float]:
    """Slot -> median memory of the last quarter by that of the second, of workers that were not started again."""
    return {slot: of[3] / of[1] for slot, of in memory(samples).items() if 1 in of and 3 in of}


@dataclass
class SoakWatch:
    """Looks from ``start`` to ``stop``. ``workers``: those not frozen, by slot; ``published``: number of events."""

    workers: Callable[[], Mapping[int, WorkerProcess]]
    published: Callable[[], int]
    samples: list[Sample] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="soak watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def remarks(self) -> list[str]:
        """What breaks a promise. A standstill may also have been announced in a log."""
        found = [
            f"worker {slot}: the memory of the last quarter is {share:.2f} times that of the second"
            for slot, share in growth(self.samples).items()
            if share > GROWTH_MOST
        ]
        for begin, end, said in standstills(self.samples):
            if not said and not self._logged(begin, end):
                found.append(f"nothing was settled for {end - begin:.0f} s (from {begin:.0f}), and nobody said why")
        return found

    def memory_text(self) -> str:
        """``Memory in MiB, by quarters of the run: worker 0: 118 128 136 137``."""
        of = memory(self.samples)
        lines = [
            f"worker {slot}: {' '.join(f'{rss / 2**20:.0f}' for _, rss in sorted(of[slot].items()))}" for slot in of
        ]
        return "Memory in MiB, by quarters of the run: " + "; ".join(lines)

    def _run(self) -> None:
        while not self._end.wait(EVERY_SECONDS):
            self.samples.append(self._look())

    def _look(self) -> Sample:
        settled, said = 0, False
        rss: dict[tuple[int, int], int] = {}
        workers = self.workers()
        for slot, worker in workers.items():
            pid = worker.pid
            if pid is not None and (held := _rss(pid)) is not None:
                rss[slot, pid] = held
            status, totals = worker.status("/api/kpi/totals")
            if status == 200:
                settled = max(settled, int(totals["events"]))
            said = said or worker.status("/readyz")[0] != 200 or _paused(worker)
        return Sample(time.time(), rss, self.published(), settled, said or not workers)

    def _logged(self, begin: float, end: float) -> bool:
        for worker in self.workers().values():
            for entry in worker.log_entries():
                stamp = entry.get("timestamp")
                if entry.get("level") in _WARNINGS and isinstance(stamp, str):
                    at = datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
                    if begin <= at <= end:
                        return True
        return False


def _paused(worker: WorkerProcess) -> bool:
    try:
        return worker.metric("profile_sync_breaker_open") > 0 or worker.metric("profile_sync_throttled") > 0
    except OSError:
        return True


def _rss(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return None
