"""An operator who redrives and discards while programs are killed, and whose own commands are killed too."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

PAUSE_SECONDS = (1.0, 4.0)
# A command that takes longer is killed, as by an operator who loses patience.
PATIENCE_SECONDS = 20.0


class Operator(threading.Thread):
    """Runs commands one after the other until it is stopped; every third one is killed while it runs."""

    def __init__(self, environment: Mapping[str, str], folder: Path, seed: int, consumers: Sequence[str]) -> None:
        super().__init__(name="operator", daemon=True)
        self.stop = threading.Event()
        self.commands: list[str] = []
        self._environment = {**os.environ, **environment, "DATA_DIR": str(folder / "operator")}
        self._log = folder / "operator.log"
        self._random = random.Random(seed)
        self._consumers = list(consumers)

    def run(self) -> None:
        while not self.stop.wait(self._random.uniform(*PAUSE_SECONDS)):
            patience = self._random.uniform(0.3, 4.0) if self._random.random() < 0.33 else PATIENCE_SECONDS
            self.command(self._next(), patience)

    def _next(self) -> list[str]:
        consumer = self._random.choice(self._consumers)
        return self._random.choice(
            [
                ["redrive", "--all"],
                ["redrive", "--all", "--rate", "100"],
                ["redrive", "--reason", "CMT-ROW-INVALID"],
                ["redrive", "--market", self._random.choice(["DE", "FR"]), "--wait"],
                ["redrive", "--consumer", consumer],
                ["discard", "--consumer", consumer, "--note", "not wanted"],
                ["cancel"],
                ["pause"],
                ["resume"],
            ]
        )

    def command(self, words: list[str], patience: float) -> int | None:
        """Run ``dlq`` with these words. Returns its exit code; None: it was killed."""
        if words in (["cancel"], ["pause"], ["resume"]):
            task = self._a_task()
            if task is None:
                return 0
            words = [*words, task]
        elif words[0] in ("redrive", "discard"):
            words = [*words, "--yes"]
        self.commands.append(" ".join(words))
        with self._log.open("ab") as log:
            log.write(f"$ dlq {' '.join(words)}\n".encode())
            log.flush()
            command = [sys.executable, "-m", "app", "dlq", *words]
            process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            try:
                return process.wait(patience)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                log.write(b"(killed)\n")
                return None

    def _a_task(self) -> str | None:
        """A task that some command has made."""
        words = self._log.read_text(errors="replace").split() if self._log.exists() else []
        tasks = [word.strip(".,:") for word in words if word.startswith(("redrive-2", "discard-2"))]
        return self._random.choice(tasks) if tasks else None
