"""What is freed goes back to the system, as long as the worker runs."""

from __future__ import annotations

import asyncio
import ctypes
import platform
import weakref

import pytest

from app.observe import freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc: malloc_trim")
def test_free_memory_is_given_back() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    # Too small to be mapped alone; every other one is freed, so that holes remain.
    blocks = [ctypes.c_void_p(library.malloc(64 * 1024)) for _ in range(200)]
    for block in blocks[::2]:
        library.free(block)
    try:
        assert freed_memory.return_free_memory()
        assert freed_memory.limit_arenas()
    finally:
        for block in blocks[1::2]:
            library.free(block)


def test_a_c_library_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not freed_memory.return_free_memory()
    assert not freed_memory.limit_arenas()


def test_what_only_a_circle_holds_is_found() -> None:
    class Client:
        circle: Client

    client = Client()
    client.circle = client
    held = weakref.ref(client)
    del client
    freed_memory.collect_and_return()
    assert held() is None


async def test_it_is_done_again_and_again_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    done = 0

    def noted() -> None:
        nonlocal done
        done += 1

    monkeypatch.setattr(freed_memory, "collect_and_return", noted)
    async with freed_memory.returning_free_memory(0.0):
        async with asyncio.timeout(30):
            while done < 3:
                await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "freed memory"]
