"""What every test gets: Trio schedules ready tasks in an order seeded by the test's name.

And what several files need: a data directory whose demo has traded and stopped, made once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from site_client import Client, connect

from kamou.data_directory.folder import DataDirectory
from kamou.runtime.determinism import seed_scheduler

FRESH_SEED = "KAMOU_FRESH_SEED"  # of the world nobody has seen; set it to see one again


def pytest_configure() -> None:
    # Set where tests run side by side; it would break lines that no terminal breaks.
    os.environ.pop("COLUMNS", None)
    os.unsetenv("COLUMNS")  # readline sets it, and os.environ does not see it; processes inherit it
    os.environ.setdefault(FRESH_SEED, str(int.from_bytes(os.getrandom(4), "big")))


def pytest_report_header() -> str:
    """Printed first, so that the seed is known however the run ends; workers inherit it."""
    return f"fresh world: {FRESH_SEED}={os.environ[FRESH_SEED]}"


@pytest.fixture(autouse=True)
def _seeded_scheduler(request: pytest.FixtureRequest) -> None:
    """A failure that depends on the order of tasks comes back with the same test."""
    digest = hashlib.sha256(request.node.nodeid.encode()).digest()
    seed_scheduler(int.from_bytes(digest[:8], "big"))


@pytest.fixture
def client() -> Client:
    """How a test talks to an ASGI application."""
    return connect


@pytest.fixture(scope="session")
def _traded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import small_demo  # the whole system: only for the tests that ask for it
    import trio

    folder = tmp_path_factory.mktemp("traded") / "data"
    trio.run(small_demo.trade_and_stop, small_demo.settings(folder))
    return folder


@pytest.fixture
def traded(_traded_once: Path, tmp_path: Path) -> DataDirectory:
    """A folder of its own: two days of history, some of real time, positions open, stopped."""
    return DataDirectory(shutil.copytree(_traded_once, tmp_path / "traded"))
