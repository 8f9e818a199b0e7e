"""``profile-sync sample``: realistic sample events."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from app.profile.samples.samples import sample_events, to_json


def sample(
    events: Annotated[int, typer.Option(min=0, help="How many.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 0,
    consumers: Annotated[
        int | None, typer.Option(min=1, help="Spread them over at most so many consumers; else new ones keep coming.")
    ] = None,
) -> None:
    """Print sample events as JSON lines, in an order in which they may be published. Nobody in them is real."""
    out = sys.stdout.buffer
    try:
        for event in sample_events(events, seed, consumers):
            out.write(json.dumps(to_json(event), ensure_ascii=False).encode() + b"\n")
        out.flush()
    except BrokenPipeError:
        # The reader, `head` for instance, has all it wants. Python would try once more to flush on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
