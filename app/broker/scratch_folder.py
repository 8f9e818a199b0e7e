"""Temporary folders that are deleted even if their owner was killed."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

_PREFIX = "profile-sync-kafka-"
_OWNER = "owner.lock"
# A newer folder is not touched, because its owner may not have locked it yet.
_NEW_SECONDS = 60.0


class ScratchFolder:
    """A new temporary folder. Creating one deletes those whose owner has ended.

    The owner holds a lock on a file in the folder. The kernel releases the lock when the owner ends, however it ends.
    """

    def __init__(self) -> None:
        _remove_orphans(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock: IO[str] = (self.path / _OWNER).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Delete the folder and its content."""
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
            # The folder is locked, belongs to another user, or was deleted in the meantime.
            continue
