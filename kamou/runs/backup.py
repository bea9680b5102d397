"""Backup and restore of journal and exchange file, and their check before a run.

The two files are one consistent pair. A run cannot continue with the journal alone, because it
would begin a second history at a new exchange. A backup is two files, FILE and FILE.exchange; the
second has the digest of the first. A data directory without an exchange file gives FILE alone,
which cannot be restored.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import attrs

from kamou.data_directory.damage_check import check_damage
from kamou.data_directory.folder import DataDirectory, sync_directory
from kamou.data_directory.private_files import create_temporary
from kamou.errors import StoreError
from kamou.store import database
from kamou.store.journal import next_run_number
from kamou.venue.store import VenueStore

EXCHANGE_SUFFIX = ".exchange"
JOURNAL_DIGEST = "backup_journal_sha256"  # a row of the exchange copy's table meta
HASH_CHUNK_BYTES = 1 << 20  # read at once while hashing
LOCK_WAIT_MS = 5_000  # a run's transactions take milliseconds


@attrs.frozen(kw_only=True)
class Backup:
    """The files of one backup, and their total size in bytes."""

    journal: Path
    exchange: Path | None  # None: the data directory has no exchange file
    size: int


def exchange_copy_path(journal: Path) -> Path:
    """Return the path of the exchange's copy that belongs to a journal's copy."""
    return journal.with_name(journal.name + EXCHANGE_SUFFIX)


def back_up(data_dir: DataDirectory, to: Path) -> Backup:
    """Copy the journal and the exchange file as of one instant, also during a run.

    A file that this user may not write is not locked: then a run may change it between the two
    reads. Without an exchange file only the journal is copied. Each copy is checked, and complete
    before it gets its name. The exchange's copy is renamed first: after a crash between the two
    renames that copy is alone, and no restore accepts it.

    Raises:
        StoreError: a file has the name of a copy; journal, exchange file or a copy is damaged;
            the journal has a changed schema; one of them cannot be read or written; or a writer
            holds a lock too long (``LOCK_WAIT_MS``).
    """
    beside = exchange_copy_path(to)
    for taken in (to, beside):
        if taken.exists():
            raise StoreError(f"{taken} exists and a backup replaces no file; choose another name")
    if not data_dir.exchange.exists():
        return Backup(journal=to, exchange=None, size=database.copy_journal(data_dir.database, to))
    with ExitStack() as stack:
        journal = stack.enter_context(closing(database.open_backup_source(data_dir.database)))
        exchange = stack.enter_context(_exchange_reader(data_dir.exchange))
        with _unwritten(data_dir.exchange), _unwritten(data_dir.database):
            for reader in (journal, exchange):  # from here each reads its file as it is now
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        first = stack.enter_context(_temporary(to))
        second = stack.enter_context(_temporary(beside))
        with database.storage_errors(to, "write"):
            database.write_checked_copy(journal, first)
            database.write_checked_copy(exchange, second, {JOURNAL_DIGEST: _digest(first)})
        size = first.stat().st_size + second.stat().st_size
        second.rename(beside)
        first.rename(to)
        sync_directory(to.parent)
    return Backup(journal=to, exchange=beside, size=size)


def restore_backup(copy: Path, data_dir: DataDirectory) -> None:
    """Restore both files of a backup into a data directory that has neither file.

    The two new files are complete before the first one gets its final name. The exchange's file is
    renamed first, so a crash between the two renames leaves only that one; delete it and restore
    again.

    Raises:
        StoreError: the data directory has a journal, exchange, -wal or -shm file; a copy is
            missing, damaged, of another backup or of a newer Kamou, or has a changed schema; or a
            file cannot be written.
    """
    beside = exchange_copy_path(copy)
    _check_unoccupied(data_dir)
    check_backup_exists(copy)
    database.check_database(copy)
    with closing(VenueStore(beside, read_only=True)) as venue:
        venue.check_whole()
        if venue.meta(JOURNAL_DIGEST) != _digest(copy):
            raise StoreError(
                f"{beside} is not of the same backup as {copy}; put the .exchange file of that"
                " backup there, or name another backup"
            )
    with ExitStack() as stack, database.storage_errors(data_dir.path, "write"):
        pairs = [(beside, data_dir.exchange), (copy, data_dir.database)]
        made = [(stack.enter_context(_temporary(to)), source, to) for source, to in pairs]
        for temporary, source, _ in made:
            shutil.copyfile(source, temporary)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        # The exchange's file first: a run fails if the data directory has a journal alone.
        for temporary, _, to in made:
            temporary.rename(to)
        sync_directory(data_dir.path)


def check_backup_exists(copy: Path) -> None:
    """Check that both files of a backup exist.

    Raises:
        StoreError: one of them is missing.
    """
    beside = exchange_copy_path(copy)
    if not copy.exists():
        raise StoreError(f"{copy} does not exist; name a backup that `kamou db backup` wrote")
    if not beside.exists():
        raise StoreError(
            f"{beside} is missing, and a backup is the journal and the exchange's file together; "
            "copy both, or make a new backup with `kamou db backup`"
        )


def check_usable(data_dir: DataDirectory) -> None:
    """Check both files of a data directory before a run writes to them.

    Raises:
        StoreError: a file cannot be read, is damaged or has the write-ahead log of another copy;
            the exchange file is of a newer Kamou or has a changed schema; or the journal has a run
            and its exchange file is missing or new.
    """
    if data_dir.exchange.exists():
        with closing(VenueStore(data_dir.exchange)) as venue:
            venue.check_whole()
            begun = venue.meta("market") is not None
    else:
        begun = False
    if not data_dir.database.exists():
        return
    database.check_database(data_dir.database)
    with closing(sqlite3.connect(data_dir.database)) as journal:
        database.check_event_numbers(journal, data_dir.database)
        if not begun and _has_history(journal):
            raise StoreError(
                f"{data_dir.database} belongs to another exchange file: {data_dir.exchange} is "
                "missing or new, and one journal cannot have two histories; restore a backup of "
                "both into a new data directory with `kamou db restore`, or choose another one "
                "with --data-dir"
            )


def _has_history(journal: sqlite3.Connection) -> bool:
    try:
        return next_run_number(journal) > 1
    except sqlite3.OperationalError:  # no such table: the journal is empty
        return False


def _check_unoccupied(data_dir: DataDirectory) -> None:
    """Raise ``StoreError`` if a journal or exchange file, -wal or -shm file exists."""
    for path in (data_dir.database, data_dir.exchange):
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            if (data_dir.path / name).exists():
                raise StoreError(
                    f"{data_dir.path / name} exists, and a restore replaces no file; restore into "
                    "a new data directory with --data-dir"
                )


@contextmanager
def _exchange_reader(path: Path) -> Iterator[sqlite3.Connection]:
    with database.storage_errors(path, "read"):
        reader = sqlite3.connect(database.reader_uri(path), uri=True, isolation_level=None)
    with closing(reader):
        with database.storage_errors(path, "read"):
            check_damage(reader, path)
        yield reader


@contextmanager
def _unwritten(path: Path) -> Iterator[None]:
    """Lock the file against writers within the block, if this user may write it.

    Raises:
        StoreError: another writer holds the lock longer than ``LOCK_WAIT_MS``.
    """
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        yield
        return
    with database.storage_errors(path, "lock"):
        lock = sqlite3.connect(path, isolation_level=None, timeout=LOCK_WAIT_MS / 1000)
    with closing(lock):
        with database.storage_errors(path, "lock"):
            lock.execute("BEGIN IMMEDIATE")
        yield
        lock.execute("ROLLBACK")


@contextmanager
def _temporary(beside: Path) -> Iterator[Path]:
    """Create a file in the directory of ``beside``; remove it unless it was renamed."""
    with database.storage_errors(beside, "write"):
        descriptor, path = create_temporary(beside)
    os.close(descriptor)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()
