"""The data folder: the name of every file in it, and the note a running system leaves there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from kamou.errors import StoreError


@attrs.frozen
class DataFolder:
    """One track: one mode, one curve, one account. Never shared between modes."""

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
        """Imported market data, one folder for each set."""
        return self.path / "market"

    @property
    def lock(self) -> Path:
        """Held by `run` for as long as it lives."""
        return self.path / "lock"

    @property
    def latch(self) -> Path:
        """The halt latch: while this file exists no entry passes the port."""
        return self.path / "halt-latch"

    @property
    def flatten_log(self) -> Path:
        """What the kill switch did, for the next `run` to import."""
        return self.path / "flatten.log"

    @property
    def salt_key(self) -> Path:
        """The key of all commitments, readable by its owner only. Back it up apart."""
        return self.path / "salt-key"

    @property
    def token(self) -> Path:
        """The operator listener's bearer token, readable by its owner only."""
        return self.path / "operator-token"

    @property
    def run_record(self) -> Path:
        """Where the running system listens."""
        return self.path / "run.json"

    def create(self) -> None:
        """Make the folder.

        Raises:
            StoreError: it cannot be made; says why and what to do.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from error


def unwritable(path: Path, error: OSError) -> StoreError:
    """The one wording for a data folder that cannot be written."""
    return StoreError(
        f"cannot write to the data folder {path}: {error.strerror or error}; make it writable, "
        "or choose another with --data-dir or the setting data_dir"
    )


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace ``path`` so that a crash at any moment leaves the old text or the new, never half."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
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

    It may outlive the process that wrote it: whoever reads it asks before believing.
    """

    pid: int
    mode: str
    host: str
    port: int
    operator_host: str
    operator_port: int
    started_ms: int

    def write(self, folder: DataFolder) -> None:
        """Replace the record. Raises ``StoreError`` when it cannot be written."""
        try:
            write_atomically(folder.run_record, json.dumps(attrs.asdict(self), indent=1) + "\n")
        except OSError as error:
            raise unwritable(folder.path, error) from error

    @staticmethod
    def read(folder: DataFolder) -> RunRecord | None:
        """The record, or None when there is none or it is not whole."""
        try:
            return RunRecord(**json.loads(folder.run_record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
