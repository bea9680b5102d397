"""The data directory: its file names, durable writes and the record of its run."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import attrs

from kamou.data_directory.private_files import (
    DIRECTORY_MODE,
    FILE_MODE,
    OTHERS,
    create_directory,
    create_temporary,
    is_open_to_others,
    set_mode,
)
from kamou.errors import StoreError

Announce = Callable[[str], None]
MEMORY = ":memory:"  # SQLite's path of a database without a file


@attrs.frozen
class DataDirectory:
    """A data directory, which has one mode, one account and one equity curve."""

    path: Path

    @property
    def database(self) -> Path:
        """Journal and read models; during a run only the journal's writer writes them."""
        return self.path / "kamou.sqlite3"

    @property
    def exchange(self) -> Path:
        """The records of the embedded exchange, a SQLite database."""
        return self.path / "exchange.sqlite3"

    @property
    def market(self) -> Path:
        """Imported market data, one directory for each dataset."""
        return self.path / "market"

    @property
    def lock(self) -> Path:
        """The lock file; `kamou run`, `db migrate` and `db restore` hold the lock."""
        return self.path / "lock"

    @property
    def latch(self) -> Path:
        """The halt latch, the file that makes the exchange port deny entries."""
        return self.path / "halt-latch"

    @property
    def flatten_log(self) -> Path:
        """The log of the kill switch `kamou flatten`, which the next run imports."""
        return self.path / "flatten.log"

    @property
    def salt_key(self) -> Path:
        """The key of all commitments, mode 0600.

        Keep a backup in another place.
        """
        return self.path / "salt-key"

    @property
    def token(self) -> Path:
        """The operator's bearer token, mode 0600."""
        return self.path / "operator-token"

    @property
    def run_record(self) -> Path:
        """The file of the ``RunRecord``: the run's process and addresses."""
        return self.path / "run.json"

    @property
    def operator_socket(self) -> Path:
        """The Unix socket over which other verbs send requests to `kamou run`."""
        return self.path / "operator.sock"

    def create(self, announce: Announce = lambda _line: None) -> None:
        """Create the directory with mode 0700, or close an existing one to other users.

        Kamou's files in an existing directory get the mode 0600, except the salt key.

        Args:
            announce: takes one line about each kind of changed mode (directory, files), and one if
                the file system keeps no modes.

        Raises:
            StoreError: the directory cannot be created or changed; the directory or one of Kamou's
                files in the directory belongs to another user; or the directory is open to other
                users and is not Kamou's: it has the sticky bit, or it has other files and no Kamou
                database.
        """
        try:
            if not create_directory(self.path):
                _check_owner(self.path)
                self._close_directory(announce)
                self._close_files(announce)
            if is_open_to_others(self.path):
                announce(
                    f"the file system of {self.path} keeps no modes: other users of this machine "
                    "may be able to read this data directory"
                )
        except OSError as error:
            raise write_error(self.path, error) from error

    def _close_directory(self, announce: Announce) -> None:
        """Set the directory's mode to 0700 if it is open to others and is Kamou's.

        Raises:
            StoreError: it is open to others and is not Kamou's: it has the sticky bit, like /tmp,
                or it has other files and no Kamou database.
        """
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if not mode & OTHERS:
            return
        if mode & stat.S_ISVTX or not (self._has_database() or self._has_only_own_files()):
            raise StoreError(
                f"the data directory {self.path} is open to other users (mode {mode:04o}), and is "
                "shared like /tmp or holds files that are not Kamou's; choose another with "
                f"--data-dir, or close this one: chmod 700 {self.path}"
            )
        set_mode(self.path, DIRECTORY_MODE)
        if not is_open_to_others(self.path):
            announce(
                f"closed the data directory {self.path} to other users (mode {mode:04o} to 0700)"
            )

    def _close_files(self, announce: Announce) -> None:
        """Set the mode of Kamou's files to 0600, except that of the salt key.

        An open salt key fails where it is read, because others may have read it.
        """
        closed = []
        for name in os.listdir(self.path):
            path = self.path / name
            try:
                found = path.lstat()
            except FileNotFoundError:  # a temporary file of a run at the same time
                continue
            if not self._is_own_name(name) or not stat.S_ISREG(found.st_mode):
                continue
            _check_owner(path)
            if found.st_mode & OTHERS and path != self.salt_key:
                set_mode(path, FILE_MODE)
                closed += [] if is_open_to_others(path) else [name]
        if closed:
            announce(f"closed to other users in {self.path}: {', '.join(sorted(closed))}")

    def _has_database(self) -> bool:
        """Return True if the directory has a database at Kamou's path that this user owns."""
        with contextlib.suppress(OSError):
            found = self.database.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
                return _is_database(self.database)
        return False

    def _has_only_own_files(self) -> bool:
        """Return True if the directory has only names of Kamou's files, or is empty."""
        return all(self._is_own_name(name) for name in os.listdir(self.path))

    def _is_own_name(self, name: str) -> bool:
        """Return True if Kamou gives this name to a file, with or without a suffix."""
        own = {
            path.name
            for path in (
                *(self.database, self.exchange, self.market, self.lock, self.latch),
                *(self.flatten_log, self.salt_key, self.token, self.run_record),
                self.operator_socket,
            )
        }
        return name in own or any(name.startswith((f"{each}-", f"{each}.")) for each in own)


def _is_database(path: Path) -> bool:
    """Return True if the file is a SQLite database that this user may read.

    SQLite opens the file, because opening it directly would drop locks; see
    ``database._reader_options``. After an early kill the schema may be in the write-ahead log,
    which is not read here. Then the database has its first page and no table, and counts as one.
    """
    uri = path.resolve().as_uri() + "?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            pages: tuple[int] = connection.execute("PRAGMA page_count").fetchone()
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return pages[0] > 0
    except sqlite3.DatabaseError:
        return False


def _check_owner(path: Path) -> None:
    """Raise ``StoreError`` if another user owns the path."""
    owner = path.lstat().st_uid if path.is_file() else path.stat().st_uid
    if owner != os.geteuid():
        raise StoreError(
            f"{path} belongs to user {owner}, and this process is of user {os.geteuid()}; run "
            f"this as user {owner}, give the path to user {os.geteuid()} with chown, or choose "
            "another data directory with --data-dir"
        )


def write_error(path: Path, error: OSError) -> StoreError:
    """Return the error for a data directory that could not be written, with the cause."""
    return StoreError(
        f"cannot write to the data directory {path}: {error.strerror or error}; make it writable "
        "and have space on its disk, or choose another with --data-dir or the setting data_dir"
    )


def write_atomically(path: Path, text: str) -> None:
    """Create a file or replace its text; a crash leaves the old file or the new one.

    The mode of the file is 0600, because Kamou's files contain positions and keys.

    Raises:
        OSError: the new text cannot be written, and the old file stays; or the file has the new
            text, but its directory cannot be synced, so a power cut may restore the old file.
    """
    descriptor, temporary = create_temporary(path)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make created, renamed and removed names in the directory durable.

    Raises:
        OSError: the directory cannot be opened or synced.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@attrs.frozen(kw_only=True)
class RunRecord:
    """The process and the addresses of a run; the run writes them once it listens.

    Other verbs read the record. The record may outlive the process, so a reader checks that the
    process still holds the lock.
    """

    pid: int
    mode: str
    host: str  # of the public listener
    port: int  # of the public listener
    operator_host: str
    operator_port: int | None  # None: web.operator_tcp is off
    started_at_ms: int
    operator_socket: bool = True  # False: the file system of the data directory has no sockets

    def write(self, data_dir: DataDirectory) -> None:
        """Write the record, or replace that of an earlier run.

        Raises:
            StoreError: the record cannot be written.
        """
        try:
            write_atomically(data_dir.run_record, json.dumps(attrs.asdict(self), indent=1) + "\n")
        except OSError as error:
            raise write_error(data_dir.path, error) from error

    @staticmethod
    def read(data_dir: DataDirectory) -> RunRecord | None:
        """Return the record; None if the file is missing, unreadable or no such record."""
        try:
            return RunRecord(**json.loads(data_dir.run_record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
