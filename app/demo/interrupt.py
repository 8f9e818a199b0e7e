"""Ctrl-C, SIGTERM and a closed terminal: the first one stops the demo in order, a further one in a hurry."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupted(BaseException):
    """Stop now; not an error."""


class Interrupt:
    """Takes the signals while it is open; a context manager for the main thread.

    Inside ``raises`` the first signal raises ``Interrupted`` wherever the thread is; inside ``cancels`` it cancels a
    task. Anywhere else it is noted, and the next such block is not entered: what starts or cleans up in one go is not
    broken off. Every further signal calls ``hurry``.
    """

    def __init__(self, hurry: Callable[[], None]) -> None:
        self.received: int | None = None
        self._hurry = hurry
        self._react: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup: the terminal may go
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def raises(self) -> Iterator[None]:
        """Around something that blocks.

        Raises:
            Interrupted: there was a signal, before or within.
        """
        with self._reacting(_raise):
            yield

    @contextmanager
    def cancels(self, task: asyncio.Task[Any]) -> Iterator[None]:
        """Around what the task does, in its event loop.

        Raises:
            Interrupted: there was a signal before.
        """
        loop = asyncio.get_running_loop()
        with self._reacting(lambda: (loop.call_soon_threadsafe(task.cancel), None)[1]):
            yield

    @contextmanager
    def _reacting(self, react: Callable[[], None]) -> Iterator[None]:
        self._react = react
        try:
            if self.received is not None:
                raise Interrupted
            yield
        finally:
            self._react = None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            self._hurry()
            return
        self.received = number
        if self._react is not None:
            self._react()


def _raise() -> None:
    raise Interrupted
