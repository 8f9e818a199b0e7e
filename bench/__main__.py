"""``python -m bench [SECONDS]``: every measurement, SECONDS (1) each, as one table."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from bench import client_calls, hot_paths


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    table = Table("one core", "per second", "CPU, microseconds each")
    table.columns[1].justify = table.columns[2].justify = "right"
    for measured in (*hot_paths.run(seconds), client_calls.run(max(seconds, 2.0))):
        table.add_row(measured.what, f"{measured.per_second:,.0f}", f"{measured.cpu_us:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
