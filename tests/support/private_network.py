"""A private network for one test: the kernel can drop packets, and names get addresses. Other processes do not notice.

A network namespace belongs to a thread and to the processes that it starts. This needs Linux, root, ``ip`` and ``nft``
(Debian: iproute2, nftables).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

HOST = "127.0.0.1"
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_HOSTS = "/etc/hosts"
_SBIN = "/usr/sbin:/sbin"
_Result = TypeVar("_Result")


class PrivateNetwork:
    """The loopback interface of a namespace. Use it in a thread of that namespace.

    Args:
        hosts: the hosts file of the namespace.
    """

    def __init__(self, hosts: Path | None = None) -> None:
        self._hosts = hosts

    def name(self, host: str, address: str) -> None:
        """Give this name this address; besides it, only localhost is known."""
        assert self._hosts is not None, "only in a network with names of its own"
        self._hosts.write_text(f"127.0.0.1 localhost\n{address} {host}\n")

    @contextmanager
    def dropping(self, port: int) -> Iterator[None]:
        """Drop all packets to and from this port: no side is notified, and both keep trying."""
        self.drop(port)
        try:
            yield
        finally:
            self.pass_all(port)

    def drop(self, port: int) -> None:
        """Drop packets of this port until ``pass_all``. Packets by way of 127.0.0.2 get through."""
        table = f"inet dropped{port}"
        for rule in (
            f"add table {table}",
            f"add chain {table} out {{ type filter hook output priority 0; }}",
            f"add rule {table} out ip daddr {HOST} tcp dport {port} drop",
            f"add rule {table} out ip saddr {HOST} tcp sport {port} drop",
        ):
            _run("nft", rule)

    def pass_all(self, port: int) -> None:
        _run("nft", f"delete table inet dropped{port}")

    def unsent(self, port: int) -> int:
        """Bytes to this port that the kernel keeps and will resend, even if the program has given them up."""
        lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
        fields = [line.split() for line in lines]
        return sum(int(each[4].partition(":")[0], 16) for each in fields if int(each[2].partition(":")[2], 16) == port)


def needed() -> None:
    """Skip the test if there can be no private network, except in CI."""
    reason = why_not()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def in_private_network(scenario: Callable[[PrivateNetwork], Coroutine[Any, Any, _Result]]) -> _Result:
    """Run a coroutine in a thread with its own network; skips like ``needed``."""
    needed()

    def run() -> _Result:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET | _CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        loopback_up()
        with tempfile.NamedTemporaryFile("w", prefix="hosts-") as hosts:
            _run("mount", "--make-rprivate /")
            _run("mount", f"--bind {hosts.name} {_HOSTS}")
            return asyncio.run(scenario(PrivateNetwork(Path(hosts.name))))

    with ThreadPoolExecutor(1) as own_thread:
        return own_thread.submit(run).result()


def why_not() -> str | None:
    """Why there can be no private network here; None: there can be one."""
    if sys.platform != "linux":
        return "needs Linux: network namespaces"
    if os.geteuid() != 0:
        return "needs root: a network namespace"
    missing = [tool for tool in ("ip", "nft") if _path(tool) is None]
    return f"needs {' and '.join(missing)} (Debian: apt-get install iproute2 nftables)" if missing else None


def loopback_up() -> None:
    """Bring up the loopback interface; in a new network it is down."""
    _run("ip", "link set lo up")


def _path(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def _run(tool: str, arguments: str) -> None:
    subprocess.run([_path(tool) or tool, *arguments.split()], check=True, capture_output=True, text=True)
