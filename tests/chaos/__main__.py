"""``python -m tests.chaos``: several runs, a table of results, and exit code 1 if a promise was broken."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace

from app.broker.distribution import BrokerStartError, libraries
from tests.chaos.event_calls import STRATEGIES, Strategy
from tests.chaos.report import Line, describe, print_table
from tests.chaos.run import Run, carry_out
from tests.chaos.schedule import DECK, GAP_SECONDS, SURROUNDINGS, SURROUNDINGS_OF_THREE, Blow
from tests.chaos.surroundings import apart, is_apart
from tests.support import private_network

# A machine with two cores settles more than twice as many events, so it can catch up after a blow.
EVENTS_PER_SECOND = 50.0
DOWN_SECONDS = 60.0
LEAST_SECONDS = 40.0
# With the deck "surroundings", the topic is deleted and created again at the end.
RECREATED_EVENTS = 300


def plan_of(
    number: int,
    seed: int,
    events: int,
    strategies: Sequence[Strategy] = STRATEGIES,
    faults: Sequence[bool] = (False, True),
    pace: float = EVENTS_PER_SECOND,
) -> Run:
    """Run ``number`` of several: with and without faults of the CMT in turn, with one strategy after the other.

    In a run with faults the CMT is down for a minute, or a third of a shorter one.
    """
    with_faults = faults[number % len(faults)]
    strategy = strategies[number // len(faults) % len(strategies)]
    seconds = max(LEAST_SECONDS, events / pace)
    down = min(DOWN_SECONDS, seconds / 3) if with_faults else 0.0
    consumers = min(300, max(30, events // 10))
    return Run(seed + number, events, seconds + down, down_seconds=down, consumers=consumers, strategy=strategy)


def brokers_of(number: int, chosen: str = "both") -> int:
    """One or three, for run ``number``: in eight runs each meets each strategy with and without faults."""
    return int(chosen) if chosen != "both" else 3 if (number + number // 2 + number // 4) % 2 else 1


def again(run: Run, pace: float = EVENTS_PER_SECOND) -> str:
    """The command that does this run alone."""
    faults = "on" if run.down_seconds else "off"
    options = f"--runs 1 --events {run.events} --seed {run.seed} --strategy {run.strategy} --faults {faults}"
    if run.surroundings:
        options += f" --deck surroundings --brokers {run.brokers}"
    if run.recreated_events != (RECREATED_EVENTS if run.surroundings else 0):
        options += f" --recreated {run.recreated_events}"
    if pace != EVENTS_PER_SECOND:
        options += f" --pace {pace:g}"
    return f"python -m tests.chaos {options}"


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=10_000, help="of each run")
    parser.add_argument("--seed", type=int, default=None, help="of the first run; the others count up from it")
    parser.add_argument(
        "--strategy", choices=[*STRATEGIES, "both"], default="both", help="SYNC_STRATEGY of the workers"
    )
    parser.add_argument(
        "--faults", choices=["on", "off", "both"], default="both", help="of the CMT, in every other run"
    )
    parser.add_argument("--pace", type=float, default=EVENTS_PER_SECOND, help="events published per second")
    parser.add_argument(
        "--deck", choices=["processes", "surroundings"], default="processes", help="what is hit: see tests/chaos"
    )
    parser.add_argument(
        "--brokers", choices=["1", "3", "both"], default=None, help="both: in turn; three in the deck surroundings only"
    )
    parser.add_argument(
        "--recreated",
        type=int,
        default=None,
        help="events after the topic is recreated at the end; 0: it is not recreated",
    )
    parser.add_argument("--gap", type=float, nargs=2, default=GAP_SECONDS, help="seconds between two blows")
    parser.add_argument("--blows", default="", help="only these blows of the deck, separated by commas")
    chosen = parser.parse_args()
    surroundings = chosen.deck == "surroundings"
    brokers = chosen.brokers or ("both" if surroundings else "1")
    if brokers != "1" and not surroundings:
        parser.error("three brokers need --deck surroundings")
    recreated = chosen.recreated if chosen.recreated is not None else RECREATED_EVENTS if surroundings else 0
    blows = tuple(Blow(name) for name in chosen.blows.split(",") if name)
    known = SURROUNDINGS_OF_THREE if brokers == "3" else SURROUNDINGS if surroundings else DECK
    if not set(blows) <= set(known):
        parser.error(f"the deck has {', '.join(dict.fromkeys(known))}")
    if surroundings and not is_apart():
        if (reason := private_network.why_not()) is not None:
            print(f"The deck surroundings {reason}", file=sys.stderr)
            return 1
        libraries()  # fetched here, because the new network has no access to a repository
        command = apart([sys.executable, "-m", "tests.chaos", *sys.argv[1:]])
        os.execvp(command[0], command)
    if surroundings:
        private_network.loopback_up()
    if chosen.runs < 1 or chosen.events < 100 or chosen.pace <= 0:
        parser.error("at least 1 run of 100 events, at some pace")
    strategies = [one for one in STRATEGIES if chosen.strategy in (one, "both")]
    faults = {"on": [True], "off": [False], "both": [False, True]}[chosen.faults]
    # As Ctrl-C, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    print(f"Torture: {chosen.runs} runs of {chosen.events} events; the same again: --seed {seed}", flush=True)
    lines: list[Line] = []
    without_verdict = 0
    for number in range(chosen.runs):
        run = plan_of(number, seed, chosen.events, strategies, faults, chosen.pace)
        there = brokers_of(number, brokers)
        deck = SURROUNDINGS_OF_THREE if there > 1 else SURROUNDINGS if surroundings else DECK
        run = replace(run, deck=blows or deck, gap=tuple(chosen.gap), surroundings=surroundings)
        run = replace(run, brokers=there, recreated_events=recreated)
        kind = (
            f"with faults, CMT down for {run.down_seconds:.0f} s" if run.down_seconds else "without faults of the CMT"
        )
        if there > 1:
            kind += f", {there} brokers"
        if recreated:
            kind += ", topic recreated at the end"
        print(f"Run {number + 1}: seed {run.seed}, {run.strategy}, {run.seconds:.0f} s, {kind}", flush=True)
        print(f"  alone: {again(run, chosen.pace)}", flush=True)
        try:
            lines.append(carry_out(run))
        except BrokerStartError as error:
            print(error, file=sys.stderr)
            return 1
        except Exception:  # noqa: BLE001 - it proves nothing, and says nothing about the other runs
            traceback.print_exc()
            without_verdict += 1
            continue
        print(describe(lines[-1]), flush=True)
    print_table(lines)
    if without_verdict:
        print(f"{without_verdict} of {chosen.runs} runs failed themselves and have no verdict", file=sys.stderr)
    return int(without_verdict > 0 or any(line.verdict.violations for line in lines))


if __name__ == "__main__":
    sys.exit(main())
