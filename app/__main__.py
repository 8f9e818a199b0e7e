"""``python -m app``, and the console script."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["worker"]:
        # Nothing has begun until the worker has handlers of its own, so a stop needs nothing but an end. What is
        # imported below takes a second on a busy machine.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: os._exit(0))
    from app.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
