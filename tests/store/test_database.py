"""Open, check, migrate and copy the database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kamou.data_directory.folder import DataDirectory
from kamou.errors import DatabaseNewerError, DiskFullError, StoreError
from kamou.store import database
from kamou.store.journal import JournalWriter
from kamou.store.migrations import JOURNAL_MIGRATIONS, MIGRATION_SET
from tests.store import story


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kamou.sqlite3"


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_writer_is_durable_by_default(path: Path) -> None:
    writer = database.open_writer(path)
    assert (pragma(writer, "journal_mode"), pragma(writer, "synchronous")) == ("wal", 2)
    database.set_durable(writer, durable=False)
    assert pragma(writer, "synchronous") == 0
    writer.close()


def test_a_reader_cannot_write(path: Path) -> None:
    database.open_writer(path).close()
    reader = database.open_reader(path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("INSERT INTO meta VALUES ('a', 'b')")
    reader.close()


def test_the_error_for_a_missing_database_names_the_command_that_creates_it(path: Path) -> None:
    with pytest.raises(StoreError, match="kamou run"):
        database.open_reader(path)


def test_a_database_of_a_newer_kamou_does_not_open_and_says_to_upgrade(path: Path) -> None:
    writer = database.open_writer(path)
    writer.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, '')",
        (MIGRATION_SET, "9999_from_the_future"),
    )
    writer.close()
    for open_database in (database.open_writer, database.open_reader):
        with pytest.raises(DatabaseNewerError) as error:
            open_database(path)
        assert "9999_from_the_future" in str(error.value)
        assert max(JOURNAL_MIGRATIONS) in str(error.value)
        assert "upgrade" in str(error.value)


def test_a_database_of_an_older_schema_does_not_open_and_is_unchanged(path: Path) -> None:
    writer = database.open_writer(path)
    writer.execute("UPDATE _sqlite_migrations SET name = '0010_config_changes'")
    writer.close()
    before = path.read_bytes()
    for open_database in (database.open_writer, database.open_reader):
        with pytest.raises(StoreError) as error:
            open_database(path)
        text = str(error.value)
        assert "written by an older Kamou" in text
        assert "0010_config_changes" in text
        assert "another --data-dir" in text
        assert "\n" not in text
    assert path.read_bytes() == before


def test_a_reader_does_not_open_a_database_without_a_schema(path: Path) -> None:
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(StoreError, match="db migrate"):
        database.open_reader(path)


def test_a_migration_is_applied_and_named_once(path: Path) -> None:
    assert database.migrate_journal(path) == tuple(JOURNAL_MIGRATIONS)
    assert database.migrate_journal(path) == ()


@pytest.mark.parametrize("make", ["directory missing", "a directory", "not a database"])
def test_the_error_for_a_database_that_cannot_be_opened_has_its_path(
    tmp_path: Path, make: str
) -> None:
    path = tmp_path / "x" / "kamou.sqlite3"
    if make == "a directory":
        path.mkdir(parents=True)
    elif make == "not a database":
        path.parent.mkdir()
        path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError) as error:
        database.open_writer(path)
    assert str(path) in str(error.value)
    assert "check" in str(error.value)


def test_a_writer_of_an_unwritable_database_fails_when_it_opens(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.open_writer(path).close()
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root
    with pytest.raises(StoreError, match="Permission denied"):
        database.open_writer(path)


def test_a_full_disk_of_sqlite_and_of_the_system_is_one_error(path: Path) -> None:
    with pytest.raises(DiskFullError, match="free some space"), database.storage_errors(path, "x"):
        raise OSError(28, "No space left on device")
    writer = database.open_writer(path)
    writer.execute(f"PRAGMA max_page_count = {pragma(writer, 'page_count')}")
    with pytest.raises(DiskFullError), database.storage_errors(path, "write"):
        writer.execute("INSERT INTO meta VALUES ('a', ?)", ("x" * 100_000,))
    writer.close()


def test_a_backup_of_a_database_in_use_is_complete(path: Path, tmp_path: Path) -> None:
    writer = database.open_writer(path)
    JournalWriter(writer, run_number=1).append(story.opening_events())
    to = tmp_path / "copy.sqlite3"
    size = database.copy_journal(path, to)
    assert size == to.stat().st_size
    assert sorted(p.name for p in tmp_path.iterdir() if "copy" in p.name) == ["copy.sqlite3"]
    copy = database.open_reader(to)
    assert copy.execute("SELECT count(*) FROM event").fetchone() == (len(story.opening_events()),)
    copy.close()
    writer.close()


def test_a_backup_replaces_no_file(path: Path, tmp_path: Path) -> None:
    database.open_writer(path).close()
    with pytest.raises(StoreError, match="replaces no file"):
        database.copy_journal(path, path)
    assert database.open_reader(path).execute("SELECT count(*) FROM event").fetchone() == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET at_ms = 0",
        "DELETE FROM event",
        "INSERT OR REPLACE INTO event VALUES (1, 1, 0, 'x', NULL, '', 1, x'00')",
        "REPLACE INTO event VALUES (9, 1, 0, 'cycle_closed', 'k', '', 1, x'00')",
    ],
)
def test_a_recorded_event_cannot_be_changed_or_deleted(path: Path, statement: str) -> None:
    database.open_writer(path).close()
    writer = database.open_writer(path)  # an existing database, as for every run but the first
    writer.execute("INSERT INTO event VALUES (1, 1, 0, 'cycle_closed', 'k', '', 1, x'7b7d')")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        writer.execute(statement)
    writer.close()


@pytest.mark.parametrize("body", ["'{}'", "x'7b' || x'7d'"])
def test_an_event_body_that_is_not_a_blob_is_not_stored(path: Path, body: str) -> None:
    writer = database.open_writer(path)
    with pytest.raises(sqlite3.IntegrityError):
        writer.execute(f"INSERT INTO event VALUES (1, 1, 0, 'x', NULL, '', 1, {body})")
    writer.close()


WRITE_AND_CLOSE = """
import sys
from kamou.store import database
writer = database.open_writer(sys.argv[1])
writer.execute("INSERT OR REPLACE INTO meta VALUES ('key', ?)", (sys.argv[2],))
writer.close()
"""


def test_closing_a_second_reader_of_a_process_keeps_the_locks_of_the_first(path: Path) -> None:
    """Without them, another process's writer deletes the log of the first reader."""

    def write_elsewhere(value: str) -> None:
        subprocess.run([sys.executable, "-c", WRITE_AND_CLOSE, str(path), value], check=True)

    def read() -> list[object]:
        return reader.execute("SELECT value FROM meta WHERE key = 'key'").fetchall()

    write_elsewhere("first")
    with closing(database.open_reader(path)) as reader:
        assert read() == [("first",)]
        database.open_reader(path).close()
        path.parent.chmod(0o755)
        DataDirectory(path.parent).create()  # checks that the database is Kamou's
        write_elsewhere("second")
        assert path.with_name(path.name + "-wal").exists()
        assert read() == [("second",)]
        write_elsewhere("third")
        assert read() == [("third",)]
