"""The journal's database file: opening, checking, copying, migrating, its errors.

SQLite runs in WAL mode. With ``synchronous=FULL``, the default, a committed event survives a power
cut; with ``durable=False`` it may be lost. Connections are in autocommit mode; a transaction starts
with an explicit ``BEGIN IMMEDIATE``.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from kamou.data_directory.damage_check import check_damage, damage_error, is_damage
from kamou.data_directory.folder import MEMORY
from kamou.data_directory.private_files import create_file, create_temporary
from kamou.data_directory.schema_check import (
    SchemaPart,
    describe_changes,
    find_schema_changes,
    schema_of,
)
from kamou.errors import DatabaseNewerError, DiskFullError, StoreError
from kamou.store.migrations import (
    JOURNAL_MIGRATIONS,
    MIGRATION_SET,
    MIGRATIONS_TABLE,
    apply_migrations,
)

BUSY_TIMEOUT_MS = 5_000  # readers wait for the writer only during a checkpoint or recovery
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})


def open_writer(path: Path | str, *, durable: bool = True) -> sqlite3.Connection:
    """Open a database for writing; create and migrate it as needed.

    ``:memory:`` opens a temporary database. ``durable=False`` omits the fsyncs: a crash of the
    process loses no committed event, but a power cut may lose events or damage the database. Use it
    only for events that can be made again.

    Raises:
        DatabaseNewerError: a newer Kamou wrote the database; nothing was changed.
        DiskFullError, StoreError: the database cannot be opened or written, is damaged, was written
            by an older Kamou from which this one cannot migrate, or has a changed schema.
    """
    with storage_errors(path, "open"):
        if str(path) != MEMORY:
            _check_writable(Path(path))
            create_file(Path(path))  # SQLite would let other users read it and its log
        # One thread at a time uses it: that of the event loop or the journal's writer thread.
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            _check_versions(connection, path)
            _check_schema(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            # Without it, INSERT OR REPLACE would bypass the append-only triggers of the journal.
            connection.execute("PRAGMA recursive_triggers = ON")
            set_durable(connection, durable=durable)
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path | str) -> sqlite3.Connection:
    """Open a database read-only, with or without a writer.

    The connection sees committed rows only. In a directory that this user may not write, SQLite
    cannot create its shared memory. There the database is opened as immutable, if its writer closed
    it properly, and later commits are not seen.

    Raises:
        StoreError: the database does not exist, cannot be read, is damaged or has an older schema.
        DatabaseNewerError: a newer Kamou wrote the database.
    """
    if not Path(path).exists():
        raise StoreError(
            f"{path}: the database does not exist; `kamou run` creates it, --data-dir chooses"
            " another directory"
        )
    with storage_errors(path, "read"):
        connection = sqlite3.connect(
            reader_uri(Path(path)), uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA query_only = ON")
            _check_versions(connection, path)
            if len(_applied_migrations(connection)) < len(JOURNAL_MIGRATIONS):
                raise StoreError(
                    f"{path}: its schema is older than this Kamou's; run `kamou db migrate`"
                )
        except BaseException:
            connection.close()
            raise
    return connection


def open_checked_reader(path: Path | str) -> sqlite3.Connection:
    """Open a database as ``open_reader`` does, and check every page.

    Raises:
        StoreError, DatabaseNewerError: as ``open_reader``, or the file is damaged.
    """
    connection = open_reader(path)
    try:
        with storage_errors(path, "read"):
            check_damage(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def check_database(path: Path | str) -> None:
    """Check every page of an existing database of any schema version.

    Raises:
        StoreError: the file is damaged or cannot be read.
    """
    with storage_errors(path, "read"), _closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        check_damage(connection, path)


def reader_uri(path: Path) -> str:
    """Return the URI for a read-only connection; see ``open_reader``.

    Raises:
        OSError: this user may not read the file.
        StoreError: the write-ahead log cannot be read in a directory that this user may not write.
    """
    return path.resolve().as_uri() + "?mode=ro" + _reader_options(path.resolve())


def _reader_options(path: Path) -> str:
    """Return the options of a read-only connection's URI; see ``open_reader``.

    The function does not open the file. Closing the file again would drop the POSIX locks of all
    connections that this process has to the file, and a writer that closes elsewhere would then
    delete the write-ahead log that they use (https://www.sqlite.org/howtocorrupt.html, 2.2).

    Raises:
        OSError: this user may not read the file.
        StoreError: the write-ahead log cannot be read in a directory that this user may not write.
    """
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if _is_writable(path.parent):
        return ""
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if not log.exists() or not log.stat().st_size:
        return "&immutable=1"
    if not index.exists():
        raise StoreError(
            f"{path} was not closed properly: its newest events are in {log.name}, which SQLite "
            f"cannot read because this user may not write {path.parent}; copy both files to a "
            "directory of yours and read them there"
        )
    return ""


def _is_writable(directory: Path) -> bool:
    if not os.access(directory, os.W_OK):
        return False
    return not os.statvfs(directory).f_flag & os.ST_RDONLY


def set_durable(connection: sqlite3.Connection, *, durable: bool) -> None:
    """Set whether each commit waits until the disk has stored it.

    Call this between transactions.
    """
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")


def migrate_journal(path: Path | str) -> tuple[str, ...]:
    """Create or migrate a database; return the names of the applied migrations.

    Raises:
        StoreError: as ``check_database`` and ``open_writer``.
    """
    existed = Path(path).exists()
    before: set[str] = set()
    if existed:
        check_database(path)
        with storage_errors(path, "read"), _closing(sqlite3.connect(path)) as connection:
            before = set(_applied_migrations(connection))
    with _closing(open_writer(path)) as connection:
        return tuple(name for name in _applied_migrations(connection) if name not in before)


def copy_journal(path: Path | str, to: Path) -> int:
    """Copy a database, even one in use, to ``to``; return the copy's size in bytes.

    The copy has one committed state of the database. If the copy fails or is damaged, ``to`` does
    not exist.

    Raises:
        StoreError: ``to`` exists or cannot be written, the disk is full, or the database cannot be
            opened, is damaged or has a changed schema.
    """
    if to.exists():
        raise StoreError(f"{to} exists and a backup replaces no file; choose another name")
    with storage_errors(to, "write"):
        descriptor, partial = create_temporary(to)
        os.close(descriptor)
        try:
            with _closing(open_backup_source(path)) as source:
                write_checked_copy(source, partial)
            partial.rename(to)
        finally:
            partial.unlink(missing_ok=True)
        return to.stat().st_size


def open_backup_source(path: Path | str) -> sqlite3.Connection:
    """Open a database, check every page, and check that the schema is Kamou's.

    Raises:
        StoreError: as ``open_checked_reader``, or the schema was changed.
    """
    source = open_checked_reader(path)
    try:
        _check_schema(source, path)
    except BaseException:
        source.close()
        raise
    return source


def write_checked_copy(
    source: sqlite3.Connection, to: Path, notes: Mapping[str, str] | None = None
) -> None:
    """Copy a database into an empty file, check the copy, and wait for the disk.

    Args:
        source: a connection; in a transaction, the state that it sees is copied.
        to: the empty file.
        notes: rows for the copy's table ``meta``.

    Raises:
        StoreError: the copy is damaged.
        sqlite3.Error, OSError: the copy cannot be written.
    """
    with _closing(sqlite3.connect(to, isolation_level=None)) as copy:
        source.backup(copy)
        # Without a log, a reader can open the file in a directory that it may not write.
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", (notes or {}).items())
        check_damage(copy, to)
    with to.open("rb") as written:
        os.fsync(written.fileno())


def check_event_numbers(connection: sqlite3.Connection, path: Path | str) -> None:
    """Check that the number of events is the sequence number of the newest one.

    The two differ if the write-ahead log in the database's directory is that of another copy: then
    some pages are newer than others.

    Raises:
        StoreError: events are missing.
    """
    with suppress(sqlite3.OperationalError):  # no such table: a database without a schema
        count, newest = connection.execute("SELECT count(*), max(seq) FROM event").fetchone()
        if count != (newest or 0):
            raise damage_error(
                path,
                f"it has {count} events of {newest}: maybe its -wal file is that of another copy",
            )


def checkpoint_database(path: Path) -> None:
    """Write the write-ahead log into the database, and remove the log.

    Call this after the last reader has closed: a reader that closes last leaves the ``-wal`` file.
    Do nothing for a missing database; suppress errors of SQLite.
    """
    if path.exists():
        with suppress(sqlite3.Error), _closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def storage_errors(path: Path | str, action: str) -> Iterator[None]:
    """Raise errors of SQLite and the system as ``DiskFullError`` or ``StoreError``.

    The message has the path, the ``action`` (a verb such as ``read``) and the next step.
    """
    try:
        yield
    except sqlite3.Error as error:
        if is_disk_full(error):
            raise DiskFullError(_full(path)) from error
        if is_damage(error):
            raise damage_error(path, error) from error
        raise StoreError(
            f"{path}: cannot {action} the database: {error}; check that the directory exists, that"
            " this user may write it and the file, that no other program locks the file, and that"
            " it is a Kamou database"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(_full(path)) from error
        raise StoreError(
            f"{path}: cannot {action} the database: {error.strerror}; check that its directory"
            " exists, and the permissions of both"
        ) from error


def is_disk_full(error: sqlite3.Error) -> bool:
    """Return True if SQLite could not grow a file or its shared-memory index."""
    return getattr(error, "sqlite_errorcode", None) in _FULL


def _full(path: Path | str) -> str:
    return f"{path}: the disk is full, committed events are kept; free some space"


def _check_writable(path: Path) -> None:
    """Raise ``OSError`` if this user may not write an existing database.

    SQLite would open the file read-only and fail only at the first write.
    """
    if path.exists() and not os.access(path, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _applied_migrations(connection: sqlite3.Connection) -> list[str]:
    with suppress(sqlite3.OperationalError):  # no such table: a database without a schema
        rows = connection.execute(
            "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id",
            (MIGRATION_SET,),
        ).fetchall()
        return [row[0] for row in rows]
    return []


def _check_versions(connection: sqlite3.Connection, path: Path | str) -> None:
    unknown = [name for name in _applied_migrations(connection) if name not in JOURNAL_MIGRATIONS]
    if unknown and max(unknown) < min(JOURNAL_MIGRATIONS):
        raise StoreError(
            f"{path}: written by an older Kamou: its schema is {max(unknown)}, this version reads"
            f" {min(JOURNAL_MIGRATIONS)} and later and cannot migrate it; use the Kamou that wrote"
            " it, or another --data-dir"
        )
    if unknown:
        raise DatabaseNewerError(
            f"{path}: written by a newer Kamou: its schema is {max(unknown)}, this version reads up"
            f" to {max(JOURNAL_MIGRATIONS)}; upgrade Kamou, or use another --data-dir"
        )


def _check_schema(connection: sqlite3.Connection, path: Path | str) -> None:
    """Raise ``StoreError`` for a changed or missing table, or a trigger that differs.

    Added tables, indexes and views are allowed. Call this before Kamou's statements, because those
    would run an added trigger.
    """
    changes = find_schema_changes(connection, _schema_of(tuple(_applied_migrations(connection))))
    if changes:
        raise StoreError(describe_changes(path, changes))


@cache
def _schema_of(applied: tuple[str, ...]) -> frozenset[SchemaPart]:
    """Return the schema that these migrations make."""
    with _closing(sqlite3.connect(MEMORY)) as fresh:
        if applied:
            fresh.execute(MIGRATIONS_TABLE)
        for name in applied:
            for statement in JOURNAL_MIGRATIONS[name]:
                fresh.execute(statement)
        return schema_of(fresh)


def _migrate(connection: sqlite3.Connection) -> None:
    if len(_applied_migrations(connection)) < len(JOURNAL_MIGRATIONS):
        apply_migrations(connection)


@contextmanager
def _closing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()
