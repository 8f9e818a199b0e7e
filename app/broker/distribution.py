"""Apache Kafka for the local broker. Maven fetches it once into a cache."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lxml import etree

POM = Path(__file__).resolve().parent / "pom.xml"
OLDEST_JAVA = 17  # Kafka 4 brokers need it (KIP-1013).

# For 43 MB on a slow line. Maven gives up on a dead connection much earlier.
_FETCH_SECONDS = 900
_OTHER_WAYS = (
    "or start a container engine (Docker, Podman) with the extra profile-sync[container] installed, "
    "or set KAFKA_BOOTSTRAP_SERVERS to a broker that already runs"
)

log = logging.getLogger(__name__)


class BrokerStartError(Exception):
    """No broker could be started. The message says what is missing and what to do."""


def kafka_version() -> str:
    """The version of Apache Kafka that the bundled build file names, e.g. ``4.1.1``."""
    version = etree.parse(POM).findtext(".//{*}kafka.version")
    if not version:
        raise BrokerStartError(f"{POM} names no kafka.version; is the installation complete?")
    return str(version)


def cache_folder() -> Path:
    """The folder of the jars: one per version and build file, outside the project."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    return Path(base).expanduser() / "profile-sync" / f"kafka-{kafka_version()}-{digest}"


def java() -> str:
    """The path of Java: from ``JAVA_HOME``, else the first on ``PATH``.

    Raises:
        BrokerStartError: there is no Java, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    path = path or shutil.which("java")
    need = f"a local broker needs Java {OLDEST_JAVA} or newer (Debian, Ubuntu: apt install openjdk-17-jre-headless)"
    if path is None:
        raise BrokerStartError(f"No Java found: {need}, {_OTHER_WAYS}.")
    told = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    found = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    if found is None:
        raise BrokerStartError(f"{path} -version did not say which Java it is: {need}, {_OTHER_WAYS}.")
    if int(found[1]) < OLDEST_JAVA:
        raise BrokerStartError(f"{path} is Java {found[1]}: {need}, {_OTHER_WAYS}.")
    return path


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def libraries() -> Path:
    """The folder with Kafka's jars, which are fetched first if they are missing.

    Several processes may call this at once: one fetches into a temporary folder and renames it, the others wait.

    Raises:
        BrokerStartError: Maven is missing or could not fetch the jars.
    """
    ready = cache_folder() / "libs"
    if ready.is_dir():
        return ready
    try:
        ready.parent.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(ready.parent.with_name(ready.parent.name + ".lock")):
            if not ready.is_dir():
                _fetch(ready.parent)
    except OSError as error:
        raise BrokerStartError(
            f"Apache Kafka cannot be stored in {ready.parent}: {error.strerror or error}. "
            "Set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    return ready


def _fetch(target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerStartError(
            f"Apache Kafka {kafka_version()} is not in {target} yet, and there is no Maven to fetch it: "
            f"install it (Debian, Ubuntu: apt install maven), {_OTHER_WAYS}."
        )
    log.info("Fetching Apache Kafka %s (about 43 MB, only once) into %s", kafka_version(), target)
    unfinished = f".{target.name}-"
    for left in target.parent.glob(f"{unfinished}*"):  # of a killed fetch: the lock shows that no other one is running
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=unfinished, dir=target.parent))
    try:
        # Maven works on a copy: the installed package may be read-only.
        shutil.copy(POM, work / "pom.xml")
        command = [maven, "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        try:
            done = subprocess.run(  # noqa: S603
                [*command, "-DoutputDirectory=libs"],
                cwd=work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_FETCH_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BrokerStartError(
                f"Maven has not fetched Apache Kafka within {_FETCH_SECONDS // 60} minutes: "
                f"is its repository reachable? Otherwise {_OTHER_WAYS.removeprefix('or ')}."
            ) from error
        if done.returncode != 0 or not any((work / "libs").glob("kafka_*.jar")):
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
            raise BrokerStartError(
                f"Maven could not fetch Apache Kafka {kafka_version()} (exit {done.returncode}); "
                f"solve that, {_OTHER_WAYS}. Maven's output ends with:\n{last}"
            )
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
