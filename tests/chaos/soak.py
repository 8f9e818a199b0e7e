"""``python -m tests.chaos.soak``: every kind of fault and odd answer at random, over a steady stream, for an hour.

At the end nothing is lost, the counts are exact, no worker has grown, and every standstill had a stated reason. Workers
are not killed, so that their memory can be compared; ``make torture`` kills them.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys

from app.broker.distribution import libraries
from tests.chaos.report import describe
from tests.chaos.run import Run, carry_out
from tests.chaos.schedule import AROUND, ODD, PASSING, Blow
from tests.chaos.surroundings import apart, is_apart
from tests.support import private_network

EVENTS_PER_SECOND = 20.0
# Every kind of fault has its turn so often; each is in force for some seconds, and so several are at a time.
ROUND_SECONDS = 150.0
GAP_SECONDS = (15.0, 45.0)
DOWN_SECONDS = 60.0
# Everything that leaves the workers their processes.
DECK = (
    *(blow for blow in AROUND if blow is not Blow.NO_OFFSETS),
    Blow.STOP,
    Blow.PAUSE,
    Blow.BROKER_KILL,
    Blow.BROKER_RESTART,
    Blow.BROKER_FREEZE,
)


def run_of(minutes: float, seed: int, pace: float = EVENTS_PER_SECOND, deck: tuple[Blow, ...] = DECK) -> Run:
    """A soak of ``minutes``."""
    seconds = 60 * minutes
    down = min(DOWN_SECONDS, seconds / 6)
    return Run(
        seed,
        events=int(pace * (seconds - down)),
        seconds=seconds,
        consumers=max(100, int(pace * seconds / 30)),
        down_seconds=down,
        deck=deck,
        gap=GAP_SECONDS if minutes >= 10 else (5.0, 12.0),
        workers_at_first=2,
        rest_seconds=300.0,
        surroundings=True,
        passing=(*PASSING, *ODD) * max(1, round(seconds / ROUND_SECONDS)),
        hot_percent=15,
        soaked=True,
    )


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--pace", type=float, default=EVENTS_PER_SECOND, help="events published per second")
    parser.add_argument("--without", default="", help="blows to leave out, separated by commas")
    chosen = parser.parse_args()
    if not is_apart():
        if (reason := private_network.why_not()) is not None:
            print(f"The soak {reason}", file=sys.stderr)
            return 1
        libraries()  # fetched here, because the new network has no access to a repository
        command = apart([sys.executable, "-m", "tests.chaos.soak", *sys.argv[1:]])
        os.execvp(command[0], command)
    private_network.loopback_up()
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    deck = tuple(blow for blow in DECK if blow not in chosen.without.split(","))
    run = run_of(chosen.minutes, seed, chosen.pace, deck)
    print(f"Soak: {chosen.minutes:g} minutes, {run.events} events; the same again: --seed {seed}", flush=True)
    line = carry_out(run)
    print(describe(line))
    return int(bool(line.verdict.violations))


if __name__ == "__main__":
    sys.exit(main())
