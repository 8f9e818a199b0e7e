"""One SQLite file for each worker that shares a folder: the first file that is not locked."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

# More workers than this in one folder are a configuration error.
MOST_SLOTS = 256


class SlotError(Exception):
    """No file for the read models is available; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A locked file name. The kernel releases the lock when the process ends, however it ends."""

    path: Path
    lock: int

    def release(self) -> None:
        """Unlock the file for another worker."""
        os.close(self.lock)


def take_slot(folder: Path) -> Slot:
    """Lock the first free ``readmodel-<n>.sqlite`` of a folder. Missing folders are created for this user only.

    The lock is a separate file (``readmodel-<n>.lock``), so that a damaged file can be deleted while the lock is held.

    Raises:
        SlotError: the folder cannot be written, or all slots are taken.
    """
    try:
        for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        for number in range(MOST_SLOTS):
            lock = os.open(folder / f"readmodel-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            except BaseException:
                os.close(lock)
                raise
            return Slot(folder / f"readmodel-{number}.sqlite", lock)
    except OSError as error:
        raise SlotError(f"DATA_DIR {folder}: {error.strerror}; it must be a folder that this user can write") from error
    raise SlotError(f"DATA_DIR {folder}: {MOST_SLOTS} workers use it already; give this one a folder of its own")
