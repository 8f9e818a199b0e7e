"""Dead letters in plain words, for the person on call: lines of at most 80 columns. Pure.

The texts hold what events say of themselves, so whoever prints them must escape control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

from app.delivery.dead_letter_record import Holder
from app.delivery.errors import REGISTRY
from app.delivery.wording import ago, clock
from app.readmodels.letter_groups import LetterGroup
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letters import ListedLetter
from app.readmodels.tasks import KnownTask, LetterEdit, TaskProgress, TaskState

COLUMNS = 80
_LABEL = 9
# The widest that a column of a list gets.
_WIDEST = {"market": 6}
# The last column gets this much before the kind is cut; a kind keeps at least as much as the second.
_ROOM_FOR_LAST, _SHORTEST_KIND = 20, 8
_CLOSED = frozenset({ShownStatus.SETTLED, ShownStatus.DISCARDED})
NO_DEAD_LETTERS = "No dead letter is open."


def cut(text: str, width: int) -> str:
    """A text that fits into a column.

    >>> cut("consumer", 8), cut("consumers", 8)
    ('consumer', 'consume…')
    """
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


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
    yield from _fact("since", f"{clock(group.oldest_ms)}, {ago(group.oldest_ms, now_ms)} ago")
    yield from _fact("until", f"{clock(group.newest_ms)}, {ago(group.newest_ms, now_ms)} ago")
    yield from _fact("example", f"{group.example}")
    entry = REGISTRY.get(group.fingerprint.reason)
    if entry is None:
        yield from _fact("means", "this version does not know the code; another program or version wrote it")
    else:
        yield from _fact("means", entry.meaning)
        yield from _fact("do", entry.remedy)


def _fact(label: str, text: str) -> Iterator[str]:
    first, *more = wrap(text, COLUMNS - 2 - _LABEL, break_on_hyphens=False) or ["-"]
    yield f"  {label:<{_LABEL}}{first}"
    for line in more:
        yield f"  {'':<{_LABEL}}{line}"


def list_lines(letters: Sequence[ListedLetter]) -> Iterator[str]:
    """One line for each dead letter, below a heading."""
    statuses = {one.status for one in letters}
    names = ["id", "failed", "what", "market", *(["status"] if statuses - {ShownStatus.OPEN} else []), "consumer"]
    rows = [[_cell(one, name) for name in names] for one in letters]
    yield from _table(names, rows)


def _cell(listed: ListedLetter, name: str) -> str:
    letter = listed.letter
    match name:
        case "id":
            return str(listed.id)
        case "failed":
            return clock(letter.last_failed_ms)[5:-1]
        case "what":
            return str(letter.fingerprint)
        case "market":
            return letter.settlement.market
        case "status":
            return listed.status.value
        case _:
            return letter.settlement.consumer_id or "-"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [
        min(max(len(cell) for cell in column), _WIDEST.get(name, COLUMNS))
        for name, column in zip(names, zip(names, *rows, strict=True), strict=True)
    ]
    # The kind makes room for the last column; an ID is never cut, because it is copied.
    lacking = sum(width + 2 for width in widths[:-1]) + min(widths[-1], _ROOM_FOR_LAST) - COLUMNS
    what = names.index("what")
    widths[what] = min(widths[what], max(_SHORTEST_KIND, widths[what] - lacking))
    widths[-1] = min(widths[-1], COLUMNS - sum(width + 2 for width in widths[:-1]))
    for row in (names, *rows):
        cells = [f"{cut(cell, width):<{width}}" for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def detail_lines(listed: ListedLetter, edit: LetterEdit | None) -> Iterator[str]:
    """What ``dlq show`` prints, without the value."""
    letter, settlement = listed.letter, listed.letter.settlement
    yield f"dead letter {listed.id}  {listed.status.value}"
    yield from _fact("event", f"{settlement.event_id}  {settlement.operation}  market {settlement.market}")
    yield from _fact("consumer", settlement.consumer_id or "not known: the event has no readable key")
    yield from _fact("what", str(letter.fingerprint))
    if letter.message:
        yield from _fact("message", letter.message)
    if letter.request_id:
        yield from _fact("request", f"{letter.request_id} (Marketing Cloud's support asks for it)")
    yield from _fact("failed", f"{clock(letter.first_failed_ms)} first, {clock(letter.last_failed_ms)} last")
    yield from _fact("counts", _outcome(settlement.outcome.value, settlement.reason or ""))
    yield from _fact("handled", f"{letter.redrives} time{'' if letter.redrives == 1 else 's'}")
    if letter.attempts:
        yield "  attempts of the last run"
        for attempt in letter.attempts:
            yield f"    {clock(attempt.at_ms)}  {attempt.code}"
    if letter.history:
        yield "  history"
        for line in letter.history:
            yield f"    {clock(line.at_ms)}  {line.action}: {_outcome(line.outcome or 'still open', line.reason)}"
            if line.by or line.task:
                yield from _indented(f"by {line.by or '-'}, task {line.task or '-'}")
            if line.note:
                yield from _indented(f"note: {line.note}")
    if edit is not None:
        ran = letter.place is not None and letter.place.holder is Holder.DLQ and letter.place.offset >= edit.offset
        waits = "" if ran or listed.status in _CLOSED else "; a redrive runs the edited event"
        yield from _fact("edited", f"{clock(edit.note.at_ms)} by {edit.note.by}{waits}")
        if edit.note.note:
            yield from _indented(f"note: {edit.note.note}")
    entry = REGISTRY.get(letter.fingerprint.reason)
    if entry is not None:
        yield from _fact("means", entry.meaning)
        yield from _fact("do", entry.remedy)


def _outcome(outcome: str, reason: str) -> str:
    return f"{outcome}, {reason}" if reason else outcome


def _indented(text: str) -> Iterator[str]:
    yield from (f"      {line}" for line in wrap(text, COLUMNS - 6, break_on_hyphens=False))


def task_lines(known: KnownTask, state: TaskState, progress: TaskProgress, now_ms: int) -> Iterator[str]:
    """A task and how far it has come."""
    task = known.task
    yield f"{task.id}  {state.value}"
    yield f"  {progress.done:,} of {progress.matched:,} handled, {progress.open:,} still open{_outcomes(progress)}"
    yield from _fact("made", f"{clock(task.created_ms)}, {ago(task.created_ms, now_ms)} ago, by {task.by}")
    if task.rate is not None:
        yield from _fact("rate", f"at most {task.rate:g} a second")
    if task.force:
        yield from _fact("force", "also what a later state has superseded")
    if task.note:
        yield from _fact("note", task.note)
    for what, note in (("paused", known.pause if known.paused else None), ("cancelled", known.cancel)):
        if note is not None:
            yield from _fact(what, f"{clock(note.at_ms)} by {note.by}" + (f": {note.note}" if note.note else ""))


def _outcomes(progress: TaskProgress) -> str:
    named = ", ".join(f"{number:,} {name}" for name, number in sorted(progress.outcomes.items()))
    return f" ({named})" if named else ""


def still_open_text(task: str, progress: TaskProgress) -> str:
    """What a command says when its task has ended and some of its dead letters are still open."""
    return f"{dead_letters(progress.open)} of task {task} still open. To see why: profile-sync dlq stats"


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
