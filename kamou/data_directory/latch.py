"""The halt latch: a file that the port looks for before every entry.

It needs neither `run` nor its database, so a hung `run` cannot stop it and a later one respects
it. Its own log, beside it, is only ever appended to, and is imported at the next start.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from kamou.data_directory.folder import sync_folder, write_atomically
from kamou.data_directory.private_files import create_file, create_folder, give_to_folders_owner
from kamou.errors import StoreError

SET, HALT, CLEAR = "set", "halt", "clear"
"""What a line of the log did. SET asks a run to close everything; HALT only holds entries."""


@attrs.frozen(kw_only=True)
class LatchRecord:
    """One line of the latch's log: who set or cleared it, when and why."""

    action: str  # set | halt | clear
    reason: str
    actor: str
    at_ms: int


class HaltLatch:
    """Set: no new risk. Reducing risk is never held back by it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_path = path.with_name(path.name + ".log")

    def is_set(self) -> bool:
        """Whether entries are held. Cheap: one stat. A latch that cannot be looked at is set."""
        try:
            os.stat(self.path)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def set(self, reason: str, actor: str, at_ms: int, *, action: str = SET) -> bool:
        """Hold entries; durable when it returns. Setting it again keeps it and is logged.

        On a full disk an empty file holds as well.

        Args:
            reason: the operator's words; empty: none.
            actor: who set it.
            at_ms: when.
            action: SET, or HALT if positions stay open.

        Returns:
            Whether it was logged, too.

        Raises:
            StoreError: the file could not be written; entries are NOT held.
        """
        record = LatchRecord(action=action, reason=reason, actor=actor, at_ms=at_ms)
        try:
            create_folder(self.path.parent)
            self._write(record)
        except OSError as error:
            raise _failed("set", self.path, error) from error
        with contextlib.suppress(OSError):  # the file holds, whoever owns it and what is logged
            give_to_folders_owner(self.path)
        try:
            self._append(record)
        except OSError:
            return False
        return True

    def _write(self, record: LatchRecord) -> None:
        """Write the file. Where there is no room for its text, its name alone."""
        try:
            write_atomically(self.path, json.dumps(attrs.asdict(record)) + "\n")
        except OSError:
            if self.path.is_dir():
                raise
            create_file(self.path)
            sync_folder(self.path.parent)

    def clear(self, reason: str, actor: str, at_ms: int) -> None:
        """Let entries through again. Logged before the file goes; harmless when not set.

        Raises:
            StoreError: the log or the file could not be changed; entries stay held.
        """
        if not self.is_set():
            return
        record = LatchRecord(action=CLEAR, reason=reason, actor=actor, at_ms=at_ms)
        try:
            self._append(record)
            self.path.unlink()
            sync_folder(self.path.parent)
        except OSError as error:
            raise _failed("clear", self.path, error) from error

    def log(self) -> tuple[LatchRecord, ...]:
        """Every set and clear, oldest first. A line cut short by a crash is left out."""
        try:
            lines = self.log_path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ()
        return tuple(record for line in lines if (record := _parsed(line)) is not None)

    def _append(self, record: LatchRecord) -> None:
        if create_file(self.log_path):
            give_to_folders_owner(self.log_path)
        descriptor = os.open(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, (json.dumps(attrs.asdict(record)) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def standing(log: Sequence[LatchRecord]) -> tuple[LatchRecord, ...]:
    """Return the lines since the latch was last cleared, oldest first; all if it never was."""
    cleared = max((place for place, each in enumerate(log, 1) if each.action == CLEAR), default=0)
    return tuple(log[cleared:])


def _parsed(line: str) -> LatchRecord | None:
    try:
        return LatchRecord(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _failed(action: str, path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot {action} the halt latch {path}: {error.strerror or error}; "
        "make the folder writable and have space on the disk, then repeat the command"
    )
