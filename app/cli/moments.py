"""Times in options."""

from __future__ import annotations

from datetime import datetime

import typer

from app.delivery.moments import MomentError, read_moment


def moment_ms(text: str, now: datetime, option: str) -> int:
    """A time in ms since 1970; see ``read_moment``.

    Raises:
        BadParameter: the text is not a time.
    """
    try:
        return read_moment(text, now)
    except MomentError as error:
        raise typer.BadParameter(f"{option} takes {error}; not {text}") from None
