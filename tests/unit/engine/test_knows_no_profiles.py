"""The engine runs any flow: what it imports, however indirectly, holds nothing of profiles and of Marketing Cloud."""

from __future__ import annotations

import subprocess
import sys

LISTED = """
import importlib, pkgutil, sys
import app.engine
for module in pkgutil.walk_packages(app.engine.__path__, "app.engine."):
    importlib.import_module(module.name)
print("\\n".join(sorted(name for name in sys.modules if name.startswith("app."))))
"""


def test_its_import_closure_holds_no_profile_and_no_target() -> None:
    listed = subprocess.run([sys.executable, "-c", LISTED], capture_output=True, text=True, check=True, timeout=60)
    rooms = {name.split(".")[1] for name in listed.stdout.split()}
    assert "engine" in rooms
    assert rooms <= {"engine", "delivery", "kafka", "observe", "settings", "environment"}
