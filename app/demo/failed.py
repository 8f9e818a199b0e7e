"""The error of a demo."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo cannot go on. The text says what failed, with the end of that program's log."""
