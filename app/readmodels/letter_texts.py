"""Dead letters in plain words, for the person on call: lines of at most 80 columns. Pure.

The texts hold what events say of themselves, so whoever prints them must escape control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

from app.delivery.dead_letter_record import HistoryLine, Holder
from app.delivery.errors import REGISTRY
from app.delivery.wording import ago, clock
from app.readmodels.letter_groups import LetterGroup
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letters import ListedLetter
from app.readmodels.tasks import LetterEdit

COLUMNS = 80
_LABEL = 11
_CLOSED = frozenset({ShownStatus.SETTLED, ShownStatus.DISCARDED})
NO_DEAD_LETTERS = "No dead letter is open."


def dead_letters(number: int) -> str:
    """How many.

    >>> dead_letters(1), dead_letters(1200)
    ('1 dead letter', '1,200 dead letters')
    """
    return f"{number:,} dead letter{'' if number == 1 else 's'}"


def stats_lines(groups: Sequence[LetterGroup], now_ms: int) -> Iterator[str]:
    """What ``dlq stats`` prints: for each kind how many, since when, what it means and what to do."""
    total = sum(group.open for group in groups)
    if not total:
        yield NO_DEAD_LETTERS
        return
    kinds = f"{len(groups)} kind{'' if len(groups) == 1 else 's'}"
    yield f"{dead_letters(total)} open, {kinds}; it is {clock(now_ms)} now"
    for group in groups:
        yield from _group_lines(group, now_ms)
    yield ""
    yield "look closer    profile-sync dlq list --fingerprint KIND"
    yield "try a redrive  profile-sync dlq redrive --fingerprint KIND --dry-run"
    yield "correct one    profile-sync dlq edit ID"


def _group_lines(group: LetterGroup, now_ms: int) -> Iterator[str]:
    kind = str(group.fingerprint)
    consumers = f"{group.consumers:,} consumer{'' if group.consumers == 1 else 's'}"
    yield ""
    yield kind
    yield f"  {group.open:,} open, {consumers}"
    yield from fact_lines("since", f"{clock(group.since_ms)}, {ago(group.since_ms, now_ms)} ago")
    yield from fact_lines("until", f"{clock(group.newest_ms)}, {ago(group.newest_ms, now_ms)} ago")
    yield from fact_lines("example", f"{group.example}")
    entry = REGISTRY.get(group.fingerprint.reason)
    if entry is None:
        yield from fact_lines("means", "this version does not know the code; another program or version wrote it")
    else:
        yield from fact_lines("means", entry.meaning)
        yield from fact_lines("do", entry.remedy)


def fact_lines(label: str, text: str) -> Iterator[str]:
    """A fact below a heading: its name, and its text on as many lines as it needs."""
    first, *more = wrap(text, COLUMNS - 2 - _LABEL, break_on_hyphens=False) or ["-"]
    yield f"  {label:<{_LABEL}}{first}"
    for line in more:
        yield f"  {'':<{_LABEL}}{line}"


def list_lines(letters: Sequence[ListedLetter]) -> Iterator[str]:
    """Below a heading: ID, time, market and status of each dead letter, then its kind and its consumer.

    Nothing is cut, because people copy it into the next command; what does not fit gets a line of its own.
    """
    with_status = any(one.status is not ShownStatus.OPEN for one in letters)
    rows = [["id", "failed", "market", *(["status"] if with_status else [])]]
    rows += [_row(one, with_status) for one in letters]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, one in zip(rows, (None, *letters), strict=True):
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        kind, consumer = ("kind", "consumer") if one is None else (str(one.letter.fingerprint), _consumer(one))
        both = f"  {kind}  {consumer}"
        yield from [both] if len(both) <= COLUMNS else own_lines(kind, consumer)


def _row(listed: ListedLetter, with_status: bool) -> list[str]:
    letter = listed.letter
    row = [str(listed.id), clock(letter.last_failed_ms), letter.settlement.market]
    return [*row, listed.status.value] if with_status else row


def _consumer(listed: ListedLetter) -> str:
    return listed.letter.settlement.consumer_id or "-"


def own_lines(*texts: str) -> Iterator[str]:
    """Each text on a line of its own, indented where that fits."""
    yield from (f"  {text}" if len(text) + 2 <= COLUMNS else text for text in texts)


def nothing_matches(number_open: int) -> str:
    """What a command says when a filter means no dead letter. ``number_open``: how many are open in all.

    >>> nothing_matches(1), nothing_matches(0)
    ('No dead letter matches. 1 is open in all: profile-sync dlq stats', 'No dead letter matches. None is open.')
    """
    if not number_open:
        return "No dead letter matches. None is open."
    verb = "is" if number_open == 1 else "are"
    return f"No dead letter matches. {number_open:,} {verb} open in all: profile-sync dlq stats"


def more_lines(what: str, cursor: str) -> Iterator[str]:
    """How to see the next page of a list."""
    yield f"{what} The next page, with the same options and:"
    yield f"  --cursor {cursor}"


def detail_lines(listed: ListedLetter, edit: LetterEdit | None) -> Iterator[str]:
    """What ``dlq show`` prints, without the value."""
    letter, settlement = listed.letter, listed.letter.settlement
    yield f"dead letter {listed.id}  {listed.status.value}"
    yield from fact_lines("event", f"{settlement.event_id}  {settlement.operation}  market {settlement.market}")
    yield from fact_lines("consumer", settlement.consumer_id or "not known: the event has no readable key")
    yield from fact_lines("what", str(letter.fingerprint))
    if letter.message:
        yield from fact_lines("message", letter.message)
    if letter.request_id:
        yield from fact_lines("request", f"{letter.request_id} (Marketing Cloud's support asks for it)")
    yield from fact_lines("failed", f"{clock(letter.first_failed_ms)} first, {clock(letter.last_failed_ms)} last")
    nowhere = "nowhere: it is not one of this group's events"
    outcome = _outcome(settlement.outcome.value, settlement.reason or "")
    yield from fact_lines("counts", nowhere if listed.id.foreign else outcome)
    yield from fact_lines("handled", f"{letter.redrives} time{'' if letter.redrives == 1 else 's'} by tasks")
    if letter.attempts:
        yield "  attempts of the last run"
        for attempt in letter.attempts:
            yield f"    {clock(attempt.at_ms)}  {attempt.code}"
    if letter.history:
        yield "  history"
        for line in letter.history:
            yield f"    {clock(line.at_ms)}  {_what_happened(line)}"
            if line.by or line.task:
                yield from _indented(f"by {line.by or '-'}, task {line.task or '-'}")
            if line.note:
                yield from _indented(f"note: {line.note}")
    if edit is not None:
        ran = letter.place is not None and letter.place.holder is Holder.DLQ and letter.place.offset >= edit.offset
        waits = "" if ran or listed.status in _CLOSED else "; a redrive runs the edited event"
        yield from fact_lines("edited", f"{clock(edit.note.at_ms)} by {edit.note.by}{waits}")
        if edit.note.note:
            yield from _indented(f"note: {edit.note.note}")
    entry = REGISTRY.get(letter.fingerprint.reason)
    if entry is not None:
        yield from fact_lines("means", entry.meaning)
        if listed.status not in _CLOSED:
            yield from fact_lines("do", entry.remedy)


def _what_happened(line: HistoryLine) -> str:
    outcome = line.outcome or "still open"
    return _outcome(outcome if line.action == outcome else f"{line.action}: {outcome}", line.reason)


def _outcome(outcome: str, reason: str) -> str:
    return f"{outcome}, {reason}" if reason else outcome


def _indented(text: str) -> Iterator[str]:
    yield from (f"      {line}" for line in wrap(text, COLUMNS - 6, break_on_hyphens=False))


def already_text(listed: ListedLetter) -> str:
    """Why a dead letter that is not open cannot be handled.

    A settled one says how it ended.
    """
    if listed.status is ShownStatus.DISCARDED:
        return f"{listed.id} is already discarded"
    if listed.status is ShownStatus.REDRIVING:
        return f"{listed.id} is already being handled"
    outcome = listed.letter.settlement.outcome.value
    if listed.id.foreign and listed.letter.history:  # it counts nowhere; its history says what was done
        outcome = listed.letter.history[-1].outcome
    return f"{listed.id} is already settled: {outcome}"


def ids_text(letters: Iterable[ListedLetter]) -> str:
    """IDs, with commas."""
    return ", ".join(str(one.id) for one in letters)
