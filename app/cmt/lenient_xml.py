"""Makes XML readable that holds characters which XML cannot carry, and changes nothing else. Pure.

An import can put a control character into a value of a data extension. Marketing Cloud returns it as "&#x1F;", which no
XML parser accepts. Only such characters are replaced; any other error in a document stays. The 32 control characters
become the 32 noncharacters from U+FDD0 on. No real text holds these, so that a replaced character can be recognised.
"""

from __future__ import annotations

import re

_FIRST = 0xFDD0
_CONTROLS = 32
_STAND_INS = re.compile(f"[{chr(_FIRST)}-{chr(_FIRST + _CONTROLS - 1)}]")
_REFERENCE = re.compile(rb"&#(?:x([0-9A-Fa-f]{1,8})|([0-9]{1,10}));")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
# U+FFFE and U+FFFF, and the halves of surrogate pairs, written out in UTF-8.
_NO_CHARACTER = re.compile(rb"\xef\xbf[\xbe\xbf]|\xed[\xa0-\xbf][\x80-\xbf]")


def made_readable(body: bytes) -> bytes:
    """The document without characters that XML cannot carry; the same object if it has none.

    >>> stand_in_of(made_readable(b"<a>x&#x1F;y&#65;</a>").decode())
    'U+001F'
    """
    readable = _REFERENCE.sub(_allowed, body)
    readable = _CONTROL.sub(lambda found: _stand_in(found[0][0]), readable)
    readable = _NO_CHARACTER.sub(_stand_in(0), readable)
    return body if readable == body else readable


def stand_in_of(text: str) -> str | None:
    """The first control character that was replaced in a text; None: none was replaced."""
    found = _STAND_INS.search(text)
    return None if found is None else f"U+{ord(found[0]) - _FIRST:04X}"


def _allowed(found: re.Match[bytes]) -> bytes:
    number = int(found[1], 16) if found[1] is not None else int(found[2])
    return found[0] if _is_xml_character(number) else _stand_in(number)


def _stand_in(number: int) -> bytes:
    return chr(_FIRST + (number if number < _CONTROLS else 0)).encode()


def _is_xml_character(number: int) -> bool:
    """XML 1.0, production 2 (Char)."""
    if number < 0x20:
        return number in (0x9, 0xA, 0xD)
    return number <= 0xD7FF or 0xE000 <= number <= 0xFFFD or 0x10000 <= number <= 0x10FFFF
