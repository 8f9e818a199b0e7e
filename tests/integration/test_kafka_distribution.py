"""How the local broker gets its jars, with stand-ins for Java and Maven on the PATH."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.broker import distribution
from app.broker.distribution import BrokerStartError, cache_folder, java, kafka_version, libraries

# Records that it ran, takes a moment, and leaves one jar, as Maven would.
MAVEN = """#!/bin/sh
echo run >> "{log}"
mkdir -p unfinished && sleep 0.3
mkdir -p libs && : > libs/kafka_2.13-{version}.jar
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An otherwise empty PATH, and a cache of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _maven(programs: Path, tmp_path: Path) -> Path:
    log = tmp_path / "maven.log"
    text = MAVEN.format(log=log, version=kafka_version())
    _program(programs / "mvn", text.replace("mkdir", "/bin/mkdir").replace("sleep", "/bin/sleep"))
    return log


def test_the_version_is_the_one_of_the_build_file() -> None:
    assert f"<kafka.version>{kafka_version()}</kafka.version>" in distribution.POM.read_text()


def test_the_cache_is_outside_the_project_and_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path / "profile-sync"
    assert cache_folder().name.startswith(f"kafka-{kafka_version()}-")

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder().parent == Path.home() / ".cache" / "profile-sync"


def test_another_build_file_gets_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_folder()
    changed = tmp_path / "pom.xml"
    changed.write_text(distribution.POM.read_text().replace("1.7.36", "1.7.35"))
    monkeypatch.setattr(distribution, "POM", changed)

    assert cache_folder() != before


def test_jars_are_fetched_once(programs: Path, tmp_path: Path) -> None:
    log = _maven(programs, tmp_path)

    first, second = libraries(), libraries()

    assert first == second == cache_folder() / "libs"
    assert [path.name for path in first.iterdir()] == [f"kafka_2.13-{kafka_version()}.jar"]
    assert log.read_text() == "run\n"


def test_processes_that_ask_at_once_share_one_fetch(programs: Path, tmp_path: Path) -> None:
    log = _maven(programs, tmp_path)
    ask = [sys.executable, "-c", "from app.broker.distribution import libraries; print(libraries())"]

    asking = [subprocess.Popen(ask, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0].strip() for process in asking}

    assert answers == {str(cache_folder() / "libs")}
    assert log.read_text() == "run\n"


def test_a_fetch_that_was_killed_leaves_nothing_behind_after_the_next(programs: Path, tmp_path: Path) -> None:
    _maven(programs, tmp_path)
    left = cache_folder().with_name(f".{cache_folder().name}-killed")
    (left / "libs").mkdir(parents=True)

    libraries()

    assert not left.exists()
    assert {path.name for path in cache_folder().parent.iterdir()} == {
        cache_folder().name,
        f"{cache_folder().name}.lock",
    }


def test_a_failed_fetch_shows_what_maven_said_and_leaves_no_cache(programs: Path) -> None:
    _program(programs / "mvn", "#!/bin/sh\necho 'ERROR: no route to repository'\nexit 1\n")

    with pytest.raises(BrokerStartError, match="no route to repository"):
        libraries()

    assert not cache_folder().exists()


def test_no_maven_and_nothing_cached_says_how_to_get_a_broker(programs: Path) -> None:
    with pytest.raises(BrokerStartError) as missing:
        libraries()

    for way in ("maven", "container engine", "KAFKA_BOOTSTRAP_SERVERS"):
        assert way in str(missing.value)


def test_a_cache_that_cannot_be_written_is_named(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(BrokerStartError, match="XDG_CACHE_HOME"):
        libraries()


def test_no_java_says_how_to_get_one(programs: Path) -> None:
    with pytest.raises(BrokerStartError, match=r"No Java found.*Java 17.*apt install"):
        java()


@pytest.mark.parametrize(("told", "version"), [("1.8.0_392", "8"), ("11.0.21", "11")])
def test_an_old_java_is_named(programs: Path, told: str, version: str) -> None:
    _program(programs / "java", f"#!/bin/sh\necho 'openjdk version \"{told}\"' >&2\n")

    with pytest.raises(BrokerStartError, match=rf"java is Java {version}: a local broker needs Java 17"):
        java()


@pytest.mark.parametrize("told", ["17.0.15", "21", "25-ea"])
def test_java_home_goes_before_the_path(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    _program(programs / "java", "#!/bin/sh\necho 'openjdk version \"1.8.0\"' >&2\n")
    _program(tmp_path / "jdk" / "bin" / "java", f"#!/bin/sh\necho 'openjdk version \"{told}\"' >&2\n")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))

    assert java() == str(tmp_path / "jdk" / "bin" / "java")
