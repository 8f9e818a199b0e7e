"""The rows of a consumer that should be held, as keys and digests: one text in the consumer's record. Pure.

There may be millions of records, so the text is compact and is taken apart only where that is needed::

    +AbCdEfGh;-JJJIAA,0123abcd;pJJJA,89abcdefP-1,cdef0123P-2
    |  |   |   |  |      |      an entity's rows: digest and key, "/" between the parts of a key
    |  |   |   |  |      digest, 8 characters; the parent row has no key
    |  |   |   |  kinds of the values, two columns a character, in the data extension's order; 0: not named
    |  |   |   entity type, see ``LETTERS``; without kinds the rows have keys only
    |  |   columns: fingerprint of columns, types and zone; when it is another one the digests say nothing
    |  place: fingerprint of account, data extensions and primary keys; when it is another one, neither do the keys
    "+": no other entity row should be held; "~": nothing is known of others

How a text follows a consumer's events:

| settled                  | the list                                                                           |
|--------------------------|------------------------------------------------------------------------------------|
| UPDATE                   | its rows, complete                                                                 |
| NEW                      | its rows over those known, as complete as before; "~" when nothing was known       |
| DELETE of the profile    | no rows, complete                                                                  |
| DELETE of rows           | those known without them                                                           |
| any that failed          | none: it may have written a part                                                   |
| of another place         | nothing is known of the rows before                                                |
| more rows than are kept  | the first of them, "~"                                                             |

Rows of a PARTIAL event are listed as the event says: what was refused is drift. An empty text: no list.
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
# A record must fit into its topic, beside the deleted rows that it remembers.
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

# Entity letter and key, as in the text -> kinds and digest, both empty when only the key is known.
Rows = dict[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A row that should be held. ``key``: as ``DeletedRow.key``. ``kinds``: None when its values cannot be checked."""

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
    """A text, taken apart. ``complete``: no other entity row should be held."""

    complete: bool
    columns: str
    rows: tuple[ListedRow, ...]


def place_of(text: str) -> str:
    """The fingerprint of the place that a list, or a head, is about; empty: no list."""
    return text[1 : 1 + PLACE_LENGTH]


def columns_of(text: str) -> str:
    """The fingerprint of the columns that a list is about, and of their types and zone if those were known."""
    return text[1 + PLACE_LENGTH : _HEAD]


def row_list(text: str, head: str) -> RowList | None:
    """What a text lists; None: nothing that can be used with the catalog whose fingerprints are ``head``."""
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
    """The list after an event that reached Marketing Cloud; twice is as once. See the table."""
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
    """The text of a list; of too many rows the first."""
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
    """A key within its consumer as it stands in a list."""
    if len(key) == 1 and _PLAIN.fullmatch(key[0]):
        return key[0]
    text = "/".join([part.translate(_ESCAPED) for part in key])
    # A surrogate could not be written; no target takes a row of such a key.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _unescaped(part: str) -> str:
    return part.replace("~3", "/").replace("~2", ",").replace("~1", ";").replace("~0", "~")


def _kept(rows: Rows) -> int:
    if len(rows) <= ROWS_KEPT and sum([len(key) for _, key in rows]) <= KEY_CHARACTERS:
        return len(rows)
    sizes = accumulate(len(key) for _, key in rows)
    return sum(size <= KEY_CHARACTERS for size in islice(sizes, ROWS_KEPT))


def _usable(text: str, head: str) -> bool:
    """Whether a list is about the data extensions of ``head``; their columns may be others."""
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
    """Both, the said ones in place of those that are the same row under another spelling of its key."""
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
