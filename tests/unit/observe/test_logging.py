"""Logs as lines that a machine reads and a person may see."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.observe.logging import configure_logging
from app.settings import GeneralSettings


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("faust", "aiokafka", "aiohttp")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def _configured(**settings: str) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(GeneralSettings.model_validate(settings), stream)
    return stream


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_logger() -> None:
    stream = _configured()
    structlog.get_logger("app.engine").info("settled", partition=3)
    (line,) = _lines(stream)
    assert line["event"] == "settled"
    assert line["partition"] == 3
    assert line["level"] == "info"
    assert line["logger"] == "app.engine"
    assert str(line["timestamp"]).endswith("Z")


def test_loggers_of_the_standard_library_go_the_same_way() -> None:
    stream = _configured()
    logging.getLogger("faust.app").warning("hello %s", "ann@example.com")
    (line,) = _lines(stream)
    assert line["event"] == "hello ***"
    assert line["level"] == "warning"


def test_console_lines_are_redacted_too() -> None:
    stream = _configured(log_format="console")
    structlog.get_logger("app").info("hello", client_secret="hush", name="ann@example.com")
    assert "hello" in stream.getvalue()
    assert "hush" not in stream.getvalue()
    assert "ann@" not in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables_and_no_personal_data(log_format: str) -> None:
    stream = _configured(log_format=log_format)
    row = {"EmailAddress": "ann" + "@example.com"}
    try:
        raise ValueError(f"refused for {row['EmailAddress']}")
    except ValueError:
        structlog.get_logger("app").exception("failed")
        logging.getLogger("other").exception("failed elsewhere")
    text = stream.getvalue()
    assert text.count("Traceback") == 2
    assert "refused for ***" in text
    assert "ann@example.com" not in text


def test_libraries_are_quiet_below_a_warning() -> None:
    stream = _configured(log_level="INFO")
    logging.getLogger("aiokafka.conn").info("connected")
    logging.getLogger("faust.transport").info("connected")
    assert _lines(stream) == []


def test_not_even_debug_lets_aiokafka_write_the_requests_it_sends() -> None:
    stream = _configured(log_level="DEBUG")
    logging.getLogger("aiokafka.conn").debug("Request: %s", b"EmailAddress=ann")
    logging.getLogger("aiokafka.conn").info("connected")
    structlog.get_logger("app").debug("ours")
    assert [line["event"] for line in _lines(stream)] == ["connected", "ours"]


def test_what_a_rebalance_costs_is_no_error() -> None:
    stream = _configured()
    harmless = "OffsetCommit failed for group %s due to group error (%s), will rejoin"
    logging.getLogger("aiokafka.consumer.group_coordinator").error(harmless, "g", "UnknownMemberIdError")
    logging.getLogger("aiokafka.consumer.group_coordinator").error("something else")
    assert [line["level"] for line in _lines(stream)] == ["warning", "error"]


def test_the_level_of_the_settings_holds() -> None:
    stream = _configured(log_level="ERROR")
    structlog.get_logger("app").warning("not shown")
    structlog.get_logger("app").error("shown")
    assert [line["event"] for line in _lines(stream)] == ["shown"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_what_cannot_be_encoded_does_not_cost_the_line(log_format: str) -> None:
    stream = _configured(log_format=log_format)
    strict = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    logging.getLogger().handlers[0].setStream(strict)  # type: ignore[attr-defined]
    log = structlog.get_logger("app.engine")
    log.warning("invalid \ud800", event_id="id \udc00", **{"key\ud800": ["in a list \ud800", {"deep": "\ud800"}]})
    log.warning("large", offset=2**64, other=10**5_000, values=[10**5_000], odd=object())
    strict.flush()
    written = strict.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert stream.getvalue() == ""
    assert "invalid ?" in written
    assert "id ?" in written
    assert "large" in written
    if log_format == "json":
        assert [json.loads(line)["level"] for line in written.splitlines()] == ["warning", "warning"]


def test_every_line_of_a_dry_run_says_so() -> None:
    stream = io.StringIO()
    configure_logging(GeneralSettings(), stream, dry_run=True)
    structlog.get_logger("app.engine").info("settled")
    logging.getLogger("faust.app").warning("hello")
    assert [line["dry_run"] for line in _lines(stream)] == [True, True]
    assert "dry_run" not in _configured().getvalue()
