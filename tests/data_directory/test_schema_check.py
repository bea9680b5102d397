"""Tests of the schema check, and of reading databases in read-only directories."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kamou.errors import StoreError
from kamou.store import database
from kamou.store.migrations import MIGRATIONS_TABLE
from kamou.venue.store import VenueStore

OTHER_USER = 12_345  # a user id without files here

OpenFile = Callable[[Path], Any]


def open_journal(path: Path) -> None:
    """Open the journal's database as ``kamou run`` does."""
    database.open_writer(path, durable=False).close()


def open_venue(path: Path) -> None:
    """Open the embedded exchange's file as ``kamou run`` does."""
    VenueStore(path, durable=False).close()


def run_statements(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def rewrite_schema(path: Path, before: str, after: str) -> None:
    """Change the text of the schema without SQLite's checks."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?)", (before, after))


PLANTED = "CREATE TRIGGER planted AFTER INSERT ON meta BEGIN DELETE FROM meta; END"


@pytest.mark.parametrize("open_file", [open_journal, open_venue])
def test_an_added_trigger_is_an_error_and_nothing_is_written(
    tmp_path: Path, open_file: OpenFile
) -> None:
    path = tmp_path / "file.sqlite3"
    open_file(path)
    run_statements(path, PLANTED, "INSERT INTO meta VALUES ('key', 'value')")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="the trigger planted is not Kamou's") as caught:
        open_file(path)
    assert "restore the file from a backup" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("open_file", [open_journal, open_venue])
def test_a_trigger_in_a_database_without_kamous_schema_is_an_error_before_any_write(
    tmp_path: Path, open_file: OpenFile
) -> None:
    path = tmp_path / "file.sqlite3"
    run_statements(path, "CREATE TABLE other (key, value)", PLANTED.replace("meta", "other"))
    with pytest.raises(StoreError, match="the trigger planted"):
        open_file(path)
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        assert tables.fetchall() == [("other",)]


@pytest.mark.parametrize(
    ("open_file", "statement", "words"),
    [
        (
            open_journal,
            "ALTER TABLE fill ADD COLUMN odd TEXT",
            "the table fill is not as Kamou made it",
        ),
        (open_journal, "DROP TABLE snapshot", "the table snapshot is missing"),
        (
            open_journal,
            "DROP TRIGGER event_never_leaves",
            "the trigger event_never_leaves is missing",
        ),
        (
            open_venue,
            "ALTER TABLE positions RENAME COLUMN body TO soul",
            "the table positions is not",
        ),
        (open_venue, "DROP TABLE income", "the table income is missing"),
    ],
)
def test_a_changed_or_missing_table_or_trigger_of_kamou_is_an_error(
    tmp_path: Path, open_file: OpenFile, statement: str, words: str
) -> None:
    path = tmp_path / "file.sqlite3"
    open_file(path)
    run_statements(path, statement)
    with pytest.raises(StoreError, match=words):
        open_file(path)


def test_a_rewritten_trigger_of_kamou_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite3"
    open_journal(path)
    rewrite_schema(path, "SELECT RAISE(ABORT, 'the journal is append-only')", "SELECT 1")
    with pytest.raises(StoreError, match="the trigger event_never_changes is not Kamou's"):
        open_journal(path)


@pytest.mark.parametrize("open_file", [open_journal, open_venue])
def test_additional_indexes_views_and_tables_are_allowed(
    tmp_path: Path, open_file: OpenFile
) -> None:
    path = tmp_path / "file.sqlite3"
    open_file(path)
    run_statements(
        path,
        "CREATE INDEX faster ON meta (value)",
        "CREATE VIEW look AS SELECT * FROM meta",
        "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY)",
        "ANALYZE",
    )
    open_file(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM look").fetchone()


def test_a_backup_of_a_changed_database_fails_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite3"
    open_journal(path)
    run_statements(path, PLANTED)
    with pytest.raises(StoreError, match="the trigger planted"):
        database.copy_journal(path, tmp_path / "backup.sqlite3")
    with pytest.raises(StoreError, match="the trigger planted"):
        database.migrate_journal(path)
    assert {p.name for p in tmp_path.iterdir()} == {"file.sqlite3"}


def test_a_venue_file_with_a_changed_schema_opens_if_the_caller_takes_the_warning(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file.sqlite3"
    open_venue(path)
    run_statements(path, PLANTED)
    said: list[str] = []
    VenueStore(path, on_changed_schema=said.append).close()
    assert len(said) == 1
    assert "planted" in said[0]


def test_of_eight_changes_of_the_schema_three_are_only_counted(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite3"
    open_journal(path)
    run_statements(path, *(PLANTED.replace("planted", f"planted_{n}") for n in range(8)))
    with pytest.raises(StoreError, match="and 3 more"):
        open_journal(path)


def test_the_migrations_table_of_sqlite_utils_is_the_expected_one(tmp_path: Path) -> None:
    """Another version of sqlite-utils may write its own table differently."""
    path = tmp_path / "file.sqlite3"
    open_journal(path)
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = '_sqlite_migrations'"
        ).fetchone()
    assert row == (MIGRATIONS_TABLE,)


# --- read-only directories ---------------------------------------------------------------------

READER = """
import os, sys
from pathlib import Path
import kamou.store.database as database, kamou.store.queries, encodings.idna
os.setgroups([]); os.setgid({stranger}); os.setuid({stranger})
try:
    reader = database.open_reader(Path(sys.argv[1]))
    print(reader.execute("SELECT value FROM meta").fetchall())
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Yield a directory that other users may enter; they may not enter pytest's."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def read_as_other_user() -> Callable[[Path], str]:
    """Return a function that reads a database as a user without write access."""
    if os.geteuid() != 0:
        pytest.skip("only root may start a process of another user")

    def read(path: Path) -> str:
        path.parent.chmod(0o755)
        for each in path.parent.iterdir():
            each.chmod(0o644)
        done = subprocess.run(
            [sys.executable, "-c", READER.format(stranger=OTHER_USER), str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return read


def make_database(directory: Path) -> Path:
    directory.mkdir()
    path = directory / "kamou.sqlite3"
    with closing(database.open_writer(path)) as writer:
        writer.execute("INSERT INTO meta VALUES ('key', 'kept')")
    return path


def test_a_cleanly_closed_database_is_read_in_a_read_only_directory(
    open_path: Path, read_as_other_user: Callable[[Path], str]
) -> None:
    path = make_database(open_path / "data")
    assert [p.name for p in path.parent.iterdir()] == ["kamou.sqlite3"]
    assert path.read_bytes()[18] == 2, "written with a write-ahead log (fileformat.html, 1.3.3)"
    assert read_as_other_user(path) == "[('kept',)]"


def test_a_backup_is_read_in_a_read_only_directory(
    open_path: Path, read_as_other_user: Callable[[Path], str]
) -> None:
    backup = open_path / "backups" / "backup.sqlite3"
    backup.parent.mkdir()
    database.copy_journal(make_database(open_path / "data"), backup)
    assert read_as_other_user(backup) == "[('kept',)]"


def test_a_read_only_copy_with_a_change_only_in_its_write_ahead_log_is_an_error(
    open_path: Path, read_as_other_user: Callable[[Path], str]
) -> None:
    path, copy = make_database(open_path / "data"), open_path / "copy"
    copy.mkdir()
    with closing(database.open_writer(path)) as writer:
        writer.execute("UPDATE meta SET value = 'newer'")
        for name in ("kamou.sqlite3", "kamou.sqlite3-wal"):
            shutil.copy(path.with_name(name), copy / name)
    words = read_as_other_user(copy / "kamou.sqlite3")
    assert words.startswith("StoreError: ")
    assert "was not closed properly" in words
    assert "copy both files to a directory of yours" in words


def test_a_database_that_is_in_use_is_read_in_a_read_only_directory(
    open_path: Path, read_as_other_user: Callable[[Path], str]
) -> None:
    path = make_database(open_path / "data")
    with closing(database.open_writer(path)) as writer:
        writer.execute("UPDATE meta SET value = 'newer'")
        assert read_as_other_user(path) == "[('newer',)]"


def test_a_database_that_may_not_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_database(tmp_path / "data")

    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreError, match="Permission denied; check that its directory exists"):
        database.open_reader(path)
