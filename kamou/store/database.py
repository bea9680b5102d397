"""Opening the database: the one writer, any number of read-only readers, backup, migration.

WAL with ``synchronous=FULL``: a committed event survives a power cut. Connections are plain
``sqlite3`` in autocommit (``BEGIN IMMEDIATE`` is written out where a transaction starts).
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

BUSY_TIMEOUT_MS = 5_000  # readers meet the writer only during a checkpoint or recovery
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
            create_file(Path(path))  # SQLite would make it readable to others, and so its WAL
        # Used by one thread at a time: the event loop's, or the journal's writer thread.
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            _refuse_other_schemas(connection, path)
            _refuse_changed_schema(connection, path)
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

    In a folder that this user may not write, a database whose writer closed it in order is opened
    as it stands: SQLite cannot make its shared memory there. What is written meanwhile is not seen.

    Raises:
        StoreError: it does not exist, cannot be read, or has an older schema than this Kamou.
        DatabaseNewerError: a newer Kamou wrote it.
    """
    if not Path(path).exists():
        raise StoreError(f"{path}: the database does not exist; `kamou run` creates it")
    with storage_errors(path, "read"):
        connection = sqlite3.connect(
            reader_uri(Path(path)), uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA query_only = ON")
            _refuse_other_schemas(connection, path)
            if len(_applied(connection)) < len(JOURNAL_MIGRATIONS):
                raise StoreError(
                    f"{path}: its schema is older than this Kamou's; run `kamou db migrate`"
                )
        except BaseException:
            connection.close()
            raise
    return connection


def open_checked_reader(path: Path | str) -> sqlite3.Connection:
    """Open as ``open_reader``, after a check of every page.

    Raises:
        StoreError: as ``open_reader``, or the file is damaged.
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
    """Look at every page of a database of any schema version.

    Raises:
        StoreError: the file is damaged, or cannot be read.
    """
    with storage_errors(path, "read"), _closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        check_damage(connection, path)


def reader_uri(path: Path) -> str:
    """Return the URI for a read-only connection; see ``open_reader``.

    Raises:
        OSError: the file may not be read.
        StoreError: its write-ahead log cannot be read here.
    """
    return path.resolve().as_uri() + "?mode=ro" + _how_to_read(path.resolve())


def _how_to_read(path: Path) -> str:
    """Return what a read-only connection adds to its URI; see ``open_reader``.

    Never opens the file: closing it again would drop the POSIX locks of every connection that this
    process has to it, and a writer that closes elsewhere would then delete the write-ahead log
    under them (https://www.sqlite.org/howtocorrupt.html, 2.2).

    Raises:
        OSError: the file may not be read.
        StoreError: its write-ahead log cannot be read here.
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
            f"{path} was not closed in order: its newest events are in {log.name}, which SQLite "
            f"cannot read because {path.parent} may not be written; copy both files to a folder "
            "of your own and read them there"
        )
    return ""


def _is_writable(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    return not os.statvfs(folder).f_flag & os.ST_RDONLY


def set_durable(connection: sqlite3.Connection, durable: bool) -> None:
    """Set whether each commit waits for the disk. Call it between transactions."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")


def migrate_journal(path: Path | str) -> tuple[str, ...]:
    """Migrate the schema; return the names of the migrations that were applied now."""
    existed = Path(path).exists()
    before: set[str] = set()
    if existed:
        check_database(path)
        with storage_errors(path, "read"), _closing(sqlite3.connect(path)) as connection:
            before = set(_applied(connection))
    with _closing(open_writer(path)) as connection:
        return tuple(name for name in _applied(connection) if name not in before)


def copy_journal(path: Path | str, to: Path) -> int:
    """Write a consistent copy of a database in use to ``to``; its size in bytes.

    The copy appears whole and checked, or not at all.

    Raises:
        StoreError: ``to`` exists, the database is damaged, or either cannot be opened.
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
    """Open as ``open_whole``, and check that the schema is Kamou's.

    Raises:
        StoreError: as ``open_whole``, or the schema was changed.
    """
    source = open_checked_reader(path)
    try:
        _refuse_changed_schema(source, path)
    except BaseException:
        source.close()
        raise
    return source


def write_checked_copy(
    source: sqlite3.Connection, to: Path, notes: Mapping[str, str] | None = None
) -> None:
    """Copy a database into an empty file, check the copy, and wait for the disk.

    Args:
        source: a connection; in a transaction, what that transaction sees is copied.
        to: the file.
        notes: rows for the copy's table ``meta``.

    Raises:
        StoreError: the copy is damaged.
        sqlite3.Error, OSError: it cannot be written.
    """
    with _closing(sqlite3.connect(to, isolation_level=None)) as copy:
        source.backup(copy)
        # A single file that a reader can open in a folder it may not write.
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", (notes or {}).items())
        check_damage(copy, to)
    with to.open("rb") as written:
        os.fsync(written.fileno())


def check_event_numbers(connection: sqlite3.Connection, path: Path | str) -> None:
    """Compare the number of events with the newest one's number.

    A write-ahead log beside a database that it does not belong to puts some newer pages between
    older ones.

    Raises:
        StoreError: events are missing.
    """
    with suppress(sqlite3.OperationalError):  # no such table: a database without a schema
        count, newest = connection.execute("SELECT count(*), max(seq) FROM event").fetchone()
        if count != (newest or 0):
            raise damage_error(
                path, f"it has {count} events of {newest}: its -wal is another copy's"
            )


def checkpoint_database(path: Path) -> None:
    """Write the log into the database and remove it, after a run's last reader has gone.

    A reader that closes last may not do that, and would leave the ``-wal``.
    """
    if path.exists():
        with suppress(sqlite3.Error), _closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def storage_errors(path: Path | str, action: str) -> Iterator[None]:
    """Turn errors of SQLite and the system into Kamou's, with the path and the next step."""
    try:
        yield
    except sqlite3.Error as error:
        if is_disk_full(error):
            raise DiskFullError(_full(path)) from error
        if is_damage(error):
            raise damage_error(path, error) from error
        raise StoreError(
            f"{path}: cannot {action} the database: {error}; check that the folder exists, that it"
            " and the file may be written by this user, and that the file is a Kamou database"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(_full(path)) from error
        raise StoreError(
            f"{path}: cannot {action} the database: {error.strerror}; check the folder and its"
            " permissions"
        ) from error


def is_disk_full(error: sqlite3.Error) -> bool:
    """Return True if SQLite could not grow a file, its shared-memory index included."""
    return getattr(error, "sqlite_errorcode", None) in _FULL


def _full(path: Path | str) -> str:
    return f"{path}: the disk is full; free some space; committed events are kept"


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


def _refuse_other_schemas(connection: sqlite3.Connection, path: Path | str) -> None:
    unknown = [name for name in _applied(connection) if name not in JOURNAL_MIGRATIONS]
    if unknown and max(unknown) < min(JOURNAL_MIGRATIONS):
        raise StoreError(
            f"{path}: written by an older Kamou: its schema is {max(unknown)}, this version knows"
            f" {min(JOURNAL_MIGRATIONS)} and later, and no way from one to the other; use the Kamou"
            " that wrote it, or another --data-dir"
        )
    if unknown:
        raise DatabaseNewerError(
            f"{path}: written by a newer Kamou: its schema is {max(unknown)}, this version knows up"
            f" to {max(JOURNAL_MIGRATIONS)}; upgrade Kamou, or use another --data-dir"
        )


def _refuse_changed_schema(connection: sqlite3.Connection, path: Path | str) -> None:
    """Check the schema before Kamou's statements run, because a foreign trigger would run too."""
    changes = find_schema_changes(connection, _schema_of(tuple(_applied(connection))))
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


def _apply_migrations(connection: sqlite3.Connection) -> None:
    if len(_applied(connection)) < len(JOURNAL_MIGRATIONS):
        apply_migrations(connection)


@contextmanager
def _closing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()
