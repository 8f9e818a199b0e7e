"""Types of columns: which values a column accepts, how they are compared, and how a Retrieve returns them. Pure.

The returned forms are those seen on live tenants: `True` and `False`, `1/15/2024 12:00:00 AM` in the server's time, and
decimals with all digits of their scale; everything is text on the wire. The vendor's page on
imports says which texts a Date or a Boolean accepts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from typing import Any

from app.simulator.row_errors import VALUE_GENERAL, VALUE_TOO_LONG

# A held value: text as it was sent, a date in the server's time without zone, a number as a number.
Value = str | int | Decimal | datetime | bool

# The length that a DataExtensionField without a type reports; it is not enforced.
_UNTYPED_LENGTH = 4000
_PHONE_LENGTH = 50
_LOCALE_LENGTH = 5
_EMAIL_LENGTH = 254
_MOST_DIGITS = 38  # SQL Server's decimal
_EXACT = Context(prec=200)
_INTEGERS = range(-(2**31), 2**31)
_FIRST_YEAR = 1753  # SQL Server's datetime
_WORDS = {
    **dict.fromkeys(("true", "1", "yes", "y", "t"), True),
    **dict.fromkeys(("false", "0", "no", "n", "f"), False),
}
_SPEC = re.compile(r"(?P<name>[A-Za-z]+)(?:\((?P<length>[0-9]{1,5})(?:,\s*(?P<scale>[0-9]{1,2}))?\))?")
_ISO = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.(?P<fraction>[0-9]{1,9}))?"
    r"\s*(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_US = re.compile(
    r"(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{4})"
    r"(?:\s+(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?(?:\s*(?P<half>[AP]M))?)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,10}")
_DECIMAL = re.compile(r"[+-]?(?=\.?[0-9])[0-9]{0,60}(?:\.[0-9]{0,60})?")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_PHONE = re.compile(r"[0-9+()./ xX-]+")
_LOCALE = re.compile(r"[A-Za-z]{2}(?:[-_][A-Za-z]{2})?")


class TypeSpecError(ValueError):
    """Not a valid type, such as `Text(0)`."""


class ValueRefused(ValueError):
    """A column refuses a value. `code` is the code of the column's error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class HeldColumnType:
    """The type of a column. `field_type`, `max_length` and `scale` are what a DataExtensionField says.

    `parse` turns a text into a value (None for an empty text, except in text columns), or raises ValueRefused. `show`
    gives the text that a Retrieve returns. A `required` column refuses null; a new row without a value gets `default`.
    """

    field_type: str
    parse: Callable[[str], Value | None]
    show: Callable[[Any], str] | None = None
    max_length: int | None = None
    scale: int = 0
    required: bool = False
    default: str | None = None

    def shown(self, value: Value | None) -> str | None:
        return None if value is None else str(value) if self.show is None else self.show(value)


UNTYPED = HeldColumnType("Text", lambda text: text, max_length=_UNTYPED_LENGTH)


def fold(value: Value | None) -> Hashable:
    """One form for all values that SQL Server treats as equal: text without case and trailing blanks.

    >>> fold("Ann ") == fold("ANN"), fold(" Ann") == fold("Ann"), fold(1) == fold("1")
    (True, False, False)
    """
    return value.rstrip(" ").lower() if isinstance(value, str) else value


def column_type(spec: str | Mapping[str, Any], zone: timezone) -> HeldColumnType:
    """A type from `"Text(200)"`, or from `{"type": "Text(200)", "required": true, "default": "none"}`.

    `zone` is the server's time zone: for dates without a zone, and for returned dates. Raises TypeSpecError.
    """
    if isinstance(spec, str):
        return _of_name(spec, zone)
    if not isinstance(spec, Mapping) or not isinstance(spec.get("type"), str):
        raise TypeSpecError('a type is a text such as "Text(200)", or an object with "type"')
    if unknown := sorted(set(spec) - {"type", "required", "default"}):
        raise TypeSpecError(f"unknown {', '.join(unknown)}; a type has type, required and default")
    required, default = spec.get("required", False), spec.get("default")
    if not isinstance(required, bool) or not isinstance(default, str | None):
        raise TypeSpecError("required is true or false, and default a text")
    made = _of_name(spec["type"], zone)
    if default is not None:
        try:
            made.parse(default)
        except ValueRefused as error:
            raise TypeSpecError(f"the default {default!r} does not fit the type: {error}") from None
    return replace(made, required=required, default=default)


def _of_name(text: str, zone: timezone) -> HeldColumnType:
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise TypeSpecError(f"{text!r} is no type")
    name = match["name"]
    length = int(match["length"]) if match["length"] is not None else None
    scale = int(match["scale"]) if match["scale"] is not None else None
    if name == "Decimal":
        digits, after = length or 18, scale or 0
        if not 0 < digits <= _MOST_DIGITS or after > digits:
            raise TypeSpecError(f"{text!r}: a Decimal has 1 to {_MOST_DIGITS} digits")
        return HeldColumnType(name, _decimal(digits, after), lambda value: format(value, "f"), digits, after)
    if (
        scale is not None
        or length == 0
        or (length is not None and name in ("Number", "Boolean", "Date", "Phone", "Locale"))
    ):
        raise TypeSpecError(f"{text!r} is no type")
    match name:
        case "Text":
            return HeldColumnType(name, _text(length or _UNTYPED_LENGTH), None, length or _UNTYPED_LENGTH)
        case "EmailAddress":
            length = length or _EMAIL_LENGTH
            return HeldColumnType(name, _formatted(_EMAIL, "is not a valid email address.", length), None, length)
        case "Phone":
            return HeldColumnType(
                name, _formatted(_PHONE, "is not a valid phone number.", _PHONE_LENGTH), None, _PHONE_LENGTH
            )
        case "Locale":
            return HeldColumnType(
                name, _formatted(_LOCALE, "is not a valid locale.", _LOCALE_LENGTH), None, _LOCALE_LENGTH
            )
        case "Number":
            return HeldColumnType(name, _number, str)
        case "Boolean":
            return HeldColumnType(name, _boolean, str)
        case "Date":
            return HeldColumnType(name, lambda value: _date(value, zone), _us_date)
    raise TypeSpecError(
        f"{text!r} is no type; there are Text(n), Number, Decimal(p,s), Date, Boolean, EmailAddress, Phone and Locale"
    )


def _text(length: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if len(text) > length:
            raise ValueRefused(VALUE_TOO_LONG, f"exceeds the column's maximum length of {length}.")
        return text

    return parse


def _formatted(form: re.Pattern[str], refusal: str, length: int) -> Callable[[str], str | None]:
    fits = _text(length)

    def parse(text: str) -> str | None:
        if not text.strip():
            return None
        if not form.fullmatch(fits(text).strip()):
            raise ValueRefused(VALUE_GENERAL, refusal)
        return text

    return parse


def _number(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or (number := int(text)) not in _INTEGERS:
        raise ValueRefused(VALUE_GENERAL, "is not a valid number.")
    return number


def _decimal(digits: int, scale: int) -> Callable[[str], Decimal | None]:
    unit = Decimal(1).scaleb(-scale)
    limit = Decimal(10) ** (digits - scale)

    def parse(text: str) -> Decimal | None:
        text = text.strip()
        if not text:
            return None
        rounded = Decimal(text).quantize(unit, ROUND_HALF_UP, _EXACT) if _DECIMAL.fullmatch(text) else limit
        if abs(rounded) >= limit:
            raise ValueRefused(VALUE_GENERAL, f"is not a valid decimal({digits},{scale}).")
        return rounded or abs(rounded)  # there is no -0

    return parse


def _boolean(text: str) -> bool | None:
    text = text.strip().lower()
    if not text:
        return None
    if text not in _WORDS:
        raise ValueRefused(VALUE_GENERAL, "is not a valid boolean.")
    return _WORDS[text]


@lru_cache(maxsize=4096)
def _date(text: str, zone: timezone) -> datetime | None:
    text = text.strip()
    if not text:
        return None
    try:
        moment = _moment(text, zone)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.year < _FIRST_YEAR:
        raise ValueRefused(VALUE_GENERAL, "is not a valid date.")
    return moment


def _moment(text: str, zone: timezone) -> datetime | None:
    """A date in the server's time, rounded to milliseconds; None if its form is not known."""
    if found := _ISO.fullmatch(text):
        time = found["time"] or "00:00"
        moment = datetime.fromisoformat(f"{found['date']}T{time}")
        fraction = (found["fraction"] or "0")[:3].ljust(3, "0")
        moment += timedelta(milliseconds=int(fraction))
        if found["zone"]:
            offset = "+00:00" if found["zone"] == "Z" else found["zone"]
            moment = moment.replace(tzinfo=datetime.fromisoformat(f"2000-01-01T00:00{offset}").tzinfo)
            moment = moment.astimezone(zone).replace(tzinfo=None)
        return moment
    if found := _US.fullmatch(text):
        hour = int(found["hour"] or 0)
        if found["half"]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if found["half"].upper() == "PM" else 0)
        day = (int(found["year"]), int(found["month"]), int(found["day"]))
        return datetime(*day, hour, int(found["minute"] or 0), int(found["second"] or 0))
    return None


@lru_cache(maxsize=4096)
def _us_date(moment: datetime) -> str:
    """A date with the precision of a second, as documented: a fraction is kept but not shown.

    >>> _us_date(datetime(2026, 1, 15, 0, 5, 9, 120000))
    '1/15/2026 12:05:09 AM'
    """
    half = "AM" if moment.hour < 12 else "PM"
    return f"{moment.month}/{moment.day}/{moment.year} {moment.hour % 12 or 12}:{moment:%M:%S} {half}"
