"""Bytes that another program may send: good ones that were changed, and the worst that one can think of."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

# What breaks readers, in JSON and in XML.
PIECES: list[bytes] = [
    b"",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"<",
    b"&",
    b"&#x1F;",
    b"&#0;",
    b"&amp;#252;",
    b"]]>",
    b"<![CDATA[",
    b"<!--",
    b"<?x?>",
    b"<x:y/>",
    b"<Results/>",
    b"<a>" * 300,
    b'xsi:nil="true"',
    b"9" * 400,
    b"9" * 5000,
    b"-1",
    b"1e400",
    b"1e-400",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"[",
    b"[" * 5000,
    b'{"a":' * 5000,
    b'"\\ud800"',
    b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80",
    b" ",
    b"\r\n",
]


def changed(*good: bytes) -> st.SearchStrategy[bytes]:
    """Good bytes with a few pieces cut out, doubled or put in; sometimes anything at all."""

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(good))
        for _ in range(draw(st.integers(1, 4))):
            start = draw(st.integers(0, len(data)))
            end = draw(st.integers(start, min(len(data), start + 60)))
            piece = draw(st.sampled_from(PIECES) | st.binary(max_size=4) | st.just(data[start:end] * 2))
            data = data[:start] + piece + data[end:]
        return data

    return change() | st.binary(max_size=60)


# Any JSON, including unusual numbers and texts that Python's own parser produces.
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**63, 10**18, -1, 0])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["\ud800", "\0", "x" * 5000, "1" * 400, "NaN", "http://[::1", "https://\ud800", "https://h:99999"]
    )
)
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def altered(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A good JSON object with some of its members replaced by anything, and some left out."""
    names = list(good)
    replaced = st.dictionaries(st.sampled_from(names), ANY_JSON, max_size=3)
    without = st.lists(st.sampled_from(names), max_size=2)
    return st.tuples(replaced, without).map(
        lambda pair: {name: value for name, value in {**good, **pair[0]}.items() if name not in pair[1]}
    )


def deeply_altered(good: Any) -> st.SearchStrategy[Any]:
    """A good JSON document with one to three of its values, however deep, replaced by anything."""

    @st.composite
    def alter(draw: st.DrawFn) -> Any:
        document = copy.deepcopy(good)
        for _ in range(draw(st.integers(1, 3))):
            places = list(_places(document))
            if not places:
                break
            where, name = draw(st.sampled_from(places))
            where[name] = draw(ANY_JSON | st.sampled_from(["x", ["x"], {"x": "y"}, 1.5, True, None, -1, [1], [[1]]]))
        return document

    return alter()


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    names = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for name in names:
        yield document, name
        yield from _places(document[name])


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")
