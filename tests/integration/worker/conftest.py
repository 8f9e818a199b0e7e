"""A shared simulator and worker, and installations for single tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.broker import sources
from app.bundled import schema_path
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog
from tests.support.deployment import Deploy, Deployment, deployed
from tests.support.simulator_probe import SimulatorProbe, running_simulator
from tests.support.worker_process import WorkerProcess


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The bundled data extensions."""
    return parse_catalog(schema_path("data-extensions.json").read_bytes())


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProbe]:
    """The shared simulator; tests use consumers of their own. Columns have the bundled types, but two take any text."""
    folder = tmp_path_factory.mktemp("simulator")
    document = json.loads(schema_path("data-extensions.json").read_bytes())
    del document["dataExtensions"]["contact"]["types"]["Value"]  # any length
    del document["dataExtensions"]["pet"]["types"]["Breed"]
    (folder / "data-extensions.json").write_text(json.dumps(document))
    options = ("--data-extensions", str(folder / "data-extensions.json"))
    with running_simulator(folder / "simulator.log", *options) as probe:
        yield probe


@pytest.fixture(scope="session")
def shared(
    broker: sources.Broker, simulator: SimulatorProbe, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """One worker for all tests that leave it running. Each test uses consumers and markets of its own."""
    folder = tmp_path_factory.mktemp("shared")
    with deployed(broker.bootstrap_servers, simulator, catalog, folder) as deployment:
        deployment.worker().ready()
        yield deployment


@pytest.fixture
def worker(shared: Deployment) -> WorkerProcess:
    """The shared worker."""
    return shared.workers[0]


@pytest.fixture
def deploy(broker: sources.Broker, simulator: SimulatorProbe, catalog: Catalog, tmp_path: Path) -> Iterator[Deploy]:
    """``deploy(SYNC_CHILD_FAILURE="dlq")``: an installation of the test's own, without a worker yet."""
    with ExitStack() as stack:

        def make(**settings: str) -> Deployment:
            return stack.enter_context(deployed(broker.bootstrap_servers, simulator, catalog, tmp_path, **settings))

        yield make
