"""A simulator in a process of its own, as other teams run it. Its clients know only its address and credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from app.bundled import schema_path
from tests.support.simulator_probe import SimulatorProbe, running_simulator

CLIENT_ID, CLIENT_SECRET = "conformance", "its secret & more"
ACCOUNT_ID = "7654321"
# Marketing Cloud shows users a name; clients may address a data extension by it instead of by its key.
PET_KEY, PET_NAME = "CMT_Pet", "Pets of consumers (EMEA)"


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProbe]:
    """One simulator for all clients; each test uses consumers of its own."""
    folder = tmp_path_factory.mktemp("conformance")
    definitions = json.loads(schema_path("data-extensions.json").read_bytes())
    definitions["dataExtensions"]["pet"]["name"] = PET_NAME
    extensions = folder / "data-extensions.json"
    extensions.write_text(json.dumps(definitions))
    options = ("--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET, "--data-extensions", str(extensions))
    with running_simulator(folder / "simulator.log", *options) as probe:
        yield probe


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients take their proxies from the environment; everything here is on loopback."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")


@pytest.fixture
def consumer(request: pytest.FixtureRequest) -> str:
    """A consumer ID of the test's own."""
    return f"{request.module.__name__.rpartition('.')[2]}.{request.node.name}"


def rows_of(simulator: SimulatorProbe, data_extension: str, consumer: str) -> list[dict[str, str | None]]:
    """The rows that the simulator holds of a consumer."""
    document = simulator.request("GET", f"/_sim/rows/{data_extension}")
    return [row for row in document["rows"] if row["ConsumerId"] == consumer]
