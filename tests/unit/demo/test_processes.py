"""How the end of a worker is judged and told."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.demo.processes import TAIL_LINES, ChildProcess, describe_exit, ended_on_purpose


@pytest.mark.parametrize("code", [0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT])
def test_what_people_do_to_a_worker_is_no_fault_of_its_own(code: int) -> None:
    assert ended_on_purpose(code)


@pytest.mark.parametrize("code", [1, 2, -signal.SIGSEGV, -signal.SIGABRT])
def test_a_worker_that_fails_is_a_problem(code: int) -> None:
    assert not ended_on_purpose(code)


def test_a_clean_end_is_told_as_such() -> None:
    assert describe_exit(0) == "ended by itself with exit code 0"


@pytest.fixture
def child(tmp_path: Path) -> ChildProcess:
    log = tmp_path / "worker-1.log"
    log.touch()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        return ChildProcess("worker 1", ended, log)


def test_the_end_of_a_log_is_its_last_lines_without_requests_that_went_well(child: ChildProcess) -> None:
    request = "12:00 [info     ] request  [app.web.middleware] method=GET route=/api/kpi/totals status={}\n"
    wrong = "".join(f"12:00 [error    ] wrong {number}\n" for number in range(TAIL_LINES))
    child.log.write_text(f"too old\n{wrong}{request.format(200) * 50}")
    assert child.log_tail() == wrong.strip()

    child.log.write_text(request.format(500))
    assert child.log_tail() == request.format(500).strip()


def test_a_log_without_a_line_is_told_as_such(child: ChildProcess) -> None:
    assert child.log_tail() == "(nothing)"
