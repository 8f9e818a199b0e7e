"""The Java program of the table. Maven downloads its libraries once into a cache, where it is also compiled."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from app.broker.distribution import BrokerStartError, java

_SOURCES = Path(__file__).resolve().parent / "java"
_CLASS = "ParallelConsumerProgram"
# Enough for some 20 MB on a slow line; Maven itself gives up a dead connection much earlier.
_FETCH_SECONDS = 600
_COMPILE_SECONDS = 120


class JavaMissing(Exception):
    """The Java program cannot be run here; the message says why and what to do."""


def command() -> list[str]:
    """The command that starts it; downloads and compiles first if needed.

    Raises:
        JavaMissing: Java, its compiler or Maven is missing or failed.
    """
    try:
        executable = java()
    except BrokerStartError as error:
        raise JavaMissing(str(error)) from error
    folder = _built()
    classpath = f"{folder / 'classes'}{os.pathsep}{folder / 'libs'}/*"
    return [executable, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classpath, _CLASS]


def _built() -> Path:
    """The folder with ``libs`` and ``classes``; there is one for each version of the sources."""
    sources = [_SOURCES / "pom.xml", _SOURCES / f"{_CLASS}.java"]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "profile-sync"
    ready = base / f"bench-{digest}"
    if ready.is_dir():
        return ready
    maven, compiler = shutil.which("mvn"), shutil.which("javac")
    if maven is None or compiler is None:
        missing = "Maven (apt install maven)" if maven is None else "a Java compiler (apt install openjdk-17-jdk)"
        raise JavaMissing(f"the Java program needs {missing}")
    try:
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{ready.name}-", dir=base) as scratch:
            work = Path(scratch) / "built"
            shutil.copytree(_SOURCES, work)
            fetch = [maven, "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime"]
            _run([*fetch, "-DoutputDirectory=libs"], work, _FETCH_SECONDS)
            _run([compiler, "-cp", "libs/*", "-d", "classes", f"{_CLASS}.java"], work, _COMPILE_SECONDS)
            work.rename(ready)
    except OSError as error:
        if not ready.is_dir():  # otherwise another bench was faster
            raise JavaMissing(f"the Java program cannot be kept in {base}: {error.strerror or error}") from error
    return ready


def _run(line: list[str], folder: Path, seconds: float) -> None:
    try:
        done = subprocess.run(
            line, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise JavaMissing(f"{Path(line[0]).name} was not done within {seconds:g} s") from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise JavaMissing(f"{Path(line[0]).name} failed with exit code {done.returncode}:\n{last}")
