"""The local broker starts, keeps its records through stops and crashes, and never outlives its starter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from app.broker.distribution import BrokerStartError
from app.broker.local_broker import LocalBroker
from app.broker.readiness import answers, listens
from tests.support.brokers import own_broker
from tests.support.kafka_probe import Eventually, KafkaProbe


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBroker]:
    with own_broker() as broker:
        yield broker


@contextmanager
def _command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    # DOCKER_HOST is invalid, so that the local broker is used even where a container engine runs.
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "broker", *arguments],
        env=os.environ | {"DOCKER_HOST": "tcp://127.0.0.1:1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    first = process.stdout.readline()
    told = re.fullmatch(r"KAFKA_BOOTSTRAP_SERVERS=(127\.0\.0\.1:\d+)\n", first)
    assert told, first or process.communicate()[1]
    return told[1]


def _is_up(address: str) -> bool:
    host, _, port = address.partition(":")
    return listens(host, int(port))


def _children(parent: int) -> list[int]:
    """Process IDs of the direct children."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == parent:
            found.append(int(status.parent.name))
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_tells_its_address_serves_and_ends_cleanly(ending: signal.Signals) -> None:
    with _command() as process:
        address = _address(process)
        assert answers(address)
        children = _children(process.pid)
        assert children

        process.send_signal(ending)

        assert process.wait(30) == 0
        assert not _is_up(address)
        assert not any(_lives(pid) for pid in children)


def test_a_killed_command_leaves_no_broker(eventually: Eventually) -> None:
    with _command() as process:
        address = _address(process)
        children = _children(process.pid)
        assert children

        process.kill()

        eventually(lambda: not any(_lives(pid) for pid in children), "Java is gone with its parent", within=10)
        # The first of its threads may be dead while the last one still holds the socket.
        eventually(lambda: not _is_up(address), "nothing listens any more", within=10)


def test_the_command_notices_that_kafka_ended_by_itself() -> None:
    with _command() as process:
        _address(process)
        (java,) = _children(process.pid)

        os.kill(java, signal.SIGKILL)

        assert process.wait(30) == 1
        assert process.stderr is not None
        assert "ended by itself" in process.stderr.read()


def test_a_data_folder_keeps_records_for_the_next_command(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    with _command("--data", str(data)) as process:
        address = _address(process)
        _make_topic(address, "kept")
        KafkaProbe(address).produce("kept", [(b"k", b"v")])
        process.terminate()
        assert process.wait(30) == 0

    with _command("--data", str(data)) as process:
        assert [record.value for record in KafkaProbe(_address(process)).read_all("kept")] == [b"v"]


def _make_topic(address: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    for answer in admin.create_topics([NewTopic(name, 2, 1)]).values():
        answer.result(10)


def test_a_killed_or_stopped_broker_comes_back_on_its_address_with_its_records(local: LocalBroker) -> None:
    address = local.bootstrap_servers
    _make_topic(address, "survivor")
    kafka = KafkaProbe(address)
    kafka.produce("survivor", [(b"k", b"before the kill")])

    local.kill()
    assert not local.running
    local.start()
    kafka.produce("survivor", [(b"k", b"before the stop")])
    local.restart()

    assert local.bootstrap_servers == address
    values = {record.value for record in KafkaProbe(address).read_all("survivor")}
    assert values == {b"before the kill", b"before the stop"}


def test_a_frozen_broker_answers_again_after_the_thaw(local: LocalBroker, eventually: Eventually) -> None:
    local.freeze()
    try:
        assert not answers(local.bootstrap_servers)
    finally:
        local.thaw()

    eventually(lambda: answers(local.bootstrap_servers), "the thawed broker answers")


def test_ctrl_c_on_the_terminal_reaches_only_the_parent(local: LocalBroker) -> None:
    assert os.getpgid(local.pid) != os.getpgid(0)


def test_it_listens_on_loopback_only(local: LocalBroker) -> None:
    listening = "0A"
    sockets = {str(link.readlink()) for link in Path(f"/proc/{local.pid}/fd").iterdir() if link.is_symlink()}
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{local.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == listening and f"socket:[{fields[9]}]" in sockets:
                addresses.add(fields[1].partition(":")[0])

    # 127.0.0.1 as the kernel writes it, in IPv4 and mapped into IPv6.
    assert addresses
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_unknown_topics_are_not_made_by_asking_for_them(local: LocalBroker) -> None:
    admin = AdminClient({"bootstrap.servers": local.bootstrap_servers})

    admin.list_topics("typing-error", timeout=10)

    assert "typing-error" not in admin.list_topics(timeout=10).topics


def test_a_taken_port_is_a_clear_error(local: LocalBroker) -> None:
    port = int(local.bootstrap_servers.rpartition(":")[2])

    with pytest.raises(BrokerStartError, match=rf"127\.0\.0\.1:{port} is taken"):
        LocalBroker(port).start()


def test_a_broker_that_gives_up_shows_the_end_of_its_log() -> None:
    broker = LocalBroker(extra_config={"log.retention.ms": "not a number"})

    with pytest.raises(BrokerStartError, match=r"(?s)log ends.*log\.retention\.ms"):
        broker.start()

    broker.close()
