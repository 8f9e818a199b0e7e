"""How a demo fails."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo cannot go on; the text says what failed, and how the log of the program concerned ends."""
