"""A library's line that comes again and again is written now and then, with how often it came."""

from __future__ import annotations

import logging
import sys

from app.observe.repeats import Repeats


class Log:
    """What gets through the filter, at times that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self._filter = Repeats(("aiokafka",), 10.0, lambda: self.now)

    def line(self, text: str, *arguments: object, name: str = "aiokafka.conn", error: bool = False) -> str | None:
        try:
            raise OSError(text)
        except OSError:
            problem = sys.exc_info() if error else None
        record = logging.LogRecord(name, logging.WARNING, "", 0, text, arguments, problem)
        return record.getMessage() if self._filter.filter(record) else None


def test_the_same_message_is_written_once_in_a_while_and_says_how_many_were_left_out() -> None:
    log = Log()
    assert log.line("no connection to %s: %s", 1, "refused") == "no connection to 1: refused"
    assert log.line("no connection to %s: %s", 2, "reset") is None
    assert log.line("no connection to %s: %s", 1, "refused") is None
    log.now += 12
    assert log.line("no connection to %s: %s", 3, "refused") == (
        "no connection to 3: refused (and 2 more like it in the last 12 s)"
    )
    log.now += 12
    assert log.line("no connection to %s: %s", 3, "refused") == "no connection to 3: refused"


def test_other_messages_and_loggers_are_not_held_back() -> None:
    log = Log()
    assert log.line("one") == "one"
    assert log.line("two") == "two"
    assert log.line("one", name="aiokafka.producer") == "one"
    for _ in range(2):
        assert log.line("one", name="app.engine") == "one"
        assert log.line("one", name="aiokafkaesque") == "one"


def test_what_has_a_traceback_is_always_written() -> None:
    log = Log()
    assert [log.line("bug", error=True) for _ in range(2)] == ["bug", "bug"]
