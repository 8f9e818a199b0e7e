"""docs/errors.md says what the registry says."""

from __future__ import annotations

from pathlib import Path

from app.cli.errors import CLASS_MEANINGS, markdown_page
from app.delivery.errors import REGISTRY, ErrorClass

PAGE = Path(__file__).resolve().parents[3] / "docs" / "errors.md"


def test_the_page_is_the_one_that_make_docs_writes() -> None:
    assert PAGE.read_text() == markdown_page(REGISTRY.values()), "run make docs"


def test_every_code_stands_on_the_page_with_what_to_do() -> None:
    lines = PAGE.read_text().splitlines()
    for entry in REGISTRY.values():
        (line,) = [line for line in lines if line.startswith(f"| `{entry.code}`")]
        assert len(line.split("|")[3].strip()) > 3


def test_every_class_is_explained() -> None:
    assert set(CLASS_MEANINGS) == set(ErrorClass)
