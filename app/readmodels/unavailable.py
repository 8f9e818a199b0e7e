"""The error of everything that the read models are asked."""

from __future__ import annotations


class ReadModelUnavailable(Exception):
    """The read models cannot answer now: they are being built, or the file is damaged. They recover by themselves."""
