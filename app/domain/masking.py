"""Takes personal data out of a text that quotes it, as the messages of Marketing Cloud quote the values of a row.

What is masked: every value that was sent, whatever a text puts in quotes, and what looks like an e-mail address, a
telephone number or a date. When in doubt a word too many is masked; names of columns and data extensions stay readable.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal

from app.domain.entities import as_text

MASK = "***"

# A value as short as this is also part of ordinary words ("DE" in "DELETE"): masked only where it stands in quotes or
# brackets, or alone after "=" or ":".
SHORT = 2

_EMAIL = r"[^\s@'\"<>()\[\]{},;:=]+@[^\s@'\"<>()\[\]{},;:=]+"
# Seven digits or more, with or without separators; not the digits inside a word such as a request ID.
_PHONE = re.compile(r"(?<!\w)\+?\(?\d(?:[\s()./-]{0,3}\d){6,}(?!\w)")
_DATE = re.compile(r"(?<![\w.])(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2}))(?![\w.]\d)")
# An opening quote follows a space or a bracket, a closing one precedes a space or punctuation: apostrophes are neither.
_QUOTED = re.compile(
    r"(?:(?<=[\s(\[=:,;>])|^)(?:'(?P<single>[^\n]*?)'|\"(?P<double>[^\n]*?)\"|‘(?P<curved>[^\n]*?)’|“(?P<curly>[^\n]*?)”)"
    r"(?=$|[\s.,;:!?)\]<])"
)


def mask(text: str, values: Iterable[object], keep: Collection[str] = ()) -> str:
    """``text`` without any of ``values``.

    Args:
        text: a message of another system.
        values: the values it may quote. None and bools are not masked: they tell nothing.
        keep: words that stay although they equal a value or stand in quotes: names of columns.

    >>> mask("The value 'Ann' is not valid for the column [FirstName].", ["Ann"], keep=["FirstName"])
    "The value '***' is not valid for the column [FirstName]."
    >>> mask("ann.lee@example.com is not a valid email address", [])
    '*** is not a valid email address'
    """
    text = _pattern(values, keep).sub(lambda match: match.group() if match.group() in keep else MASK, text)
    text = _DATE.sub(MASK, _PHONE.sub(MASK, text))
    return _QUOTED.sub(lambda match: _quoted(match, keep), text)


def _quoted(match: re.Match[str], keep: Collection[str]) -> str:
    content = next(group for group in match.groups() if group is not None)
    quoted = match.group()
    return quoted if not content or content in keep or content == MASK else f"{quoted[0]}{MASK}{quoted[-1]}"


def _pattern(values: Iterable[object], keep: Collection[str]) -> re.Pattern[str]:
    """One pattern for one pass over the text: addresses that were sent, e-mail addresses, then values and kept words.

    At each position the longest wins, so that a kept word within a value does not save the value ("Name" in "Anna Name
    Lee") and a value within a kept word does not spoil that ("Email" in "EmailAddress").
    """
    forms = {form for value in values for form in _forms(value)}
    addresses = [re.escape(form) for form in sorted(forms, key=len, reverse=True) if "@" in form]
    others = [(word, rf"(?<!\w)(?-i:{re.escape(word)})(?!\w)") for word in keep if word]
    others += [(form, _value(form)) for form in forms if "@" not in form]
    others.sort(key=lambda item: len(item[0]), reverse=True)
    return re.compile("|".join([*addresses, _EMAIL, *(part for _, part in others)]), re.IGNORECASE)


def _value(form: str) -> str:
    escaped = re.escape(form)
    if len(form) <= SHORT:
        return rf"(?<=['\"‘“\[(<`=:]){escaped}(?=['\"’”\])>`\s.,;]|$)|(?<=[=:] ){escaped}(?!\w)"
    if form[0].isdigit() and form[-1].isdigit():
        return rf"(?<!\d){escaped}(?!\d)"  # 310 is not part of error 310007
    return escaped


def _forms(value: object) -> Iterator[str]:
    """How a value may stand in a text: as sent, trimmed, and escaped once more."""
    if value is None or isinstance(value, bool):
        return
    text = (as_text(value) if isinstance(value, Decimal) else None) or str(value)
    for form in (text, text.strip()):
        if form.strip():
            yield form
            yield html.escape(form)
            yield html.escape(form, quote=False)
