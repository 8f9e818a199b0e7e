"""Masks personal data in messages: Marketing Cloud's messages quote the values of a row.

Masked are every value that was sent, also escaped or cut off, whatever stands in quotes, and anything that looks like
an e-mail address, a telephone number or a date. If in doubt, a word is masked. Names of columns and data extensions
stay readable.

The work is bounded: only the beginning of a text is read, and no pattern looks at the same characters twice.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import NamedTuple

from app.profile.entities import as_text

MASK = "***"

# A value as short as this is also part of ordinary words ("DE" in "DELETE"). It is masked only in quotes or brackets,
# or alone after "=" or ":".
SHORT = 2
# A text must contain this many of a value's first characters to count as that value, cut off. At the end of the text or
# before an ellipsis, fewer are enough.
CUT_OFF = 6
CUT_OFF_AT_END = 3
# A number that was cut off is looked for up to this length; a date with its time is not longer.
LONGEST_NUMBER = 32
# At most this many ellipses of a text are looked at; a message has fewer.
ELLIPSES_MOST = 20
# At most this much of a text is read. Marketing Cloud's own messages have some hundred characters.
LONGEST_TEXT = 4000
# Texts are escaped once or twice in transit.
_ESCAPED_TIMES = 3

_NO_ADDRESS = r"\s@'\"<>()\[\]{},;:="
# The lookbehind makes a match begin where a run of such characters begins, so each run is looked at once.
_EMAIL = re.compile(rf"(?<![^{_NO_ADDRESS}])[^{_NO_ADDRESS}]++@[^{_NO_ADDRESS}]++")
# Seven digits or more, with or without separators; not the digits inside a word such as a request ID.
_PHONE = re.compile(r"(?<!\w)\+?\(?\d(?:[\s()./-]{0,3}\d){6,}(?!\w)")
_DATE = re.compile(r"(?<![\w.])(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2}))(?![\w.]\d)")
# An opening quote follows a space or a bracket; a closing quote precedes a space or punctuation. An apostrophe does
# neither.
_OPENING = re.compile(r"(?:(?<=[\s(\[=:,;>])|^)['\"‘“]")
_CLOSING = {quote: re.compile(rf"{end}(?=$|[\s.,;:!?)\]<])") for quote, end in zip("'\"‘“", "'\"’”", strict=True)}
_SHORT_BEFORE, _SHORT_AFTER = frozenset("'\"‘“[(<`=:"), frozenset("'\"’”])>` \t\n.,;")
_ELLIPSIS = ("...", "…")


class _Span(NamedTuple):
    """Part of a text. Sorts by beginning, then the longer ones first, then kept ones before masked ones."""

    start: int
    minus_end: int
    masked: bool

    @property
    def end(self) -> int:
        return -self.minus_end


def mask(text: str, values: Iterable[object], keep: Collection[str] = ()) -> str:
    """``text`` without ``values`` and other personal data, unescaped, and at most ``LONGEST_TEXT`` long.

    Args:
        text: a message of another system.
        values: the values that it may quote. None and bools are not masked: they reveal nothing.
        keep: names of columns; they stay although they equal a value or stand in quotes.

    >>> mask("The value 'Ann' is not valid for the column [FirstName].", ["Ann"], keep=["FirstName"])
    "The value '***' is not valid for the column [FirstName]."
    >>> mask("ann.lee@example.com is not a valid email address", [])
    '*** is not a valid email address'
    >>> mask("M&#252;nchen-Sch... is too long", ["München-Schwabing"])
    '***... is too long'
    """
    text = _readable(text)
    folded = _folded(text)
    spans = [_Span(match.start(), -match.end(), masked=True) for match in _EMAIL.finditer(text)]
    for word in keep:
        if word:
            spans += (_Span(at, -at - len(word), masked=False) for at in _found(text, word) if _is_word(text, at, word))
    ends = _ends(folded)
    for form in _forms(values):
        spans += (_Span(at, -end, masked=True) for at, end in _occurrences(folded, form, ends))
    text = _replaced(text, spans)
    text = _DATE.sub(MASK, _PHONE.sub(MASK, text))
    return _without_quoted(text, keep)


def _readable(text: str) -> str:
    """The beginning of a text, with character references (``&#252;``, ``&amp;#252;``) resolved."""
    text = text[:LONGEST_TEXT]
    for _ in range(_ESCAPED_TIMES):
        if "&" not in text or (plain := html.unescape(text)) == text:
            break
        text = plain
    return text


def _folded(text: str) -> str:
    """The text in lower case, with each character at the same position as before."""
    if text.isascii():
        return text.lower()
    return "".join([low if len(low := character.lower()) == 1 else character for character in text])


def _forms(values: Iterable[object]) -> set[str]:
    """The forms in which values may stand in a text: as sent or trimmed, in lower case, at most as long as a text."""
    forms: set[str] = set()
    for value in values:
        if value is None or isinstance(value, bool):
            continue
        text = (as_text(value) if isinstance(value, Decimal) else None) or str(value)
        trimmed = text.strip()
        if trimmed:
            forms.update(_folded(_readable(form)) for form in (text, trimmed))
    return forms


def _occurrences(folded: str, form: str, ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where a value stands in a text, whole or cut off: (start, end)."""
    size = len(form)
    if size <= SHORT:
        for at in _found(folded, form):
            if _stands_alone(folded, at, at + size):
                yield at, at + size
        return
    numeric = form[0].isdigit() and form[-1].isdigit()
    for at in _found(folded, form, step=1 if numeric else size):
        if not (numeric and _within_number(folded, at, at + size)):  # 310 is not part of error 310007
            yield at, at + size
    if size > CUT_OFF and not numeric:  # a number's first digits are also those of other numbers
        for at in _found(folded, form[:CUT_OFF]):
            if not _is_inside_word(folded, at):
                yield at, at + _shared(folded, at, form)
    for end in ends:
        # The longest part of the value's beginning that stands at the end of the text or before an ellipsis.
        for length in range(min(LONGEST_NUMBER if numeric else CUT_OFF, size - 1, end), CUT_OFF_AT_END - 1, -1):
            if folded.startswith(form[:length], end - length) and not _is_inside_word(folded, end - length):
                yield end - length, end
                break


def _found(text: str, part: str, step: int | None = None) -> Iterator[int]:
    """Positions of a part in a text; the search goes on ``step`` characters further, by default behind the part."""
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + (step or len(part)))


def _shared(folded: str, at: int, form: str) -> int:
    """How many of a value's first characters stand at a position."""
    length, most = CUT_OFF, min(len(form), len(folded) - at)
    while length < most and folded[at + length] == form[length]:
        length += 1
    return length


def _ends(folded: str) -> list[int]:
    """Positions where a text may have been cut off: its end, and before each ellipsis."""
    ellipses = (at for ellipsis in _ELLIPSIS for at in _found(folded, ellipsis))
    return [len(folded.rstrip()), *islice(ellipses, ELLIPSES_MOST)]


def _stands_alone(folded: str, at: int, end: int) -> bool:
    before, after = folded[at - 1 : at], folded[end : end + 1]
    if before in _SHORT_BEFORE and (not after or after in _SHORT_AFTER):
        return True
    return folded[max(at - 2, 0) : at] in ("= ", ": ") and not _is_word_character(after)


def _within_number(folded: str, at: int, end: int) -> bool:
    return folded[at - 1 : at].isdigit() or folded[end : end + 1].isdigit()


def _is_word(text: str, at: int, word: str) -> bool:
    return not (_is_inside_word(text, at) or _is_word_character(text[at + len(word) : at + len(word) + 1]))


def _is_inside_word(text: str, at: int) -> bool:
    return at > 0 and _is_word_character(text[at - 1])


def _is_word_character(character: str) -> bool:
    return character.isalnum() or character == "_"


def _replaced(text: str, spans: list[_Span]) -> str:
    """The text with masked spans replaced. Where spans overlap, the longest wins.

    So a kept word inside a value does not protect the value ("Name" in "Anna Name Lee"), and a value inside a kept word
    does not mask part of that word ("Email" in "EmailAddress").
    """
    parts, done, mask_end = [], 0, -1
    for span in sorted(spans):
        if span.end <= done:
            continue
        if not span.masked:
            if span.start >= done:
                parts.append(text[done : span.end])
                done = span.end
            continue
        parts.append(text[done : max(span.start, done)])
        if mask_end != done or span.start > done:
            parts.append(MASK)
        done = mask_end = span.end
    return "".join([*parts, text[done:]])


def _without_quoted(text: str, keep: Collection[str]) -> str:
    """The text with everything in quotes masked; a quotation that is not closed ends with its line."""
    closings: dict[str, list[int]] = {}
    parts, done = [], 0
    for opening in _OPENING.finditer(text):
        at = opening.start()
        if at < done:
            continue
        quote = text[at]
        if quote not in closings:
            closings[quote] = [match.start() for match in _CLOSING[quote].finditer(text)]
        ends = closings[quote]
        after = bisect_left(ends, at + 1)
        line_end = text.find("\n", at)
        line_end = len(text) if line_end < 0 else line_end
        closed = after < len(ends) and ends[after] < line_end
        end = ends[after] if closed else line_end
        content = text[at + 1 : end]
        if content.strip() and content != MASK and content not in keep:
            content = MASK
        parts += [text[done : at + 1], content]
        done = end
        if closed:
            parts.append(text[end])
            done += 1
    return "".join([*parts, text[done:]])
