"""One workshop per session, and the ledger that the page's table is made from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_commands import Workshop
from fault_ledger import Ledger
from fault_trials import Server


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    server = Server.start()
    yield Workshop(tmp_path_factory.mktemp("faults"), server)
    server.stop()


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest, checkout: Path) -> Ledger:
    file = request.config.getoption("--reliability")
    place = request.config.invocation_params.dir / file if file else None
    return Ledger(place, checkout)


@pytest.fixture
def share(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--share"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--fault-seed"))
