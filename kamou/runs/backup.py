"""Backups: journal and exchange file as one consistent pair, and their way back.

The journal alone is half a history: a run would begin a second one at a new exchange. So a backup
is two files, FILE and FILE.exchange. The second one keeps the digest of the first.
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

from kamou.data_directory.damage_check import refuse_damaged
from kamou.data_directory.folder import DataDirectory, sync_folder
from kamou.data_directory.private_files import create_temporary
from kamou.errors import StoreError
from kamou.store import database
from kamou.store.journal import next_run_number
from kamou.venue.store import VenueStore

EXCHANGE_SUFFIX = ".exchange"
JOURNAL_DIGEST = "backup_journal_sha256"  # a note in the exchange's copy
HASH_CHUNK_BYTES = 1 << 20  # read at once while hashing
LOCK_WAIT_MS = 5_000  # a run's transactions take some milliseconds each


@attrs.frozen(kw_only=True)
class Backup:
    """The files of one backup, and their size in bytes together."""

    journal: Path
    exchange: Path | None  # None: the folder has no exchange file
    size: int


def exchange_of(journal: Path) -> Path:
    """Return the name of the exchange's copy beside the journal's."""
    return journal.with_name(journal.name + EXCHANGE_SUFFIX)


def back_up(folder: DataDirectory, to: Path) -> Backup:
    """Copy journal and exchange file as they stand at one moment, in use or not.

    Each copy is checked. Both appear, or neither does.

    Raises:
        StoreError: a name is taken, a file is damaged, or one cannot be read or written.
    """
    beside = exchange_of(to)
    for taken in (to, beside):
        if taken.exists():
            raise StoreError(f"{taken} exists; choose another name, a backup replaces nothing")
    if not folder.exchange.exists():
        return Backup(journal=to, exchange=None, size=database.copy_journal(folder.database, to))
    with ExitStack() as stack:
        journal = stack.enter_context(closing(database.open_backup_source(folder.database)))
        exchange = stack.enter_context(_exchange_reader(folder.exchange))
        with _unwritten(folder.exchange), _unwritten(folder.database):
            for reader in (journal, exchange):  # from here each sees its file as it is now
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        first = stack.enter_context(_temporary(to))
        second = stack.enter_context(_temporary(beside))
        with database.storage_errors(to, "write"):
            database.copy_whole(journal, first)
            database.copy_whole(exchange, second, {JOURNAL_DIGEST: _digest(first)})
        size = first.stat().st_size + second.stat().st_size
        second.rename(beside)
        first.rename(to)
        sync_folder(to.parent)
    return Backup(journal=to, exchange=beside, size=size)


def restore_backup(copy: Path, folder: DataDirectory) -> None:
    """Bring a backup's pair into a data directory that has neither file. Both, or neither.

    Raises:
        StoreError: the folder has one of them, or the copies are incomplete, damaged or no pair.
    """
    beside = exchange_of(copy)
    _refuse_occupied(folder)
    refuse_missing(copy)
    database.check_whole(copy)
    with closing(VenueStore(beside, read_only=True)) as venue:
        venue.check_whole()
        if venue.meta(JOURNAL_DIGEST) != _digest(copy):
            raise StoreError(f"{beside} was not made with {copy}: they are no pair")
    with ExitStack() as stack, database.storage_errors(folder.path, "write"):
        pairs = [(beside, folder.exchange), (copy, folder.database)]
        made = [(stack.enter_context(_temporary(to)), source, to) for source, to in pairs]
        for temporary, source, _ in made:
            shutil.copyfile(source, temporary)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        for temporary, _, to in made:  # the exchange's first: a run refuses a journal alone
            temporary.rename(to)
        sync_folder(folder.path)


def refuse_missing(copy: Path) -> None:
    """Look for both files of a backup.

    Raises:
        StoreError: one of them is not there.
    """
    beside = exchange_of(copy)
    if not copy.exists():
        raise StoreError(f"{copy}: there is no such backup; name one that `kamou db backup` wrote")
    if not beside.exists():
        raise StoreError(
            f"{beside} is missing: a backup is the journal and the exchange's file together; "
            "copy both, or make a new one with `kamou db backup`"
        )


def refuse_unusable(folder: DataDirectory) -> None:
    """Look at both files of a data directory before a run writes to them.

    Raises:
        StoreError: one of them is damaged or mixed up with another copy's log, or the journal has
            a history and its exchange file is missing.
    """
    if folder.exchange.exists():
        with closing(VenueStore(folder.exchange)) as venue:
            venue.check_whole()
            begun = venue.meta("market") is not None
    else:
        begun = False
    if not folder.database.exists():
        return
    database.check_whole(folder.database)
    with closing(sqlite3.connect(folder.database)) as journal:
        database.refuse_gaps(journal, folder.database)
        if not begun and _has_history(journal):
            raise StoreError(
                f"{folder.database} has the history of another exchange: {folder.exchange} is "
                "missing or new, and a second history may not begin in one journal; restore both "
                "with `kamou db restore`, or choose another data directory with --data-dir"
            )


def _has_history(journal: sqlite3.Connection) -> bool:
    try:
        return next_run_number(journal) > 1
    except sqlite3.OperationalError:  # no such table: nothing was ever written
        return False


def _refuse_occupied(folder: DataDirectory) -> None:
    for path in (folder.database, folder.exchange):
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            if (folder.path / name).exists():
                raise StoreError(
                    f"{folder.path / name} is there; restore into a new folder (--data-dir): a "
                    "restore replaces nothing, and no log may stand beside another database"
                )


@contextmanager
def _exchange_reader(path: Path) -> Iterator[sqlite3.Connection]:
    with database.storage_errors(path, "read"):
        reader = sqlite3.connect(database.reading_uri(path), uri=True, isolation_level=None)
    with closing(reader):
        with database.storage_errors(path, "read"):
            refuse_damaged(reader, path)
        yield reader


@contextmanager
def _unwritten(path: Path) -> Iterator[None]:
    """Let nobody write the file meanwhile; where this user may not write, nobody is asked."""
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
    """A new file beside it, which is gone afterwards unless it was renamed."""
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
