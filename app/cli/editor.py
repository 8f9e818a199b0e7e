"""Opens a text in the editor of the person who runs the command."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from app.cli.command_errors import CommandError

DEFAULT_EDITOR = "vi"


def edited(text: str, name: str) -> str:
    """The text after ``$VISUAL`` or ``$EDITOR`` has closed. Nobody else can read the file, and it is deleted.

    Raises:
        CommandError: the editor cannot be started, or reports a failure.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or DEFAULT_EDITOR
    with tempfile.TemporaryDirectory(prefix="profile-sync-") as folder:
        file = Path(folder) / name
        file.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 - it is the user's own editor
            if done.returncode == 0:
                return file.read_text(encoding="utf-8")
            why = f"it ended with {done.returncode}"
        except (OSError, ValueError) as error:
            why = str(error)
    raise CommandError(f"the editor {editor} failed: {why}. Set EDITOR, or give --file FILE. Nothing was written.")
