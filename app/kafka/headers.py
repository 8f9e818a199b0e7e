"""The headers of a record that confluent-kafka has read."""

from __future__ import annotations

from confluent_kafka import Message


def headers_of(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    """All of them; none when a name among them is not UTF-8: confluent-kafka then gives up on the others too.

    May be asked once for a message: confluent-kafka keeps what it has made of them so far.
    """
    try:
        found = message.headers()
    except (SystemError, UnicodeDecodeError):  # its C code returns a list, and an exception with it
        return ()
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in found or ())
