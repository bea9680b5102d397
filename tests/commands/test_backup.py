"""``kamou db backup`` and ``restore``: journal and exchange file as one pair."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kamou.core.day import MINUTE_MS
from kamou.data_directory.folder import DataDirectory
from kamou.errors import StoreError
from kamou.runs import backup
from kamou.store import database
from tests.small_demo import (
    NOW_MS,
    assert_same_book,
    fills_of,
    journal,
    run_table,
    serving,
    settings,
)

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def copy(cli: Cli, traded: DataDirectory, tmp_path: Path) -> Path:
    code, out, err = cli("db", "backup", "copy.sqlite3", "--json", "--data-dir", traded.path)
    assert code == 0, err
    assert json.loads(out)["exchange"] == "copy.sqlite3.exchange"
    return tmp_path / "copy.sqlite3"


def test_a_restored_backup_has_the_same_journal_fills_and_book(
    cli: Cli, traded: DataDirectory, copy: Path, tmp_path: Path
) -> None:
    elsewhere = DataDirectory(tmp_path / "elsewhere")
    code, out, err = cli("db", "restore", copy, "--data-dir", elsewhere.path)
    assert code == 0, err
    assert "restored" in out
    assert journal(elsewhere) == journal(traded)
    assert fills_of(elsewhere) == fills_of(traded)
    assert_same_book(elsewhere)


async def test_a_later_run_continues_from_a_backup_made_during_a_run(
    traded: DataDirectory, tmp_path: Path
) -> None:
    async with serving(settings(traded.path), now_ms=NOW_MS + MINUTE_MS) as running:
        await running.ready()
        backup.back_up(traded, tmp_path / "copy")
    elsewhere = DataDirectory(tmp_path / "elsewhere")
    elsewhere.create()
    backup.restore_backup(tmp_path / "copy", elsewhere)
    async with serving(settings(elsewhere.path), now_ms=NOW_MS + 2 * MINUTE_MS) as again:
        await again.ready()
    assert_same_book(elsewhere)
    assert len(run_table(elsewhere)) == len(run_table(traded)) + 1


def test_both_files_of_a_backup_are_of_one_moment(traded: DataDirectory, tmp_path: Path) -> None:
    """At the start of the copies no connection can write either file."""
    seen: list[str] = []
    real = backup._unwritten

    class Probe:
        def __init__(self, path: Path) -> None:
            self.inner = real(path)

        def __enter__(self) -> None:
            self.inner.__enter__()

        def __exit__(self, *error: object) -> None:
            for path in (traded.database, traded.exchange):
                with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
                    try:
                        other.execute("BEGIN IMMEDIATE")
                    except sqlite3.OperationalError:
                        seen.append(path.name)
            self.inner.__exit__(None, None, None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "_unwritten", Probe)
        backup.back_up(traded, tmp_path / "copy")
    assert seen[:2] == [traded.database.name, traded.exchange.name]


def test_a_backup_without_its_exchange_file_is_not_restored(
    cli: Cli, copy: Path, tmp_path: Path
) -> None:
    backup.exchange_copy_path(copy).unlink()
    code, _, err = cli("db", "restore", copy, "--data-dir", tmp_path / "elsewhere")
    assert code == 1
    assert "is missing" in err
    assert not DataDirectory(tmp_path / "elsewhere").database.exists()


def test_files_of_two_backups_are_not_restored_together(
    cli: Cli, traded: DataDirectory, copy: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(traded.database)) as changed:
        changed.execute("INSERT OR REPLACE INTO meta VALUES ('later', '1')")
        changed.commit()
    backup.back_up(traded, tmp_path / "later")
    shutil.copy(backup.exchange_copy_path(tmp_path / "later"), backup.exchange_copy_path(copy))
    code, _, err = cli("db", "restore", copy, "--data-dir", tmp_path / "elsewhere")
    assert code == 1
    assert "not of the same backup" in err


def test_a_damaged_backup_is_not_restored(cli: Cli, copy: Path, tmp_path: Path) -> None:
    body = bytearray(copy.read_bytes())
    body[8_192:40_960] = 32_768 * b"x"
    copy.write_bytes(body)
    code, _, err = cli("db", "restore", copy, "--data-dir", tmp_path / "elsewhere")
    assert code == 1
    assert f"{copy} is damaged" in err


@pytest.mark.parametrize("there", ["kamou.sqlite3", "exchange.sqlite3", "kamou.sqlite3-wal"])
def test_a_restore_replaces_no_existing_file(
    cli: Cli, copy: Path, tmp_path: Path, there: str
) -> None:
    directory = DataDirectory(tmp_path / "elsewhere")
    directory.create()
    (directory.path / there).touch()
    code, _, err = cli("db", "restore", copy, "--data-dir", directory.path)
    assert code == 1
    assert "restore into a new data directory" in err


def test_a_run_fails_with_a_journal_whose_exchange_file_is_missing(
    cli: Cli, traded: DataDirectory
) -> None:
    before = journal(traded)
    traded.exchange.unlink()
    for _ in range(2):
        code, _, err = cli("run", "--port", 0, "--operator-port", 0, "--data-dir", traded.path)
        errors = [line for line in err.splitlines() if line.startswith("error:")]
        assert (code, len(errors)) == (1, 1)
        assert "belongs to another exchange file" in errors[0]
    assert journal(traded) == before
    assert not traded.exchange.exists(), "the failed run creates no exchange file"


def test_an_older_database_with_a_newer_wal_file_is_reported_as_damaged(tmp_path: Path) -> None:
    """Between the two files a part of the history is missing."""
    directory = DataDirectory(tmp_path / "data")
    directory.create()
    with closing(database.open_writer(directory.database)) as writer:
        _append(writer, 1, 400)
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        older = directory.database.read_bytes()
        _append(writer, 401, 1_200)
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _append(writer, 1_201, 1_210)
        newer_log = Path(f"{directory.database}-wal").read_bytes()
    assert newer_log
    directory.database.write_bytes(older)
    Path(f"{directory.database}-wal").write_bytes(newer_log)
    with pytest.raises(StoreError, match="is damaged"):
        backup.check_usable(directory)


def _append(writer: sqlite3.Connection, first: int, last: int) -> None:
    columns = [row[1] for row in writer.execute("PRAGMA table_info(event)")]
    kinds = {row[1]: row[2] for row in writer.execute("PRAGMA table_info(event)")}
    for seq in range(first, last + 1):
        row = [
            seq
            if name == "seq"
            else (b"x" * 300 if kinds[name] == "BLOB" else f"{seq}")
            if kinds[name] != "INTEGER"
            else seq
            for name in columns
        ]
        writer.execute(f"INSERT INTO event VALUES ({', '.join('?' * len(row))})", row)


async def test_an_orderly_stop_empties_the_wal_file_despite_an_open_reader(
    traded: DataDirectory,
) -> None:
    with closing(database.open_reader(traded.database)) as reader:
        async with serving(settings(traded.path), now_ms=NOW_MS + MINUTE_MS) as running:
            await running.ready()
            assert reader.execute("SELECT max(seq) FROM event").fetchone()[0]
        assert _log_bytes(traded) == 0


def _log_bytes(directory: DataDirectory) -> int:
    log = Path(f"{directory.database}-wal")
    return log.stat().st_size if log.exists() else 0
