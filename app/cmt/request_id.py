"""Finds the request ID of an answer: Marketing Cloud's support asks for it. Only failures need it. Pure."""

from __future__ import annotations

import re

LONGEST = 200
# Printable ASCII without blanks and markup. What is longer or holds anything else is no ID.
_REQUEST_ID = re.compile(rb"<(?:[\w.-]+:)?RequestID(?:\s[^<>]*)?>\s*([!-%'-;=?-~]+)\s*</")
_RESULTS = re.compile(rb"<(?:[\w.-]+:)?Results[\s>]")
_RESULTS_END = b"Results>"


def request_id_of(body: bytes) -> str:
    """The ``RequestID`` of an answer; empty if it has none. Results may have IDs of their own, which do not count.

    >>> request_id_of(b"<R><Results><RequestID>1</RequestID></Results><RequestID>2</RequestID></R>")
    '2'
    """
    # A write has it behind its results, a Retrieve before them.
    found = _REQUEST_ID.search(body, body.rfind(_RESULTS_END) + 1)
    if found is None and (results := _RESULTS.search(body)) is not None:
        found = _REQUEST_ID.search(body, 0, results.start())
    return "" if found is None or len(found[1]) > LONGEST else found[1].decode("ascii")
