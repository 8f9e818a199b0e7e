"""The headers of a record that confluent-kafka has read."""

from __future__ import annotations

from confluent_kafka import Message


def headers_of(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    """All headers of a message; none if one of the names is not UTF-8, because confluent-kafka then returns no header.

    Call it once per message: confluent-kafka keeps what it has converted so far.
    """
    try:
        found = message.headers()
    except (SystemError, UnicodeDecodeError):  # its C code returns a list and raises at once
        return ()
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in found or ())
