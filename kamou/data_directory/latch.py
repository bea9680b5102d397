"""``HaltLatch``, a file that makes the port deny entries, and its log's records.

The latch needs neither `run` nor its database, so it works while `run` hangs, and the next run
respects it. Its log, in the same directory, is append-only, and the next start imports it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import attrs

from kamou.data_directory.folder import sync_directory, write_atomically
from kamou.data_directory.private_files import (
    create_directory,
    create_file,
    give_to_directory_owner,
)
from kamou.errors import StoreError


class LatchAction(StrEnum):
    """The action of a line of the log, which contains the value."""

    SET = "set"  # by a flatten, which makes a run close all positions
    HALT = "halt"  # blocks entries, and no more
    CLEAR = "clear"
    # A damaged line. It may have been a clear, so a flatten before it does not count any more. It
    # may have been another action, so entries stay blocked while the latch is set.
    UNREADABLE = "unreadable"


HALTING_ACTIONS = frozenset({LatchAction.SET, LatchAction.HALT})
RECORDED_ACTIONS = HALTING_ACTIONS | {LatchAction.CLEAR}
LATEST_MS = 253_402_300_800_000  # the year 10000; a later time is damage


@attrs.frozen(kw_only=True)
class LatchRecord:
    """One line of the latch's log: who set or cleared the latch, when and why.

    The file of a set latch may have such a record too. The record of a damaged line has empty texts
    and ``at_ms`` 0.
    """

    action: LatchAction
    reason: str
    actor: str
    at_ms: int


class HaltLatch:
    """The halt latch of one data directory.

    A set latch blocks entries; orders that only reduce pass.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_path = path.with_name(path.name + ".log")

    def is_set(self) -> bool:
        """Return True if the file exists, or if its existence cannot be checked.

        The check costs one ``stat``.
        """
        try:
            os.stat(self.path)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def set(
        self, reason: str, actor: str, at_ms: int, *, action: LatchAction = LatchAction.SET
    ) -> bool:
        """Block entries durably, and log the action.

        A latch that is set stays set. If the text cannot be written, such as on a full disk, the
        file is empty or keeps its older text, which blocks entries as well.

        Args:
            reason: the operator's reason; empty if none was given.
            actor: who sets the latch.
            at_ms: the time, ms since 1970 in UTC.
            action: ``set`` for a flatten, ``halt`` if positions stay open.

        Returns:
            True if the log has the action, synced; False if it may lack the action.

        Raises:
            StoreError: the file could not be written and synced. Assume that entries are NOT
                blocked: at most they are until a power cut.
        """
        record = LatchRecord(action=action, reason=reason, actor=actor, at_ms=at_ms)
        try:
            create_directory(self.path.parent)
            self._write(record)
        except OSError as error:
            raise _failed("set", self.path, error) from error
        with contextlib.suppress(OSError):  # the file blocks entries whatever its owner is
            give_to_directory_owner(self.path)
        try:
            self._append(record)
        except OSError:
            return False
        return True

    def _write(self, record: LatchRecord) -> None:
        """Write the file; if that fails, make sure that at least an empty file exists.

        Raises:
            OSError: no durable file exists, or a directory has its path.
        """
        try:
            write_atomically(self.path, json.dumps(attrs.asdict(record)) + "\n")
        except OSError:
            if self.path.is_dir():
                raise
            create_file(self.path)
            sync_directory(self.path.parent)

    def clear(self, reason: str, actor: str, at_ms: int) -> None:
        """Log the action, then remove the file, which allows entries again.

        Do nothing if the latch is not set.

        Raises:
            StoreError: the log or the file could not be changed, and entries stay blocked; or the
                file was removed, and a power cut may bring it back.
        """
        if not self.is_set():
            return
        record = LatchRecord(action=LatchAction.CLEAR, reason=reason, actor=actor, at_ms=at_ms)
        try:
            self._append(record)
            self.path.unlink()
            sync_directory(self.path.parent)
        except OSError as error:
            raise _failed("clear", self.path, error) from error

    def log(self) -> tuple[LatchRecord, ...]:
        """Return the records of the lines that took effect, oldest first.

        A damaged line is a record with the action ``unreadable``, and so is a log that cannot be
        read. While the latch is set, a readable record in its file corrects the log. A set that
        could not be logged is appended; a clear that did not remove the file is left out, and so
        are damaged lines after the set.
        """
        log = tuple(_parse(line) for line in self._lines() if line.strip())
        written = self._written() if self.is_set() else None
        if written is None:
            return log
        if written not in log:
            return (*log, written)
        place = max(index for index, each in enumerate(log) if each == written)
        later = [each for each in log[place:] if each.action in HALTING_ACTIONS]
        return (*log[:place], *later)

    def damaged_lines(self) -> list[int]:
        """Return the numbers of the log's damaged lines, counted from 1.

        A log that cannot be read counts as one damaged line.
        """
        lines = enumerate(self._lines(), 1)
        return [
            number
            for number, line in lines
            if line.strip() and _parse(line).action is LatchAction.UNREADABLE
        ]

    def _lines(self) -> list[str]:
        try:
            return self.log_path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return []
        except OSError:
            return [LatchAction.UNREADABLE]

    def _written(self) -> LatchRecord | None:
        """Return the record in the latch's file; None without a readable set or halt."""
        try:
            record = _parse(self.path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return None
        return record if record.action in HALTING_ACTIONS else None

    def _append(self, record: LatchRecord) -> None:
        """Append a line durably; create the log if it is missing.

        If root runs the command, a created log is given to the directory's owner. If a crash cut
        the last line short, a line break ends that line first.

        Raises:
            OSError: the line is not in the log, only in part, or not synced to the disk.
        """
        if create_file(self.log_path):
            give_to_directory_owner(self.log_path)
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


def standing_records(log: Sequence[LatchRecord]) -> tuple[LatchRecord, ...]:
    """Return the sets and halts after the last clear or unreadable line, oldest first."""
    over = (LatchAction.CLEAR, LatchAction.UNREADABLE)
    ends = (place for place, each in enumerate(log, 1) if each.action in over)
    return tuple(log[max(ends, default=0) :])


def asks_to_flatten(log: Sequence[LatchRecord]) -> bool:
    """Return True if a flatten set the latch since its last clear.

    An unreadable line counts as a clear, because it may have been one.
    """
    return any(each.action is LatchAction.SET for each in standing_records(log))


def _parse(line: str) -> LatchRecord:
    """Return the record of a line; a damaged line has the action ``unreadable``.

    A line with an unknown action or an impossible time is damaged.
    """
    try:
        record = LatchRecord(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return LatchRecord(action=LatchAction.UNREADABLE, reason="", actor="", at_ms=0)
    words = (record.action, record.reason, record.actor)
    sound = all(isinstance(each, str) for each in words) and type(record.at_ms) is int
    if sound and record.action in RECORDED_ACTIONS and 0 <= record.at_ms < LATEST_MS:
        return attrs.evolve(record, action=LatchAction(record.action))
    return LatchRecord(action=LatchAction.UNREADABLE, reason="", actor="", at_ms=0)


def _failed(action: str, path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot {action} the halt latch {path}: {error.strerror or error}; "
        "make the directory writable and have space on the disk, then repeat the command"
    )
