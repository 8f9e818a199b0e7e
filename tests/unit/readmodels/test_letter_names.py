"""A typing error in a filter is an error. Names that only another program or version knows are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.delivery.dead_letter_record import LetterStatus
from app.delivery.errors import REGISTRY
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import SelectionError
from app.delivery.operator_task import LetterFilter
from tests.unit.readmodels.test_letter_index import Case, letter

STRANGE = Fingerprint("CMT-OF-2031", "loyaltyCard", "MERGE")


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """An index that holds a closed dead letter of a newer version, and an open one that this version knows."""
    one = Case(tmp_path)
    closed = letter(LetterStatus.SETTLED, kind=STRANGE, operation="MERGE")
    one.write((LetterId(0, 1), 1, closed), (LetterId(0, 2), 1, letter()))
    yield one
    one.store.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (LetterFilter(reason="CMT-ROW-INVALD"), "no error code CMT-ROW-INVALD; did you mean CMT-ROW-INVALID?"),
        (LetterFilter(reason="cmt-timeout"), "did you mean CMT-TIMEOUT"),
        (LetterFilter(reason="\ud800"), "no error code"),
        (LetterFilter(entity="consumr"), "no entity consumr; did you mean consumer?"),
        (LetterFilter(entity="Pet"), "did you mean pet?"),
        (LetterFilter(operation="update"), "no operation update; did you mean UPDATE?"),
        (LetterFilter(operation="X"), "known are NEW, UPDATE, DELETE and -."),
        (LetterFilter(fingerprint="CMT-ROW-INVALID:consumer"), "three parts, REASON:entity:operation"),
        (LetterFilter(fingerprint="a:b:c:d"), "three parts"),
        (LetterFilter(fingerprint="CMT-ROW-INVALD:consumer:NEW"), "did you mean CMT-ROW-INVALID?"),
        (LetterFilter(fingerprint="CMT-ROW-INVALID:consumr:NEW"), "did you mean consumer?"),
        (LetterFilter(fingerprint="CMT-ROW-INVALID:consumer:NWE"), "did you mean NEW?"),
        (LetterFilter(fingerprint=f"{STRANGE.reason}:pet:NEW"), "no error code CMT-OF-2031"),
        (LetterFilter(reason="CMT-TIMEOUT", operation="NWE"), "did you mean NEW?"),
    ],
)
def test_a_name_that_cannot_exist_is_an_error(case: Case, wrong: LetterFilter, said: str) -> None:
    with pytest.raises(SelectionError) as refused:
        case.index.check(wrong)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "right",
    [
        LetterFilter(),
        LetterFilter(market="XX", consumer="C-404", since_ms=1),
        *(LetterFilter(reason=code) for code in REGISTRY),
        LetterFilter(entity="digitalAsset", operation="DELETE"),
        LetterFilter(entity="kafka-connect", operation="-"),
        LetterFilter(fingerprint="EVENT-NOT-JSON:event:-"),
        LetterFilter(fingerprint="SYNC-FOREIGN:republished:-"),
        LetterFilter(fingerprint="CMT-PERMISSION:account-514001234-pet:-"),
        LetterFilter(fingerprint=str(STRANGE)),
        LetterFilter(reason=STRANGE.reason, entity=STRANGE.entity, operation=STRANGE.operation),
    ],
)
def test_a_name_that_is_known_here_or_stands_in_a_dead_letter_is_none(case: Case, right: LetterFilter) -> None:
    case.index.check(right)
