"""The halt latch: a file that the port looks for before every entry.

It needs neither `run` nor its database, so a hung `run` cannot stop it and a later one respects
it. Its own log, beside it, is only ever appended to, and is imported at the next start.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from kamou.data_directory.folder import sync_folder, write_atomically
from kamou.data_directory.private_files import create_file, create_folder, give_to_folders_owner
from kamou.errors import StoreError

SET_WORD, HALT, CLEAR = "set", "halt", "clear"
"""What a line of the log did. SET asks a run to close everything; HALT only holds entries."""
RECORDED_ACTIONS = frozenset({SET_WORD, HALT, CLEAR})
UNREADABLE_LATCH = "unreadable"
"""A damaged line. It may have been a CLEAR, so no close that was asked for before it still stands;
and it may have been none, so it ends no halt."""
LATEST_MS = 253_402_300_800_000  # the year 10000: a later time is damage


@attrs.frozen(kw_only=True)
class LatchRecord:
    """One line of the latch's log: who set or cleared it, when and why."""

    action: str  # set | halt | clear | unreadable
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

    def set(self, reason: str, actor: str, at_ms: int, *, action: str = SET_WORD) -> bool:
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
        """Return every set and clear that took effect, oldest first; damaged lines are UNREADABLE.

        While the latch stands its file corrects the log: a set that found no room in the log is
        appended, and a clear after which the file stayed is left out.
        """
        log = tuple(_parse(line) for line in self._lines() if line.strip())
        written = self._written() if self.is_set() else None
        if written is None:
            return log
        if written not in log:
            return (*log, written)
        place = max(index for index, each in enumerate(log) if each == written)
        later = [each for each in log[place:] if each.action in (SET_WORD, HALT)]
        return (*log[:place], *later)

    def damaged_lines(self) -> list[int]:
        """Return the numbers of the log's lines that cannot be read, counted from 1."""
        lines = enumerate(self._lines(), 1)
        return [
            number
            for number, line in lines
            if line.strip() and _parse(line).action == UNREADABLE_LATCH
        ]

    def _lines(self) -> list[str]:
        try:
            return self.log_path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return []
        except OSError:
            return [UNREADABLE_LATCH]

    def _written(self) -> LatchRecord | None:
        """Return what the latch's own file says; None if it is empty or cannot be read."""
        try:
            record = _parse(self.path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return None
        return record if record.action in (SET_WORD, HALT) else None

    def _append(self, record: LatchRecord) -> None:
        """Append a line, after a line of its own for what a crash cut short.

        Raises:
            OSError: the line is not in the log, or not all of it.
        """
        if create_file(self.log_path):
            give_to_folders_owner(self.log_path)
        line = (json.dumps(attrs.asdict(record)) + "\n").encode()
        descriptor = os.open(self.log_path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def standing(log: Sequence[LatchRecord]) -> tuple[LatchRecord, ...]:
    """Return the sets since the latch was last cleared, or may have been, oldest first."""
    ends = (place for place, each in enumerate(log, 1) if each.action in (CLEAR, UNREADABLE_LATCH))
    return tuple(log[max(ends, default=0) :])


def asks_to_close(log: Sequence[LatchRecord]) -> bool:
    """Return True if the latch as it stands was set by a flatten; False if that is unclear."""
    return any(each.action == SET_WORD for each in standing(log))


def _parse(line: str) -> LatchRecord:
    """Read a line of the log. What is damaged, or of an unknown action, is UNREADABLE."""
    try:
        record = LatchRecord(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return LatchRecord(action=UNREADABLE_LATCH, reason="", actor="", at_ms=0)
    words = (record.action, record.reason, record.actor)
    sound = all(isinstance(each, str) for each in words) and type(record.at_ms) is int
    if sound and record.action in RECORDED_ACTIONS and 0 <= record.at_ms < LATEST_MS:
        return record
    return LatchRecord(action=UNREADABLE_LATCH, reason="", actor="", at_ms=0)


def _failed(action: str, path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot {action} the halt latch {path}: {error.strerror or error}; "
        "make the directory writable and have space on the disk, then repeat the command"
    )
