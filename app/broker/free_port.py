"""Free ports for servers that are started and stopped."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST = 15_000
# The default of net.ipv4.ip_local_port_range in Linux, for systems without this file.
_EPHEMERAL_START = 32_768

# A separate generator: seeding the module's own one, as tests do, would repeat the ports.
_random = random.SystemRandom()
# Ports that were returned before, although nothing may listen on them yet.
_given: set[int] = set()


def _ephemeral_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _EPHEMERAL_START


def free_port(*besides: int) -> int:
    """A TCP port of 127.0.0.1 that nothing listens on, below the range of outgoing connections.

    It never returns a port twice in one process, nor one of ``besides``.

    A port within that range would be a risk: a client that keeps calling a stopped server may get the server's port as
    its source port, connect to itself and block the server's restart. The port is not reserved, so a caller must be
    ready to ask for another one.

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
