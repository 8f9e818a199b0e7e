"""The command blocks and the example of docs/simulator.md work as printed."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from app.simulator.faults import FaultKind
from tests.support.simulator_wire import running

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "simulator.md").read_text()
# Where the guide says the simulator listens.
ADDRESS = "http://127.0.0.1:8700"
START = "profile-sync simulator --port 8700"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


async def test_the_command_blocks_run() -> None:
    start, *commands = blocks("sh")
    assert start.strip() == START
    async with running() as wire:
        script = "\n".join(commands).replace(ADDRESS, wire.simulator.url)
        # The last block resets the simulator, so the effects of the others are checked before it.
        script = script.replace('curl -sS -X POST "$SIM/_sim/reset"', 'curl -sS "$SIM/_sim/rows/CMT_Pet"')
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", script.replace("curl -sS", "curl --fail -sS"), stdout=subprocess.PIPE
        )
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        assert b"<OverallStatus>OK</OverallStatus>" in out
        assert await wire.rows("CMT_Pet") == [{"ConsumerId": "c-1", "PetId": "p-1", "Species": "cat"}]
        assert (await wire.get("/_sim/faults"))[1] == {"faults": [], "spent": []}


def test_the_example_test_passes(tmp_path: Path) -> None:
    (example,) = blocks("python")
    file = tmp_path / "test_example.py"
    file.write_text(example)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout


def test_every_kind_of_fault_is_explained() -> None:
    table, _, _ = GUIDE[GUIDE.index("| kind | what the client sees |") :].partition("\n\n")
    explained = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE))))
    assert explained == {kind.value for kind in FaultKind}
