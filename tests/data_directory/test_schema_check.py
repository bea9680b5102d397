"""A planted trigger or a changed table of ours is refused before ours run; readers look on."""

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

STRANGER = 12_345  # a user id that owns nothing here

Opened = Callable[[Path], Any]


def journal(path: Path) -> None:
    """Open the journal's database as ``kamou run`` does."""
    database.open_writer(path, durable=False).close()


def venue(path: Path) -> None:
    """Open the embedded exchange's file as ``kamou run`` does."""
    VenueStore(path, durable=False).close()


def changed(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def rewritten(path: Path, before: str, after: str) -> None:
    """Change the text of the schema behind SQLite's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?)", (before, after))


PLANTED = "CREATE TRIGGER planted AFTER INSERT ON meta BEGIN DELETE FROM meta; END"


@pytest.mark.parametrize("opened", [journal, venue])
def test_a_planted_trigger_is_refused_and_nothing_is_written(
    tmp_path: Path, opened: Opened
) -> None:
    path = tmp_path / "file.sqlite3"
    opened(path)
    changed(path, PLANTED, "INSERT INTO meta VALUES ('key', 'value')")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="the trigger planted is not Kamou's") as caught:
        opened(path)
    assert "restore the file from a backup" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("opened", [journal, venue])
def test_a_trigger_in_a_file_without_our_schema_is_refused_before_ours_is_made(
    tmp_path: Path, opened: Opened
) -> None:
    path = tmp_path / "file.sqlite3"
    changed(path, "CREATE TABLE other (key, value)", PLANTED.replace("meta", "other"))
    with pytest.raises(StoreError, match="the trigger planted"):
        opened(path)
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        assert tables.fetchall() == [("other",)]


@pytest.mark.parametrize(
    ("opened", "statement", "words"),
    [
        (journal, "ALTER TABLE fill ADD COLUMN odd TEXT", "the table fill is not as Kamou made it"),
        (journal, "DROP TABLE snapshot", "the table snapshot is missing"),
        (journal, "DROP TRIGGER event_never_leaves", "the trigger event_never_leaves is missing"),
        (venue, "ALTER TABLE positions RENAME COLUMN body TO soul", "the table positions is not"),
        (venue, "DROP TABLE income", "the table income is missing"),
    ],
)
def test_a_changed_or_missing_table_or_trigger_of_ours_is_refused(
    tmp_path: Path, opened: Opened, statement: str, words: str
) -> None:
    path = tmp_path / "file.sqlite3"
    opened(path)
    changed(path, statement)
    with pytest.raises(StoreError, match=words):
        opened(path)


def test_a_trigger_of_ours_that_was_rewritten_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite3"
    journal(path)
    rewritten(path, "SELECT RAISE(ABORT, 'the journal is append-only')", "SELECT 1")
    with pytest.raises(StoreError, match="the trigger event_never_changes is not Kamou's"):
        journal(path)


@pytest.mark.parametrize("opened", [journal, venue])
def test_indexes_views_and_tables_of_others_are_left_alone(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "file.sqlite3"
    opened(path)
    changed(
        path,
        "CREATE INDEX faster ON meta (value)",
        "CREATE VIEW look AS SELECT * FROM meta",
        "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY)",
        "ANALYZE",
    )
    opened(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM look").fetchone()


def test_a_backup_of_a_changed_database_is_refused_and_none_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite3"
    journal(path)
    changed(path, PLANTED)
    with pytest.raises(StoreError, match="the trigger planted"):
        database.copy_journal(path, tmp_path / "backup.sqlite3")
    with pytest.raises(StoreError, match="the trigger planted"):
        database.migrate_journal(path)
    assert {p.name for p in tmp_path.iterdir()} == {"file.sqlite3"}


def test_flatten_opens_a_changed_venue_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite3"
    venue(path)
    changed(path, PLANTED)
    said: list[str] = []
    VenueStore(path, on_changed_schema=said.append).close()
    assert len(said) == 1
    assert "planted" in said[0]


def test_many_changes_are_counted_and_five_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite3"
    journal(path)
    changed(path, *(PLANTED.replace("planted", f"planted_{n}") for n in range(8)))
    with pytest.raises(StoreError, match="and 3 more"):
        journal(path)


def test_a_database_made_by_sqlite_utils_is_as_the_check_expects_it(tmp_path: Path) -> None:
    """The canary: another version of sqlite-utils may write its own table another way."""
    path = tmp_path / "file.sqlite3"
    journal(path)
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = '_sqlite_migrations'"
        ).fetchone()
    assert made == (MIGRATIONS_TABLE,)


# --- reading where nothing may be written ------------------------------------------------------

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
    """Make a folder that other users may enter. Each start of pytest closes its own to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def read_as_stranger() -> Callable[[Path], str]:
    """Open a database in a process of a user who may read it and not write beside it."""
    if os.geteuid() != 0:
        pytest.skip("only root may start a process of another user")

    def read(path: Path) -> str:
        path.parent.chmod(0o755)
        for each in path.parent.iterdir():
            each.chmod(0o644)
        done = subprocess.run(
            [sys.executable, "-c", READER.format(stranger=STRANGER), str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return read


def made(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "kamou.sqlite3"
    with closing(database.open_writer(path)) as writer:
        writer.execute("INSERT INTO meta VALUES ('key', 'kept')")
    return path


def test_a_cleanly_closed_database_is_read_in_a_folder_that_may_not_be_written(
    open_path: Path, read_as_stranger: Callable[[Path], str]
) -> None:
    path = made(open_path / "data")
    assert [p.name for p in path.parent.iterdir()] == ["kamou.sqlite3"]
    assert path.read_bytes()[18] == 2, "written with a write-ahead log (fileformat.html, 1.3.3)"
    assert read_as_stranger(path) == "[('kept',)]"


def test_a_backup_is_read_in_a_folder_that_may_not_be_written(
    open_path: Path, read_as_stranger: Callable[[Path], str]
) -> None:
    backup = open_path / "backups" / "backup.sqlite3"
    backup.parent.mkdir()
    database.copy_journal(made(open_path / "data"), backup)
    assert read_as_stranger(backup) == "[('kept',)]"


def test_a_database_with_events_in_its_log_alone_is_refused_with_the_true_reason(
    open_path: Path, read_as_stranger: Callable[[Path], str]
) -> None:
    path, copy = made(open_path / "data"), open_path / "copy"
    copy.mkdir()
    with closing(database.open_writer(path)) as writer:
        writer.execute("UPDATE meta SET value = 'newer'")
        for name in ("kamou.sqlite3", "kamou.sqlite3-wal"):
            shutil.copy(path.with_name(name), copy / name)
    words = read_as_stranger(copy / "kamou.sqlite3")
    assert words.startswith("StoreError: ")
    assert "was not closed properly" in words
    assert "copy both files to a directory of yours" in words


def test_a_database_that_is_in_use_is_read_in_a_folder_that_may_not_be_written(
    open_path: Path, read_as_stranger: Callable[[Path], str]
) -> None:
    path = made(open_path / "data")
    with closing(database.open_writer(path)) as writer:
        writer.execute("UPDATE meta SET value = 'newer'")
        assert read_as_stranger(path) == "[('newer',)]"


def test_a_database_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "data")

    monkeypatch.setattr(database.os, "access", lambda *_: False)
    with pytest.raises(StoreError, match="Permission denied; check the directory"):
        database.open_reader(path)
