"""The short form of the deck "surroundings": one run of half a minute with what happens around the processes. At
its end the topic is recreated.

``make torture`` has the long one, with three brokers too. It runs in namespaces of its own, so as a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.broker.distribution import BrokerStartError, libraries
from tests.support import private_network

BLOWS = "packets to the CMT dropped,offsets deleted,packets to Kafka dropped,no right to read"
OPTIONS = (
    "--runs 1 --events 800 --seed 11 --strategy replace --faults on --brokers 1 --recreated 100 --gap 1.5 3 "
    "--deck surroundings --blows {}"
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_overtaken_or_miscounted_whatever_happens_around_the_processes() -> None:
    private_network.needed()
    try:
        libraries()
    except BrokerStartError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs a broker: {error}")
    options = [option.format(BLOWS) for option in OPTIONS.split()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *options],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
