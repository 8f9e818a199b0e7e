"""Where the files that ship with the program are: schemas, the WSDL, the broker's build file."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def schema_path(name: str) -> Path:
    """Path of a bundled schema, e.g. ``data-extensions.json``.

    A wheel carries them inside the package, a checkout has them next to it.

    Raises:
        FileNotFoundError: no such schema is bundled.
    """
    for folder in (_PACKAGE / "_schemas", _PACKAGE.parent / "schemas"):
        path = folder / name
        if path.is_file():
            return path
    raise FileNotFoundError(f"{name} is not among the bundled schemas; is the installation complete?")
