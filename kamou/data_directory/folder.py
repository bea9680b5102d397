"""The data directory: its file names, and the record of the run that uses it."""

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
    FILE_MODE,
    FOLDER_MODE,
    OTHERS,
    create_folder,
    create_temporary,
    is_open_to_others,
    narrow,
)
from kamou.errors import StoreError

Announce = Callable[[str], None]
MEMORY = ":memory:"  # SQLite's path of a database without a file


@attrs.frozen
class DataDirectory:
    """A data directory: one mode, one equity curve, one account."""

    path: Path

    @property
    def database(self) -> Path:
        """Journal and read models, written by the journal's writer only."""
        return self.path / "kamou.sqlite3"

    @property
    def exchange(self) -> Path:
        """The embedded exchange's own records; only the port opens it."""
        return self.path / "exchange.sqlite3"

    @property
    def market(self) -> Path:
        """Imported market data, one folder for each dataset."""
        return self.path / "market"

    @property
    def lock(self) -> Path:
        """The lock file that `run` holds until it ends."""
        return self.path / "lock"

    @property
    def latch(self) -> Path:
        """The halt latch: while this file exists the port denies entries."""
        return self.path / "halt-latch"

    @property
    def flatten_log(self) -> Path:
        """The kill switch's log, which the next `run` imports."""
        return self.path / "flatten.log"

    @property
    def salt_key(self) -> Path:
        """The key of all commitments, readable by its owner only. Back it up in another place."""
        return self.path / "salt-key"

    @property
    def token(self) -> Path:
        """The operator listener's bearer token, readable by its owner only."""
        return self.path / "operator-token"

    @property
    def run_record(self) -> Path:
        """The record of the run's process and addresses."""
        return self.path / "run.json"

    @property
    def operator_socket(self) -> Path:
        """The Unix socket through which the command line speaks to `run`."""
        return self.path / "operator.sock"

    def create(self, announce: Announce = lambda line: None) -> None:
        """Make the folder with mode 0700, or narrow an older one of ours that is wider.

        Args:
            announce: takes a line for each narrowed mode, and one if modes are not kept.

        Raises:
            StoreError: the folder cannot be made, belongs to another user, or is open to others
                and is not recognised as a data directory of Kamou.
        """
        try:
            if not create_folder(self.path):
                _refuse_other_owner(self.path)
                self._narrow_folder(announce)
                self._narrow_files(announce)
            if is_open_to_others(self.path):
                announce(
                    f"the file system of {self.path} keeps no modes: other users of this machine "
                    "may be able to read this data directory"
                )
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _narrow_folder(self, announce: Announce) -> None:
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if not mode & OTHERS:
            return
        if mode & stat.S_ISVTX or not (self._holds_database() or self._holds_only_ours()):
            raise StoreError(
                f"the data directory {self.path} is open to other users (mode {mode:04o}) and "
                "holds files that are not Kamou's; choose another with --data-dir, or close "
                f"this one: chmod 700 {self.path}"
            )
        narrow(self.path, FOLDER_MODE)
        if not is_open_to_others(self.path):
            announce(
                f"closed the data directory {self.path} to other users (mode {mode:04o} to 0700)"
            )

    def _narrow_files(self, announce: Announce) -> None:
        """Close our files to others. The salt key is refused instead: others may have read it."""
        narrowed = []
        for name in os.listdir(self.path):
            path = self.path / name
            try:
                found = path.lstat()
            except FileNotFoundError:  # a temporary file of a run that works beside us
                continue
            if not self._is_ours(name) or not stat.S_ISREG(found.st_mode):
                continue
            _refuse_other_owner(path)
            if found.st_mode & OTHERS and path != self.salt_key:
                narrow(path, FILE_MODE)
                narrowed += [] if is_open_to_others(path) else [name]
        if narrowed:
            announce(f"closed to other users in {self.path}: {', '.join(sorted(narrowed))}")

    def _holds_database(self) -> bool:
        """Return True if Kamou's database is here and belongs to this user."""
        with contextlib.suppress(OSError):
            found = self.database.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
                return _is_database(self.database)
        return False

    def _holds_only_ours(self) -> bool:
        """Return True if the folder has only Kamou's files, or none."""
        return all(self._is_ours(name) for name in os.listdir(self.path))

    def _is_ours(self, name: str) -> bool:
        """Return True if Kamou gives a file this name, with or without a suffix."""
        ours = {
            path.name
            for path in (
                *(self.database, self.exchange, self.market, self.lock, self.latch),
                *(self.flatten_log, self.salt_key, self.token, self.run_record),
                self.operator_socket,
            )
        }
        return name in ours or any(name.startswith((f"{each}-", f"{each}.")) for each in ours)


def _is_database(path: Path) -> bool:
    """Return True if the file begins a SQLite database. False if this user may not read it.

    SQLite is asked, because opening the file by hand would drop locks (``database.reading_uri``).
    After an early kill the schema may be in the write-ahead log, which is not read here: then the
    database has its first page and no table.
    """
    uri = path.resolve().as_uri() + "?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            pages: tuple[int] = connection.execute("PRAGMA page_count").fetchone()
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return pages[0] > 0
    except sqlite3.DatabaseError:
        return False


def _refuse_other_owner(path: Path) -> None:
    owner = path.lstat().st_uid if path.is_file() else path.stat().st_uid
    if owner != os.geteuid():
        raise StoreError(
            f"{path} belongs to user {owner}, and this process is of user {os.geteuid()}; run "
            "this as the user who owns the data directory, or choose another, perhaps a directory "
            "inside it, with --data-dir"
        )


def unwritable(path: Path, error: OSError) -> StoreError:
    """Return the error for a data directory that cannot be written."""
    return StoreError(
        f"cannot write to the data directory {path}: {error.strerror or error}; make it writable, "
        "or choose another with --data-dir or the setting data_dir"
    )


def write_atomically(path: Path, text: str) -> None:
    """Replace the file so that a crash at any moment leaves the old text or the new, never half.

    Its mode is 0600: what Kamou writes has positions and keys in it.
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
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a created, renamed or removed name durable: names are the folder's data."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@attrs.frozen(kw_only=True)
class RunRecord:
    """What `run` writes once it listens, so that the other verbs find it.

    It may outlive the process that wrote it, so a reader checks that the process runs.
    """

    pid: int
    mode: str
    host: str
    port: int
    operator_host: str
    operator_port: int | None  # None: web.operator_tcp is off
    started_at_ms: int
    operator_socket: bool = True  # False: the file system of the data directory has no sockets

    def write(self, folder: DataDirectory) -> None:
        """Replace the record. Raises ``StoreError`` when it cannot be written."""
        try:
            write_atomically(folder.run_record, json.dumps(attrs.asdict(self), indent=1) + "\n")
        except OSError as error:
            raise unwritable(folder.path, error) from error

    @staticmethod
    def read(folder: DataDirectory) -> RunRecord | None:
        """Return the record; None if there is none or it is incomplete."""
        try:
            return RunRecord(**json.loads(folder.run_record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
