"""Fixtures of all tests; the name of a test seeds the order of Trio's ready tasks.

``traded`` is a copy of a data directory whose demo has traded and stopped; it is made once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import hypothesis
import pytest

from kamou.data_directory.folder import DataDirectory
from kamou.runtime.determinism import seed_scheduler
from tests.site_client import Client, connect

FRESH_SEED = "KAMOU_FRESH_SEED"  # of the new simulation of each run; set it to repeat one


# Examples have no deadline, because other work on the machine makes an example slow.
hypothesis.settings.register_profile(
    "kamou", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("kamou")


def pytest_configure() -> None:
    # An inherited COLUMNS would wrap lines that no terminal wraps.
    os.environ.pop("COLUMNS", None)
    os.unsetenv("COLUMNS")  # readline sets it, and os.environ does not see it; processes inherit it
    os.environ.setdefault(FRESH_SEED, str(int.from_bytes(os.getrandom(4), "big")))


def pytest_report_header() -> str:
    """Return the line with the seed, printed first so that every failed run has it."""
    return f"fresh simulation: {FRESH_SEED}={os.environ[FRESH_SEED]}"


@pytest.fixture(autouse=True)
def _seeded_scheduler(request: pytest.FixtureRequest) -> None:
    """Seed the scheduler, so that a failure by the order of tasks is repeatable."""
    digest = hashlib.sha256(request.node.nodeid.encode()).digest()
    seed_scheduler(int.from_bytes(digest[:8], "big"))


@pytest.fixture
def client() -> Client:
    """Return a function that connects a client to an ASGI application."""
    return connect


@pytest.fixture(scope="session")
def _traded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import trio

    from tests import small_demo  # imports the whole system, so only for tests that use it

    folder = tmp_path_factory.mktemp("traded") / "data"
    trio.run(small_demo.trade_and_stop, small_demo.settings(folder))
    return folder


@pytest.fixture
def traded(_traded_once: Path, tmp_path: Path) -> DataDirectory:
    """Return a copy of a stopped run's data directory, with open positions."""
    return DataDirectory(shutil.copytree(_traded_once, tmp_path / "traded"))
