"""Which dead letters an operator means: exactly one of single IDs, a filter and all. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.delivery.alert import without_group
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import MOST_IDS, Action, LetterFilter, Selection


class SelectionError(ValueError):
    """The selection is not allowed; the text says what is."""


def check_kinds(ids: Sequence[str], chosen: LetterFilter, *, everything: bool) -> None:
    """Check that exactly one kind of selection was given, so that no option is left out without a word.

    Raises:
        SelectionError: none or several kinds, or too many IDs.

    >>> check_kinds(["5-26"], LetterFilter(), everything=False)
    >>> check_kinds([], LetterFilter(), everything=False)
    Traceback (most recent call last):
        ...
    app.delivery.letter_selection.SelectionError: name dead letters by ID, give a filter, or give --all
    """
    kinds = [bool(ids), not chosen.is_empty, everything]
    if not any(kinds):
        raise SelectionError("name dead letters by ID, give a filter, or give --all")
    if kinds.count(True) > 1:
        raise SelectionError("give only one of: IDs, a filter, --all")
    if len(ids) > MOST_IDS:
        raise SelectionError(f"at most {MOST_IDS:,} IDs; select more dead letters with a filter")


def check_task(action: Action, selection: Selection, *, note: str, force: bool) -> None:
    """Check what a task needs besides its selection.

    Raises:
        SelectionError: ``force`` without IDs, or a discard without a note.
    """
    if force and not selection.ids:
        raise SelectionError("--force takes single IDs only, because it may overwrite a newer state")
    if force and action is not Action.REDRIVE:
        raise SelectionError("--force is for redrive only")
    if action is Action.DISCARD and not note.strip():
        raise SelectionError("discard needs a note that says why: --note TEXT")


def named(ids: Sequence[LetterId]) -> Selection:
    """Single dead letters, each once."""
    return Selection(tuple(dict.fromkeys(ids)))


def as_filter(chosen: LetterFilter) -> LetterFilter:
    """The filter with a fingerprint that may also be an incident's correlation ID.

    >>> as_filter(LetterFilter(fingerprint="profile-sync:CMT-TIMEOUT:pet:UPDATE")).fingerprint
    'CMT-TIMEOUT:pet:UPDATE'
    """
    return replace(chosen, fingerprint=without_group(chosen.fingerprint))
