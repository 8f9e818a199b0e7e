"""The list of a consumer's rows that should be held, as keys and digests: one text in the consumer record. Pure.

There may be millions of records, so the text is compact and is parsed only if needed::

    +AbCdEfGh;-JJJIAA,0123abcd;pJJJA,89abcdefP-1,cdef0123P-2
    |  |   |   |  |      |      an entity's rows: digest and key, "/" between the parts of a key
    |  |   |   |  |      digest, 8 characters; the parent row has no key
    |  |   |   |  kinds of the values, two columns per character, in the data extension's order; 0: not named
    |  |   |   entity type, see ``LETTERS``; without kinds the rows have keys only
    |  |   columns: digest of columns, types and zone; if it differs, the row digests cannot be used
    |  place: digest of account, data extensions and primary keys; if it differs, the list cannot be used
    "+": no other entity row should be held; "~": other rows are not known

How a consumer's events change the list:

| settled                  | the list                                                                           |
|--------------------------|------------------------------------------------------------------------------------|
| UPDATE                   | its rows, complete                                                                 |
| NEW                      | the known rows with its own, marked as before; "~" if nothing was known            |
| DELETE of the profile    | no rows, complete                                                                  |
| DELETE of rows           | the known rows without these                                                       |
| any that failed          | none: the event may have written some of its rows                                  |
| at another place         | as if nothing was known before                                                     |
| more rows than are kept  | the first of them, "~"                                                             |

The rows of a ``partial`` event are listed as the event states them, so refused rows are drift. An empty text means: no
list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

from app.delivery.counts import RowKey, Settlement
from app.profile.entities import EntityType
from app.profile.event import Operation
from app.profile.keys import folded, folded_key

COMPLETE, PART = "+", "~"
PLACE_LENGTH = COLUMNS_LENGTH = 4
DIGEST_LENGTH = 8
# The consumer record, which also remembers deleted rows, must fit into its topic.
ROWS_KEPT = 200
KEY_CHARACTERS = 20_000

LETTERS: Mapping[EntityType, str] = {
    EntityType.CONSUMER: "-",
    EntityType.CONTACT: "c",
    EntityType.CHILD: "k",
    EntityType.PET: "p",
    EntityType.DIGITAL_ASSET: "a",
    EntityType.INTEREST: "i",
    EntityType.OPT_IN: "o",
}
_ENTITIES = {letter: entity for entity, letter in LETTERS.items()}
_ESCAPED = str.maketrans({"~": "~0", ";": "~1", ",": "~2", "/": "~3"})
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")
_HEAD = 1 + PLACE_LENGTH + COLUMNS_LENGTH

# (entity letter, key) as in the text -> (kinds, digest); both are empty if only the key is known.
Rows = dict[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A row that should be held. ``key``: as in ``DeletedRow``. ``kinds``: None if its values cannot be checked."""

    entity: EntityType
    key: tuple[str, ...]
    kinds: str | None = None
    digest: str | None = None

    @property
    def identity(self) -> RowKey:
        """As ``keys.identity``."""
        return self.entity.value, folded_key(self.key)


@dataclass(frozen=True, slots=True)
class RowList:
    """A parsed list. ``complete``: no other entity row should be held."""

    complete: bool
    columns: str
    rows: tuple[ListedRow, ...]


def place_of(text: str) -> str:
    """The digest of the place that a list is about; empty: no list."""
    return text[1 : 1 + PLACE_LENGTH]


def columns_of(text: str) -> str:
    """The digest of the columns that a list is about, and of their types and zone if those were known."""
    return text[1 + PLACE_LENGTH : _HEAD]


def row_list(text: str, head: str) -> RowList | None:
    """Parse a list; None: it cannot be used with the catalog whose digests are ``head``."""
    if not _usable(text, head):
        return None
    checkable = text[1:_HEAD] == head
    rows = tuple(
        ListedRow(
            _ENTITIES[letter],
            tuple(map(_unescaped, key.split("/"))) if key else (),
            kinds if checkable and kinds else None,
            digest if checkable and kinds else None,
        )
        for (letter, key), (kinds, digest) in _rows(text).items()
    )
    return RowList(text[0] == COMPLETE, columns_of(text), rows)


def after(known: str, settlement: Settlement) -> str:
    """The list after an event that reached Marketing Cloud; see the table. Applying an event twice is like once."""
    said = settlement.rows
    if not said or settlement.operation == Operation.UPDATE:
        return said
    if settlement.operation == Operation.DELETE and settlement.full_state:
        return said
    related = _usable(known, said[1:_HEAD])
    if settlement.operation == Operation.DELETE:
        return _without(known, settlement.deleted) if related else ""
    if not related:
        return said
    rows = _rows(known)
    if known[1:_HEAD] != said[1:_HEAD]:
        rows = dict.fromkeys(rows, ("", ""))
    return written(known[0] == COMPLETE, said[1:_HEAD], _over(rows, _rows(said)))


def written(complete: bool, head: str, rows: Rows) -> str:
    """The text of a list; if there are too many rows, the first of them."""
    kept = _kept(rows)
    mark = COMPLETE if complete and kept == len(rows) else PART
    groups: dict[str, list[str]] = {}
    for (letter, key), (kinds, digest) in islice(rows.items(), kept):
        group = letter + kinds
        if group in groups:
            groups[group].append(digest + key)
        else:
            groups[group] = [group, digest + key]
    return ";".join([mark + head, *map(",".join, groups.values())])


def key_text(key: Sequence[str]) -> str:
    """A key within its consumer, as a list holds it."""
    if len(key) == 1 and _PLAIN.fullmatch(key[0]):
        return key[0]
    text = "/".join([part.translate(_ESCAPED) for part in key])
    # A surrogate cannot be written as UTF-8; no target accepts a row with such a key.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _unescaped(part: str) -> str:
    return part.replace("~3", "/").replace("~2", ",").replace("~1", ";").replace("~0", "~")


def _kept(rows: Rows) -> int:
    if len(rows) <= ROWS_KEPT and sum([len(key) for _, key in rows]) <= KEY_CHARACTERS:
        return len(rows)
    sizes = accumulate(len(key) for _, key in rows)
    return sum(size <= KEY_CHARACTERS for size in islice(sizes, ROWS_KEPT))


def _usable(text: str, head: str) -> bool:
    """Whether a list is about the data extensions of ``head``, though perhaps about other columns."""
    return text[:1] in (COMPLETE, PART) and text[1 : 1 + PLACE_LENGTH] == head[:PLACE_LENGTH]


def _rows(text: str) -> Rows:
    rows: Rows = {}
    for group in text.split(";")[1:]:
        kinds, *texts = group.split(",")
        letter, kinds = kinds[:1], kinds[1:]
        if letter not in _ENTITIES:
            continue  # not written by this program
        length = DIGEST_LENGTH if kinds else 0
        for row in texts:
            rows[letter, row[length:]] = kinds, row[:length]
    return rows


def _over(known: Rows, said: Rows) -> Rows:
    """Both, with the rows of ``said`` replacing the same rows, also under another spelling of their keys."""
    spelled = {_identity(row): row for row in said}
    rows: Rows = {}
    for row, says in known.items():
        now = spelled.get(_identity(row), row)
        rows[now] = said.get(now, says)
    return rows | said


def _identity(row: tuple[str, str]) -> tuple[str, str]:
    letter, key = row
    return letter, "/".join(map(folded, key.split("/")))


def _without(known: str, deleted: Iterable[RowKey]) -> str:
    gone = {_identity((LETTERS[EntityType(entity)], key_text(key))) for entity, key in deleted}
    rows = {row: says for row, says in _rows(known).items() if _identity(row) not in gone}
    return written(known[0] == COMPLETE, known[1:_HEAD], rows)
