"""Where processor time goes: what the sampler sees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.profiling import package_of

PROGRAM = """
import gc, sys, time
from pathlib import Path
from bench.programs.sampling import sampled

def busy():
    end = time.process_time() + 0.5
    while time.process_time() < end:
        sum(range(100))

def caller():
    busy()
    gc.collect()

with sampled(Path(sys.argv[1])):
    time.sleep(0.7)
    caller()
"""


def test_the_busy_function_is_seen_and_the_waiting_one_is_not(tmp_path: Path) -> None:
    output = tmp_path / "samples.json"

    subprocess.run([sys.executable, "-c", PROGRAM, str(output)], check=True, timeout=60, cwd=Path(__file__).parents[3])

    found = json.loads(output.read_text())
    own = {name.rpartition(" ")[2]: samples for name, samples in found["own"].items()}
    deep = {name.rpartition(" ")[2]: samples for name, samples in found["with_callees"].items()}
    assert own["busy"] > 0.8 * sum(own.values())
    assert deep["caller"] >= own["busy"]
    assert found["threads"]["MainThread"] > 0
    assert found["garbage_seconds"] > 0


def test_functions_are_grouped_by_package_and_the_rooms_of_app_stay_apart() -> None:
    assert package_of("app.engine.journal:10 Journal.finish") == "app.engine"
    assert package_of("asyncio.locks:5 Event.wait") == "asyncio"
