"""Ports for servers that come and go."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST = 15_000
# Linux default of net.ipv4.ip_local_port_range, for systems that do not tell.
_EPHEMERAL_START = 32_768

# Not the module's own generator: a program, or a test, that seeds it would be given the same ports over again.
_random = random.SystemRandom()
# Whoever asked before may not listen yet.
_given: set[int] = set()


def _ephemeral_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _EPHEMERAL_START


def free_port(*besides: int) -> int:
    """A TCP port of 127.0.0.1 that nothing listens on, below the range of outgoing connections.

    Never the same one twice in a process, nor one of ``besides``.

    Above that border a client that keeps calling a stopped server may be given the server's own port as its source,
    connect to itself and keep the server from coming back. Nothing reserves the port: who binds it must be ready to
    ask again.

    Raises:
        OSError: no port is free.
    """
    highest = max(_ephemeral_start() - 1, _LOWEST + 1_000)
    for _ in range(200):
        port = _random.randint(_LOWEST, highest)
        if port in _given or port in besides:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise OSError(f"No free TCP port on 127.0.0.1 between {_LOWEST} and {highest}; is something leaking servers?")
