"""What an operator asks for, from the command line or over HTTP: an action, and the dead letters that are meant, by
exactly one of single IDs, a filter and all. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from app.delivery.alert import without_group
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import (
    LEAST_PER_SECOND,
    MOST_IDS,
    MOST_PER_SECOND,
    NAME_LENGTH,
    NOTE_BYTES,
    Action,
    LetterFilter,
    Selection,
)

EVERY = LetterFilter()


class SelectionError(ValueError):
    """The request is not allowed; the text says what is. Subclasses: what was named is not there, or not open."""


class NotOneWay(SelectionError):
    """Dead letters were chosen in no way, or in several."""


class NotFound(SelectionError):
    """There is no such dead letter or task."""


class NotPossible(SelectionError):
    """It is there, but not in a state in which this can be done."""


class TaskChange(StrEnum):
    """What a person may do to a task. What has begun is finished in any case."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """What an operator wants done. ``ids``: texts that name dead letters. ``everything``: all open ones are meant."""

    action: Action
    ids: tuple[str, ...] = ()
    chosen: LetterFilter = EVERY
    everything: bool = False
    note: str = ""
    rate: float | None = None
    force: bool = False

    def check(self, *, dry_run: bool = False) -> None:
        """Check it, before anything is looked up.

        Args:
            dry_run: nothing will be written, so that no note is needed.

        Raises:
            SelectionError: it is not allowed.
        """
        check_kinds(self.ids, self.chosen, everything=self.everything)
        check_task(
            self.action,
            by_id=bool(self.ids),
            note=self.note or ("-" if dry_run else ""),
            force=self.force,
            rate=self.rate,
        )


def check_kinds(ids: Sequence[str], chosen: LetterFilter, *, everything: bool) -> None:
    """Check that exactly one kind of selection was given, so that no option is left out without a word.

    Raises:
        NotOneWay: none or several kinds.
        SelectionError: too many IDs.

    >>> check_kinds(["5-26"], LetterFilter(), everything=False)
    >>> check_kinds([], LetterFilter(), everything=False)
    Traceback (most recent call last):
        ...
    app.delivery.letter_selection.NotOneWay: choose dead letters by ID, by a filter, or all of them
    """
    kinds = [bool(ids), not chosen.is_empty, everything]
    if not any(kinds):
        raise NotOneWay("choose dead letters by ID, by a filter, or all of them")
    if kinds.count(True) > 1:
        raise NotOneWay("choose in only one way: by ID, by a filter, or all")
    texts = (chosen.fingerprint, chosen.reason, chosen.market, chosen.operation, chosen.entity, chosen.consumer)
    if max(map(len, texts)) > NAME_LENGTH:
        raise SelectionError(f"a text of a filter has at most {NAME_LENGTH} characters")
    if len(ids) > MOST_IDS:
        raise SelectionError(f"at most {MOST_IDS:,} IDs; select more dead letters with a filter")


def check_task(action: Action, *, by_id: bool, note: str, force: bool, rate: float | None = None) -> None:
    """Check what a task needs besides its selection.

    Raises:
        SelectionError: ``force`` without IDs, a discard without a note, a note that is too long, or an impossible rate.
    """
    if force and not by_id:
        raise SelectionError("force takes single IDs only, because it may overwrite a newer state")
    if force and action is not Action.REDRIVE:
        raise SelectionError("force is for redrive only")
    if rate is not None and action is not Action.REDRIVE:
        raise SelectionError("a rate is for redrive only")
    if rate is not None and not LEAST_PER_SECOND <= rate <= MOST_PER_SECOND:
        raise SelectionError(f"the rate is from {LEAST_PER_SECOND:g} to {MOST_PER_SECOND:,.0f} a second")
    if action is Action.DISCARD and not note.strip():
        raise SelectionError("a discard needs a note that says why")
    check_note(note)


def check_note(note: str) -> None:
    """Check the length of a note, so that none is cut without a word.

    Raises:
        SelectionError: it is too long, or it is not text.
    """
    try:
        size = len(note.strip().encode())
    except UnicodeEncodeError:
        raise SelectionError("the note is not valid UTF-8") from None
    if size > NOTE_BYTES:
        raise SelectionError(f"the note has {size:,} bytes; at most {NOTE_BYTES} are kept")


def named(ids: Sequence[LetterId]) -> Selection:
    """Single dead letters, each once."""
    return Selection(tuple(dict.fromkeys(ids)))


def as_filter(chosen: LetterFilter) -> LetterFilter:
    """The filter with a fingerprint that may also be an incident's correlation ID.

    >>> as_filter(LetterFilter(fingerprint="profile-sync:CMT-TIMEOUT:pet:UPDATE")).fingerprint
    'CMT-TIMEOUT:pet:UPDATE'
    """
    return replace(chosen, fingerprint=without_group(chosen.fingerprint))
