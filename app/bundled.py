"""Where the bundled schemas and the WSDL are."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def schema_path(name: str) -> Path:
    """Path of a bundled schema, e.g. ``data-extensions.json``.

    A wheel has the schemas inside the package, a checkout has them beside it.

    Raises:
        FileNotFoundError: there is no bundled schema of this name.
    """
    for folder in (_PACKAGE / "_schemas", _PACKAGE.parent / "schemas"):
        path = folder / name
        if path.is_file():
            return path
    raise FileNotFoundError(f"{name} is not among the bundled schemas; is the installation complete?")
