"""Which texts XML can carry. Pure."""

from __future__ import annotations

import re

# Characters outside XML 1.0, production 2 (Char): they cannot stand in a document, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def is_xml_text(text: str) -> bool:
    """Whether XML can carry a text."""
    return _NOT_XML.search(text) is None


def character_named(text: str) -> str:
    """Names the first character of a text that XML cannot carry.

    >>> character_named("a\x1fb")
    'U+001F'
    """
    found = _NOT_XML.search(text)
    return "" if found is None else f"U+{ord(found[0]):04X}"
