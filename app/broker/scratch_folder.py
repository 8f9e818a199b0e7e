"""Folders for data that nobody keeps, cleared away also when their owner was killed."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

_PREFIX = "profile-sync-kafka-"
_OWNER = "owner.lock"
# Longer than anybody needs between making a folder and locking it.
_NEW_SECONDS = 60.0


class ScratchFolder:
    """A new folder in the system's place for temporary files; making one removes those that lost their owner.

    The owner holds a lock on a file in it; the kernel lets go of the lock when the owner ends, however it ends.
    """

    def __init__(self) -> None:
        _remove_orphans(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock: IO[str] = (self.path / _OWNER).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _remove_orphans(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < _NEW_SECONDS:
                continue
            with (folder / _OWNER).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            # Somebody holds it, it is another user's, or it went away meanwhile: not ours to remove.
            continue
