"""Opening the database: the one writer, any number of read-only readers, backup, migration.

WAL with ``synchronous=FULL``: a committed event survives a power cut. Connections are plain
``sqlite3`` in autocommit (``BEGIN IMMEDIATE`` is written out where a transaction starts).
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kamou.errors import DatabaseNewerError, DiskFullError, StoreError
from kamou.store.migrations import MIGRATION_SET, MIGRATIONS, apply

BUSY_TIMEOUT_MS = 5_000  # readers meet the writer only during a checkpoint or recovery
MEMORY = ":memory:"
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})


def open_writer(path: Path | str, *, durable: bool = True) -> sqlite3.Connection:
    """Open for writing, made and migrated if need be. ``:memory:`` is for runs nobody keeps.

    ``durable=False`` leaves out the fsyncs: the death of the process still loses nothing, but
    a power cut may lose the newest events. Only where the events can be made again.

    Raises:
        DatabaseNewerError: a newer Kamou wrote it; nothing was changed.
        DiskFullError, StoreError: it cannot be opened or written.
    """
    with storage_errors(path, "open"):
        if str(path) != MEMORY:
            _refuse_unwritable(Path(path))
        # Used by one thread at a time: the event loop's, or the journal's writer thread.
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            _refuse_newer(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            # Without it, INSERT OR REPLACE would slip past the journal's append-only triggers.
            connection.execute("PRAGMA recursive_triggers = ON")
            set_durable(connection, durable)
            _apply_migrations(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path | str) -> sqlite3.Connection:
    """Open read-only, beside a writer or without one. Sees committed rows only.

    Raises:
        StoreError: there is none, or it cannot be read, or its schema is older than this Kamou.
        DatabaseNewerError: a newer Kamou wrote it.
    """
    if not Path(path).exists():
        raise StoreError(f"{path}: there is no database; `kamou run` makes it")
    with storage_errors(path, "read"):
        uri = Path(path).resolve().as_uri() + "?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA query_only = ON")
            _refuse_newer(connection, path)
            if len(_applied(connection)) < len(MIGRATIONS):
                raise StoreError(f"{path}: its schema is older; run `kamou db migrate`")
        except BaseException:
            connection.close()
            raise
    return connection


def set_durable(connection: sqlite3.Connection, durable: bool) -> None:
    """Whether each commit waits for the disk. Call between transactions."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")


def migrate(path: Path | str) -> tuple[str, ...]:
    """Bring the schema up to date; the names of the migrations that were applied now."""
    existed = Path(path).exists()
    before: set[str] = set()
    if existed:
        with storage_errors(path, "read"), _closing(sqlite3.connect(path)) as connection:
            before = set(_applied(connection))
    with _closing(open_writer(path)) as connection:
        return tuple(name for name in _applied(connection) if name not in before)


def backup(path: Path | str, to: Path) -> int:
    """Write a consistent copy of a database in use to ``to``; its size in bytes.

    The copy appears whole or not at all.

    Raises:
        StoreError: ``to`` exists, or either cannot be opened.
    """
    if to.exists():
        raise StoreError(f"{to} exists; choose another name, a backup replaces nothing")
    partial = to.with_name(to.name + ".partial")
    with storage_errors(to, "write"):
        partial.unlink(missing_ok=True)
        with _closing(open_reader(path)) as source, _closing(sqlite3.connect(partial)) as target:
            source.backup(target)
            # A single file that a reader can open in a folder it may not write.
            target.execute("PRAGMA journal_mode = DELETE")
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.rename(to)
        return to.stat().st_size


@contextmanager
def storage_errors(path: Path | str, deed: str) -> Iterator[None]:
    """Turn what SQLite and the system raise into our errors, with the path and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        if is_disk_full(error):
            raise DiskFullError(_full(path)) from error
        raise StoreError(
            f"{path}: cannot {deed} the database: {error}; check that the folder exists, that it"
            " and the file may be written by this user, and that the file is a Kamou database"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(_full(path)) from error
        raise StoreError(
            f"{path}: cannot {deed} the database: {error.strerror}; check the folder and its"
            " permissions"
        ) from error


def is_disk_full(error: sqlite3.Error) -> bool:
    """Whether SQLite could not grow a file (its shared-memory index is one of them)."""
    return getattr(error, "sqlite_errorcode", None) in _FULL


def _full(path: Path | str) -> str:
    return f"{path}: the disk is full; free some space, nothing committed is lost"


def _refuse_unwritable(path: Path) -> None:
    """SQLite would open an unwritable file read-only and fail at the first write."""
    if path.exists() and not os.access(path, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _applied(connection: sqlite3.Connection) -> list[str]:
    with suppress(sqlite3.OperationalError):  # no such table: a database without a schema
        rows = connection.execute(
            "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id",
            (MIGRATION_SET,),
        ).fetchall()
        return [row[0] for row in rows]
    return []


def _refuse_newer(connection: sqlite3.Connection, path: Path | str) -> None:
    unknown = [name for name in _applied(connection) if name not in MIGRATIONS]
    if unknown:
        raise DatabaseNewerError(
            f"{path}: written by a newer Kamou: its schema is {max(unknown)}, this version knows up"
            f" to {max(MIGRATIONS)}; upgrade Kamou, or use another --data-dir"
        )


def _apply_migrations(connection: sqlite3.Connection) -> None:
    if len(_applied(connection)) < len(MIGRATIONS):
        apply(connection)


@contextmanager
def _closing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()
