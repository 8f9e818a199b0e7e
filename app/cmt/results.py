"""What an HTTP answer means for the rows of a call. Pure. Messages of errors and results have their values masked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from app.cmt.errors import (
    AnswerVerdict,
    CallError,
    Fault,
    of_fault,
    of_no_results,
    of_retrieve,
    of_row,
    of_status,
    unfinished,
)
from app.cmt.field_answer import fields_of
from app.cmt.good_answer import read_good_answer
from app.cmt.lenient_xml import stand_in_of
from app.cmt.reader import (
    ColumnError,
    RetrieveAnswer,
    RowAnswer,
    UnreadableAnswer,
    read_objects_answer,
    read_retrieve_answer,
    read_write_answer,
)
from app.cmt.request_id import request_id_of
from app.delivery import errors as registry
from app.delivery.errors import ErrorEntry
from app.delivery.value_class import value_class
from app.http.answer import Answer
from app.profile.column_types import Field
from app.profile.entities import CONSUMER_ID_COLUMN, Catalog, DataExtension, Row
from app.profile.keys import same_key_text
from app.profile.masking import mask

# Messages are put into Kafka headers, tickets and log lines.
LONGEST_MESSAGE = 600
MORE = "MoreDataAvailable"

_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of one row; ``ordinal`` is its position in the call.

    Failed: a registry code, a masked message and the request ID of the answer.
    """

    ok: bool
    ordinal: int
    code: str | None = None
    message: str | None = None
    column_errors: tuple[ColumnError, ...] = ()
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows; ``next_id`` asks for the next one."""

    rows: Sequence[Row]
    next_id: str | None


class NoResult(Exception):
    """An answer without results. ``detail`` is not masked yet, so this must not leave the client.

    ``request_id``: of the answer; the sender of the call fills it in.
    """

    def __init__(self, verdict: AnswerVerdict, detail: str, retry_after: float | None = None) -> None:
        super().__init__(verdict.entry.code)
        self.verdict = verdict
        self.detail = detail
        self.retry_after = retry_after
        self.request_id = ""


def names_of(catalog: Catalog) -> frozenset[str]:
    """The names of data extensions and columns. They stay readable when a message is masked."""
    tables = catalog.data_extensions.values()
    return frozenset(
        {table.customer_key for table in tables} | {column for table in tables for column in table.columns}
    )


@value_class(frozen=True, slots=True)
class Mask:
    """Masks the values of the rows of a call. Cheap to make, because most calls have nothing to mask."""

    rows: Sequence[Row]
    names: frozenset[str]

    def __call__(self, text: str) -> str:
        masked = mask(text, (value for row in self.rows for value in row.values()), self.names)
        return masked if len(masked) <= LONGEST_MESSAGE else masked[: LONGEST_MESSAGE - 1] + "…"


def call_error(no_result: NoResult, what: str, masked: Mask) -> CallError:
    """The error of a call that failed as a whole; ``what`` names the call."""
    entry = no_result.verdict.entry
    detail = masked(no_result.detail) if no_result.detail else ""
    # The transport's own text says that no answer came in time, and from where.
    in_time = entry is registry.CMT_TIMEOUT and detail.startswith("no answer ")
    said = detail if in_time else f"{entry.meaning} {detail}".rstrip()
    return CallError(
        entry.code,
        f"{what}: {said}",
        no_result.verdict.outcome_unknown,
        no_result.retry_after,
        no_result.request_id,
    )


def write_results(answer: Answer, operation: str, masked: Mask) -> list[RowResult]:
    """One result for each row of an Update or Delete, in the order of the rows (those of ``masked``).

    A row without a result in an otherwise good answer gets CMT-MALFORMED. A delete of a row that is gone succeeds.

    Raises:
        NoResult: a fault, not the expected message, or no results at all.
    """
    ordinals = range(len(masked.rows))
    if answer.status == 200 and (good := read_good_answer(answer.body, operation)) and sorted(good) == list(ordinals):
        return [_went_well(ordinal) for ordinal in ordinals]
    parsed = _parse(answer, lambda body: read_write_answer(body, operation))
    if not parsed.rows:
        said = f"No results; OverallStatus: {parsed.overall_status}"
        raise NoResult(of_no_results(parsed.overall_status), said, answer.retry_after)
    found: dict[int, RowAnswer] = {}
    for position, row in enumerate(parsed.rows):
        found.setdefault(position if row.ordinal is None else row.ordinal, row)
    results = [_result(ordinal, found.get(ordinal), operation, masked) for ordinal in ordinals]
    if all(result.code == registry.CMT_RATE_LIMITED.code for result in results):
        raise NoResult(AnswerVerdict(registry.CMT_RATE_LIMITED), parsed.rows[0].message, answer.retry_after)
    if all(result.ok for result in results):
        return results
    request_id = request_id_of(answer.body)
    return [result if result.ok else replace(result, request_id=request_id) for result in results]


def retrieve_page(answer: Answer, consumer_id: str, table: DataExtension) -> Page:
    """The rows of one page, columns spelled as in ``table``.

    Raises:
        NoResult: a fault, not the expected message, an error in OverallStatus, or a row without its key. Also a row of
            another consumer, or of this one under another spelling of its ID. Rows that are found get deleted, so the
            call fails if the filter was not honoured.
    """
    parsed = _retrieved(answer, read_retrieve_answer)
    rows = [row if row.keys() <= table.names else _spelled_as_in(table, row) for row in parsed.rows]
    other_spelling = False
    for row in rows:
        owner = row.get(CONSUMER_ID_COLUMN)
        if owner is None:
            raise NoResult(AnswerVerdict(registry.CMT_MALFORMED), f"A row has no {CONSUMER_ID_COLUMN}.")
        if not same_key_text(owner, consumer_id):
            raise NoResult(AnswerVerdict(registry.CMT_FOREIGN_ROWS), "")
        other_spelling = other_spelling or owner != consumer_id
        for column in table.primary_key:
            if column not in row:
                raise NoResult(AnswerVerdict(registry.CMT_MALFORMED), f"A row has no {column}.")
            if (character := stand_in_of(row[column] or "")) is not None:
                where = f"A row that is held has {character} in its key (column {column}), so it cannot be addressed"
                raise NoResult(AnswerVerdict(registry.CMT_NOT_XML_TEXT), f"{where}: delete it in Marketing Cloud.")
    if other_spelling:
        raise NoResult(AnswerVerdict(registry.CMT_CONSUMER_SPELLING), "")
    return Page(rows, parsed.request_id if parsed.overall_status == MORE else None)


def field_page(answer: Answer) -> tuple[list[Field], str | None]:
    """The columns on one page, and the RequestID that asks for the next one.

    Raises:
        NoResult: a fault, not the expected message, or an error in OverallStatus.
    """
    parsed = _retrieved(answer, read_objects_answer)
    return fields_of(parsed), parsed.request_id if parsed.overall_status == MORE else None


def _retrieved(answer: Answer, read: Callable[[bytes], RetrieveAnswer | Fault]) -> RetrieveAnswer:
    parsed = _parse(answer, read)
    status = parsed.overall_status
    if status not in ("OK", MORE):
        if not status:
            raise NoResult(AnswerVerdict(registry.CMT_MALFORMED), "OverallStatus is missing.")
        raise NoResult(of_retrieve(status), f"OverallStatus: {status}", answer.retry_after)
    if status == MORE and not parsed.request_id:
        raise NoResult(AnswerVerdict(registry.CMT_MALFORMED), "MoreDataAvailable without a RequestID.")
    return parsed


def refused_row(ordinal: int, entry: ErrorEntry, where: str) -> RowResult:
    """The result of a row that is not sent at all; ``where``: data extension, column and character."""
    return RowResult(False, ordinal, entry.code, f"{entry.meaning} {where}")


def _parse(answer: Answer, read: Callable[[bytes], _Parsed | Fault]) -> _Parsed:
    if answer.status == 429:
        raise NoResult(of_status(429, answer.body), "HTTP 429.", answer.retry_after)
    try:
        parsed = read(answer.body)
    except UnreadableAnswer as problem:
        verdict = of_status(answer.status, answer.body)
        detail = f"{problem}." if answer.status == 200 else f"HTTP {answer.status}."
        raise NoResult(verdict, detail, answer.retry_after) from None
    if isinstance(parsed, Fault):
        code = "" if parsed.api_code is None else f" (code {parsed.api_code})"
        raise NoResult(of_fault(parsed), f"Fault {parsed.code}{code}: {parsed.text}", answer.retry_after)
    if answer.status != 200:
        raise NoResult(of_status(answer.status), f"HTTP {answer.status}.", answer.retry_after)
    return parsed


@lru_cache(maxsize=64)
def _went_well(ordinal: int) -> RowResult:
    return RowResult(True, ordinal)


def _result(ordinal: int, row: RowAnswer | None, operation: str, masked: Mask) -> RowResult:
    if row is None or not row.status:
        entry = registry.CMT_MALFORMED
        return RowResult(False, ordinal, entry.code, f"{entry.meaning} The answer has no result for this row.")
    if row.status.casefold() == "ok":
        if unfinished(row.error_code):
            return RowResult(False, ordinal, registry.CMT_ROW_ABORTED.code, _row_message(row, (), masked))
        return _went_well(ordinal)
    texts = (row.message, row.error_message, *(error.message for error in row.column_errors))
    entry = of_row(row.error_code, texts, column_errors=bool(row.column_errors))
    if operation == "Delete" and entry is registry.CMT_ROW_NOT_FOUND:
        return _went_well(ordinal)
    columns = tuple(replace(error, message=masked(error.message)) for error in row.column_errors)
    return RowResult(False, ordinal, entry.code, _row_message(row, columns, masked), columns)


def _row_message(row: RowAnswer, columns: tuple[ColumnError, ...], masked: Mask) -> str:
    said = [text for text in dict.fromkeys((row.message, row.error_message)) if text]
    parts = [masked(" ".join(said)) or registry.CMT_ROW_ERROR.meaning]
    parts.extend(f"{masked(error.column)}: {error.message}" for error in columns if error.message not in parts[0])
    code = "" if row.error_code is None else f" (ErrorCode {row.error_code})"
    return "; ".join(parts)[:LONGEST_MESSAGE] + code


def _spelled_as_in(table: DataExtension, row: Mapping[str, str | None]) -> dict[str, str | None]:
    return {table.column(name) or name: value for name, value in row.items()}
