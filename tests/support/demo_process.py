"""``profile-sync demo`` in its own process, for tests: its output, its programs, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.kafka_probe import Eventually

# The machine may be busy with other tests.
START_SECONDS = 90.0
END_SECONDS = 30.0
# Every program that a demo starts inherits this variable.
MARK = "DEMO_UNDER_TEST"


@dataclass
class Demo:
    """A running demo. ``folder``: the folder of its temporary files."""

    process: subprocess.Popen[bytes]
    mark: str
    folder: Path
    out: Path
    errors: Path
    eventually: Eventually = field(repr=False)

    def said(self) -> str:
        """Its output on both streams so far."""
        return self.errors.read_text() + self.out.read_text()

    def until_said(self, text: str, within: float = START_SECONDS) -> None:
        def there() -> bool:
            assert self.process.poll() is None or text in self.said(), f"ended without {text!r}:\n{self.said()}"
            return text in self.said()

        self.eventually(there, f"the demo says {text!r}; it said:\n{self.said()}", within=within)

    def programs(self) -> dict[int, str]:
        """Running processes of the demo, except the demo itself: ID -> command line."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (place / "environ").read_bytes().split(b"\0"):
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        found.pop(self.process.pid, None)
        return found

    def running(self, what: str) -> list[int]:
        """Process IDs of programs with ``what`` in their command line, in order."""
        return sorted(pid for pid, command in self.programs().items() if what in command)

    def ended(self, within: float = END_SECONDS) -> int:
        """Its exit code; fails if any of its programs still runs then."""
        code = self.process.wait(within)
        assert self.programs() == {}
        return code

    def left_behind(self) -> list[str]:
        """Names of temporary files."""
        return [path.name for path in self.folder.iterdir()]


PROGRAM = str(Path(sys.executable).with_name("profile-sync"))


@contextmanager
def demos(tmp_path: Path, eventually: Eventually) -> Iterator[Callable[..., Demo]]:
    """``start("--events", "20")`` starts a demo; it is killed at the end if it still runs."""
    started: list[Demo] = []

    def run(
        *arguments: str,
        command: Sequence[str] = (PROGRAM, "demo"),
        environment: Mapping[str, str] | None = None,
        here: Path | None = None,
    ) -> Demo:
        mark = uuid.uuid4().hex
        folder = tmp_path / mark
        folder.mkdir()
        out, errors = tmp_path / f"{mark}.out", tmp_path / f"{mark}.err"
        with out.open("wb") as to_out, errors.open("wb") as to_errors:
            process = subprocess.Popen(
                [*command, *arguments],
                env=os.environ | {MARK: mark, "TMPDIR": str(folder)} | dict(environment or {}),
                cwd=here,
                stdin=subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_errors,
                start_new_session=True,
            )
        demo = Demo(process, mark, folder, out, errors, eventually)
        started.append(demo)
        return demo

    try:
        yield run
    finally:
        for demo in started:
            demo.process.kill()
            demo.process.wait()
            eventually(lambda demo=demo: not demo.programs(), f"nothing of a killed demo runs: {demo.programs()}")
