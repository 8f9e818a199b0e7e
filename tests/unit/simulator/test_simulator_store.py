"""Rows found by index are those that a look at all rows finds, whatever was written and removed before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.simulator.definitions import read_catalogue
from app.simulator.store import RowStore, Table

CATALOGUE = read_catalogue(
    {
        "dataExtensions": {
            "pet": {"customerKey": "PET", "primaryKey": ["Owner", "Pet"], "columns": ["Owner", "Pet", "N"]}
        }
    }
)
names = st.sampled_from(["a", "b"])
keys = st.tuples(names, names)


def table() -> Table:
    found = RowStore(CATALOGUE).table("PET")
    assert found is not None
    return found


def put(pets: Table, owner: str, pet: str, name: str = "") -> None:
    pets.put((owner, pet), {"Owner": owner, "Pet": pet, "N": name})


@given(
    st.lists(st.tuples(st.booleans(), keys)),
    st.dictionaries(st.sampled_from(["Owner", "Pet"]), st.lists(names, min_size=1, max_size=2).map(tuple)),
)
def test_candidates_hold_every_row_that_fits(
    steps: list[tuple[bool, tuple[str, str]]], required: dict[str, tuple[str, ...]]
) -> None:
    pets, model = table(), {}
    for number, (written, key) in enumerate(steps):
        # The indexes are built in the middle, so that both building and keeping them up to date are seen.
        if number == len(steps) // 2:
            list(pets.candidates({"Owner": ("a",)}))
            list(pets.candidates({"Pet": ("a",)}))
        if written:
            put(pets, *key)
            model[key] = key
        else:
            assert pets.remove(key) is (model.pop(key, None) is not None)
    found = [(row["Owner"], row["Pet"]) for row in pets.candidates(required)]
    assert len(found) == len(set(found))
    fitting = {
        key for key in model if key[0] in required.get("Owner", key[0]) and key[1] in required.get("Pet", key[1])
    }
    assert fitting <= set(found) <= set(model)
    assert len(pets) == len(model)


def test_a_key_column_leads_straight_to_its_rows() -> None:
    pets = table()
    put(pets, "a", "x")
    put(pets, "a", "y")
    put(pets, "b", "x")
    assert [row["Pet"] for row in pets.candidates({"Owner": ("a",)})] == ["x", "y"]
    assert [row["Owner"] for row in pets.candidates({"Pet": ("x",)})] == ["a", "b"]
    assert [row["Owner"] for row in pets.candidates({"Owner": ("b",), "Pet": ("x",)})] == ["b"]
    assert list(pets.candidates({"Owner": ("b",), "Pet": ("y",)})) == []


def test_a_removed_row_is_gone_from_the_indexes_too() -> None:
    pets = table()
    put(pets, "a", "x")
    put(pets, "a", "y")
    list(pets.candidates({"Owner": ("a",)}))
    assert pets.remove(("a", "x"))
    assert not pets.remove(("a", "x"))
    assert [row["Pet"] for row in pets.candidates({"Owner": ("a",)})] == ["y"]


def test_a_row_once_read_does_not_change() -> None:
    pets = table()
    put(pets, "a", "x", "before")
    read = pets.get(("a", "x"))
    put(pets, "a", "x", "after")
    assert read is not None
    assert read["N"] == "before"


def test_clearing_forgets_rows_and_indexes() -> None:
    store = RowStore(CATALOGUE)
    pets = store.table("PET")
    assert pets is not None
    put(pets, "a", "x")
    list(pets.candidates({"Owner": ("a",)}))
    store.clear()
    assert (len(pets), list(pets.candidates({"Owner": ("a",)})), list(pets.candidates({}))) == (0, [], [])
