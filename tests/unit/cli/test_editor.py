"""The editor of `dlq edit`."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.command_errors import CommandError
from app.cli.editor import edited


def test_the_text_that_the_editor_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "my editor"
    script.write_text(
        '#!/bin/sh\necho "$2" > "$0.log"\nstat -c %a "$(dirname "$2")" >> "$0.log"\nsed -i s/Ann/Zoë/ "$2"\n'
    )
    script.chmod(0o700)
    monkeypatch.setenv("VISUAL", "")
    monkeypatch.setenv("EDITOR", f"'{script}' --wait")
    assert edited('{"name": "Ann"}', "5-26.json") == '{"name": "Zoë"}'
    file, mode = Path(f"{script}.log").read_text().split()
    assert (Path(file).name, mode) == ("5-26.json", "700")
    assert not Path(file).exists()


@pytest.mark.parametrize("editor", ["false", "/no/such/editor", "'"])
def test_an_editor_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch, editor: str) -> None:
    monkeypatch.setenv("VISUAL", editor)
    with pytest.raises(CommandError, match="Nothing was written"):
        edited("Ann", "5-26.json")
