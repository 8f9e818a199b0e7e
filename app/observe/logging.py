"""Structured logs on stderr: one JSON object per line, or coloured text for a terminal.

All lines go through structlog and ``redact``, including those of Faust, aiokafka and aiohttp, which use the standard
library's loggers. Tracebacks show no local variables.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
from typing import Literal, TextIO

import orjson
import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from app.observe.redaction import hash_consumer, redact, use_hash_key
from app.observe.repeats import Repeats
from app.settings import GeneralSettings

__all__ = ["configure_command_logging", "configure_logging", "hash_consumer", "suppress_connection_lines"]

# These libraries are never logged below INFO: at DEBUG aiokafka logs whole produce requests, which hold the rows of
# events.
_LIBRARIES = ("faust", "mode", "aiokafka", "aiohttp", "asyncio", "kafka", "zeep", "urllib3", "testcontainers", "docker")

# The client logs these as errors, but they are part of a rebalance or of a broker's restart. It recovers by itself, and
# the engine handles the consequences: a failed commit is repeated by the partition's next owner.
_HARMLESS = (
    "OffsetCommit failed for group %s due to group error (%s), will rejoin",
    "OffsetCommit failed before join, ignoring: %s",
    "Heartbeat session expired - marking coordinator dead",
    "Heartbeat send request failed: %s. Will retry.",
    "LeaveGroup request failed: %s",
    "Group Coordinator Request failed: %s",
    "Failed fetch messages from %s: %s",
    "Failed fetch offsets from %s: %s",
    "Unable connect to node with id %s: %s",
    'Unable connect to "%s:%s": %s',
    "Unable to update metadata from %s",
)


# Larger integers are not written out: Python refuses more than 4,300 digits, and even a hundred are of no use in a log.
LONGEST_INTEGER_BITS = 256

# A library's message that is repeated within this time is counted instead of written.
REPEATED_SECONDS = 10.0


# Set while Kafka is known to be away. The client's lines about failed connections say nothing new then.
_connections_held = threading.Event()


def suppress_connection_lines(on: bool) -> None:
    """Suppress the Kafka client's lines about failed connections, or write them again. Errors are always written."""
    if on:
        _connections_held.set()
    else:
        _connections_held.clear()


def configure_logging(settings: GeneralSettings, stream: TextIO | None = None, *, dry_run: bool = False) -> None:
    """Set up logging for the process; calling it again replaces what was set up before.

    Args:
        settings: level, format and the key of the consumer hash.
        stream: where the lines go; standard error if none is given.
        dry_run: mark every line, so that no reader takes it for a real write.
    """
    use_hash_key(settings.log_hash_key.get_secret_value().encode() if settings.log_hash_key else None)
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([_mark_dry_run] if dry_run else []),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.addFilter(_demote_harmless)
    handler.addFilter(_not_held)
    handler.addFilter(Repeats(_LIBRARIES, REPEATED_SECONDS))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                _redact,
                _renderer(settings.log_format, target),
            ],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    verbose = logging.INFO if settings.log_level == "DEBUG" else logging.WARNING
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(verbose, logging.getLevelName(settings.log_level)))


def configure_command_logging(level: Literal["WARNING", "ERROR"] = "WARNING") -> None:
    """Set up logging for a command: standard output is for its data, and a person reads warnings on standard error."""
    configure_logging(GeneralSettings.model_construct(log_level=level, log_format="console"))


def _renderer(log_format: str, target: TextIO) -> Processor:
    if log_format == "console":
        console = structlog.dev.ConsoleRenderer(
            colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=32
        )
        return lambda logger, method, entry: str(console(logger, method, _plain_entry(entry)))
    return structlog.processors.JSONRenderer(serializer=_json)


def _json(entry: EventDict, **_: object) -> str:
    try:
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        # For a lone surrogate or an integer of more than 64 bits. They are rare, but must not lose the line.
        return json.dumps(_plain_entry(entry), allow_nan=False)


def _plain_entry(entry: EventDict) -> dict[str, object]:
    return {_carried(str(key)): _plain(value) for key, value in entry.items()}


def _plain(value: object) -> object:
    """A value that JSON can hold, without lone surrogates, which readers of the line could not decode."""
    match value:
        case str():
            return _carried(value)
        case dict():
            return {_carried(str(key)): _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case int() if value.bit_length() > LONGEST_INTEGER_BITS:
            return f"<a number of {value.bit_length()} bits>"
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case _:
            return _carried(str(value))


def _carried(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _mark_dry_run(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    entry["dry_run"] = True
    return entry


def _redact(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    return redact(entry)


def _demote_harmless(record: logging.LogRecord) -> bool:
    if record.levelno >= logging.ERROR and record.name.startswith("aiokafka") and record.msg in _HARMLESS:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _not_held(record: logging.LogRecord) -> bool:
    held = record.name.startswith("aiokafka") and record.levelno <= logging.WARNING and not record.exc_info
    return not (held and _connections_held.is_set())
