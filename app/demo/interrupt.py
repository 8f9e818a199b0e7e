"""Ctrl-C, SIGTERM and a closed terminal. The first signal stops the demo in order, a second one at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupted(BaseException):
    """A signal asks the demo to stop. This is not an error."""


class Interrupt:
    """Handles the signals while it is open; a context manager for the main thread.

    Within ``raises`` the first signal raises ``Interrupted``; within ``cancels`` it cancels a task. Elsewhere the
    signal is only noted, and the next such block raises at its start, so that a start or a cleanup is not interrupted
    halfway. Every further signal calls ``hurry``.
    """

    def __init__(self, hurry: Callable[[], None]) -> None:
        self.received: int | None = None
        self._hurry = hurry
        self._react: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started with nohup: the terminal may be closed
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def raises(self) -> Iterator[None]:
        """For a blocking call.

        Raises:
            Interrupted: there was a signal, before the block or within it.
        """
        with self._reacting(_raise):
            yield

    @contextmanager
    def cancels(self, task: asyncio.Task[Any]) -> Iterator[None]:
        """For code that ``task`` runs in its event loop.

        Raises:
            Interrupted: there was a signal before the block.
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
