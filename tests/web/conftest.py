"""Published records for tests, and sites of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamou.core.kinds import RunMode
from kamou.store import database
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import inline
from tests.web.published_record import write_record


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a record of 40 daily rows, half a day, 80 trades, deposit, halt, downtime."""
    path = tmp_path_factory.mktemp("record") / "kamou.sqlite3"
    write_record(path, flow_day=20, down_days=2)
    return path


@pytest.fixture(scope="session")
def young_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a record of three complete days, which are too few for any statistic."""
    path = tmp_path_factory.mktemp("young") / "kamou.sqlite3"
    write_record(path, days=3)
    return path


@pytest.fixture
def empty_record(tmp_path: Path) -> Path:
    """Return a new database without a run in its journal."""
    path = tmp_path / "empty.sqlite3"
    database.migrate_journal(path)
    return path


@pytest.fixture
def demo() -> Site:
    return Site(mode=RunMode.DEMO, assumed_live=True)


@pytest.fixture
def public(record: Path, demo: Site) -> PublicSite:
    return PublicSite(record, demo, runner=inline)
