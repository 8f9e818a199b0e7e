"""The rights that calls need. Pure."""

from __future__ import annotations

from enum import StrEnum


class Right(StrEnum):
    """What an account may do with a data extension."""

    READ = "read"
    WRITE = "write"
