"""A full disk under DATA_DIR: the worker goes on while it can; when it cannot, no other worker waits for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deploy
from tests.support.profiles import fresh_consumer, new
from tests.support.worker_process import wait_for

# The worker gives its read model 30 s, and looks every 10 s.
ENDS_WITHIN = 90.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(4096))


def test_a_worker_whose_disk_is_full_works_on_and_ends_when_others_would_wait_for_it(
    deploy: Deploy, small_disk: Path
) -> None:
    deployment = deploy()
    full = deployment.worker(DATA_DIR=str(small_disk / "data")).ready()
    fill(small_disk)
    first = [new(fresh_consumer(), name="N" * 200) for _ in range(400)]
    deployment.publish(*first)
    wait_for(
        lambda: "disk is full" in str(full.status("/readyz")[1]),
        lambda: f"{full.status('/readyz')}\n{full.log_tail()}",
        30,
    )
    wait_for(deployment.committed_to_the_end, lambda: full.log_tail(), 30)  # nothing that it can do is left undone

    # Now partitions move, and the records that the worker would have to read for that do not fit.
    other = deployment.worker()
    code = full.ended(ENDS_WITHIN)
    assert code == 1
    assert "Give DATA_DIR space" in full.last_words()
    second = [new(fresh_consumer()) for _ in range(40)]
    deployment.publish(*second)
    assert deployment.settled(other.ready(), len(first) + len(second))["synced"] == len(first) + len(second)
