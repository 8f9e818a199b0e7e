""".ci/run: its last line is pytest's closing line, its exit code the truth. Scripts play `make` and `npm`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PASSED = "============ 321 passed, 2 skipped in 71.20s (0:01:11) ============"
FAILED = "============ 1 failed, 320 passed in 70.01s (0:01:10) ============"


@pytest.mark.parametrize(
    ("lint_code", "test_code", "closing", "code", "last_line"),
    [
        (0, 0, PASSED, 0, PASSED),
        (0, 2, FAILED, 2, FAILED),
        (2, 0, PASSED, 2, PASSED),
        (2, 2, FAILED, 2, FAILED),
        (0, 2, "make: *** [setup] Error 1", 2, "pytest did not finish; see above"),
        (0, 0, "nothing to do", 1, "pytest did not finish; see above"),
    ],
)
def test_last_line_and_exit_code(
    tmp_path: Path, lint_code: int, test_code: int, closing: str, code: int, last_line: str
) -> None:
    make = tmp_path / "make"
    make.write_text(
        "#!/bin/sh\n"
        '[ "$CI" = true ] || exit 9\n'
        f'if [ "$1" = lint ]; then echo "lint"; exit {lint_code}; fi\n'
        f'echo "{closing}"; echo "make: *** done"; exit {test_code}\n'
    )
    make.chmod(0o755)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\n")
    npm.chmod(0o755)
    run = subprocess.run(
        [ROOT / ".ci" / "run"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout.splitlines()[-1] == last_line
    assert run.returncode == code
