"""Fixtures of the store's tests: a writing connection to a new file, and its journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kamou.store import database
from kamou.store.journal import JournalWriter


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Yield the connection, and close it after the test."""
    made = database.open_writer(tmp_path / "kamou.sqlite3")
    yield made
    made.close()


@pytest.fixture
def writer(connection: sqlite3.Connection) -> JournalWriter:
    """Return the writer of the first run."""
    return JournalWriter(connection, run_number=1)
