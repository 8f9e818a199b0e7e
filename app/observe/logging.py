"""Structured logs on stderr: one JSON object a line, or coloured text for a terminal.

Everything goes through structlog, the standard library's loggers of Faust, aiokafka and aiohttp too, and passes
``redact`` before it is written. Tracebacks carry no local variables.
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

__all__ = ["configure_command_logging", "configure_logging", "hash_consumer", "hold_connection_lines"]

# They report their own working in great detail. Never below INFO: at DEBUG aiokafka writes whole produce requests into
# the log, with the rows of the events in them.
_LIBRARIES = ("faust", "mode", "aiokafka", "aiohttp", "asyncio", "kafka", "zeep", "urllib3", "testcontainers", "docker")

# Logged as errors by the client, but part of a rebalance or of a broker's restart: the client mends them by itself, and
# what they would cost is guarded by the engine (a commit that fails is made again by the partition's next owner).
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


# Python refuses to write numbers of more than 4,300 digits; nobody reads one of a hundred.
LONGEST_INTEGER_BITS = 256

# A message of a library that comes again within this time is counted, not written.
REPEATED_SECONDS = 10.0


# Whether Kafka is known to be away: what its client says of every try to connect is no news then.
_connections_held = threading.Event()


def hold_connection_lines(on: bool) -> None:
    """Write no more, or again, what the Kafka client says of connections that fail; its other errors are written."""
    if on:
        _connections_held.set()
    else:
        _connections_held.clear()


def configure_logging(settings: GeneralSettings, stream: TextIO | None = None, *, dry_run: bool = False) -> None:
    """Set up logging for the process; calling it again replaces what was set up before.

    Args:
        settings: level, format and the key of the consumer hash.
        stream: where the lines go; standard error if none is given.
        dry_run: every line says so: whoever reads one must not take it for work in earnest.
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
    """For commands that print data: standard output is theirs, a person reads what goes wrong on standard error."""
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
        # Rare: a lone surrogate, a number of more than 64 bits. The line must not be lost for it.
        return json.dumps(_plain_entry(entry), allow_nan=False)


def _plain_entry(entry: EventDict) -> dict[str, object]:
    return {_carried(str(key)): _plain(value) for key, value in entry.items()}


def _plain(value: object) -> object:
    """What can be written, without lone surrogates: those who read the line could not take them."""
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
