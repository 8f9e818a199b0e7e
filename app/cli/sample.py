"""``profile-sync sample``: print realistic sample events."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from app.profile.samples.samples import sample_events, to_json


def sample(
    events: Annotated[int, typer.Option(min=0, help="Number of events.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 0,
    consumers: Annotated[
        int | None, typer.Option(min=1, help="Number of consumers at most. Without it, new consumers keep appearing.")
    ] = None,
) -> None:
    """Print sample events as JSON lines, in an order in which they can be published. The people in them are made up."""
    out = sys.stdout.buffer
    try:
        for event in sample_events(events, seed, consumers):
            out.write(json.dumps(to_json(event), ensure_ascii=False).encode() + b"\n")
        out.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Python would flush again on exit and report the error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
