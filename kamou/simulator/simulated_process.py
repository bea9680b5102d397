"""The kills, the disk writer and the clock of a simulated process.

The module also copies databases and applies power cuts to them.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from kamou.clock import Clock
from kamou.errors import DiskFullError
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.store.journal import Committed, Encoded, JournalWriter

SYNCHRONOUS_FULL = 2  # SQLite's number
KILL_RATE = 0.1  # probability of a due kill at each point that the process reaches


class Killed(BaseException):
    """The end of a killed process, after which nothing more reaches disk or venue."""


@attrs.define(eq=False)
class CrashSchedule:
    """The kills that are due in one process, and the kill that ended it."""

    chaos: Chaos
    clock: Clock  # true time
    kills: list[tuple[int, FaultName]]  # (at_ms, process_kill or power_cut), sorted
    dead: FaultName | None = None  # the kind of kill, once it has happened
    where: str = ""

    def check(self) -> None:
        """Raise ``Killed`` if the process was killed.

        Every access to the disk or the venue calls this method first.
        """
        if self.dead:
            raise Killed(self.where)

    def due(self) -> tuple[int, FaultName] | None:
        """Return the next kill; None if there is none."""
        return self.kills[0] if self.kills else None

    def kill_if_due(self, where: str) -> None:
        """Kill the process here with probability ``KILL_RATE`` if a kill is due.

        Raise ``Killed`` too if the process was killed before.
        """
        self.check()
        kill = self.due()
        if kill is None or self.clock.now_ms() < kill[0]:
            return
        if self.chaos.draw(kill[1]).random() < KILL_RATE:
            self.die(kill[1], where)

    def die(self, kind: FaultName, where: str) -> None:
        """Kill the process at the place ``where`` by this kind of kill.

        Raises:
            Killed: always.
        """
        self.dead, self.where = kind, where
        del self.kills[0]
        self.chaos.note(kind)
        raise Killed(where)


class DiskWriter(JournalWriter):
    """The journal's writer, on a disk that may be full.

    Its process may be killed before, inside or after a commit.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        run_number: int,
        crashes: CrashSchedule,
        on_commit: Callable[[Sequence[Committed]], None],
    ) -> None:
        super().__init__(connection, run_number=run_number)
        self._crashes = crashes
        self._on_commit = on_commit

    def append_encoded(
        self, batch: Sequence[Encoded], details: Sequence[tuple[int, bytes]] = ()
    ) -> tuple[Committed, ...]:
        self._crashes.kill_if_due("before a commit")
        self._full()
        done = super().append_encoded(batch, details)
        self._on_commit(done)
        self._crashes.kill_if_due("after a commit")
        return done

    def _insert(self, batch: Sequence[Encoded], rows: Sequence[tuple[object, ...]]) -> None:
        super()._insert(batch, rows)
        self._crashes.kill_if_due("inside a commit")

    def set_meta(self, key: str, value: str) -> None:
        self._crashes.check()
        self._full()
        super().set_meta(key, value)

    def recover(self) -> None:
        if hasattr(self, "_crashes"):
            self._crashes.check()
        super().recover()

    def _full(self) -> None:
        if self._crashes.chaos.inside(FaultName.DISK_FULL, self._crashes.clock.now_ms()):
            raise DiskFullError("the simulated disk is full")


@attrs.define
class SkewedClock:
    """The system's clock, whose error to the true time changes in steps."""

    true: Clock
    chaos: Chaos
    _error: tuple[int, int] = (-1, 0)

    def error_ms(self) -> int:
        """Return the clock's error in ms, drawn for each window of ``clock_skew``; else 0."""
        window = self.chaos.inside(FaultName.CLOCK_SKEW, self.true.now_ms())
        if window is None:
            return 0
        if self._error[0] != window[0]:
            self._error = (
                window[0],
                int(self.chaos.draw(FaultName.CLOCK_SKEW).uniform(-4000, 4000)),
            )
        return self._error[1]

    def now_ms(self) -> int:
        return self.true.now_ms() + self.error_ms()

    async def sleep_until(self, at_ms: int) -> None:
        await self.true.sleep_until(at_ms - self.error_ms())
        while (left_ms := at_ms - self.now_ms()) > 0:  # the clock went back meanwhile
            await self.true.sleep_until(self.true.now_ms() + left_ms)


def copy_database(path: Path, to: Path) -> None:
    """Copy a SQLite file and its write-ahead log as they are now."""
    for suffix in ("", "-wal"):
        part, copy = path.with_name(path.name + suffix), to.with_name(to.name + suffix)
        copy.unlink(missing_ok=True)  # a log of the replaced file does not belong to the copy
        if part.exists():
            shutil.copyfile(part, copy)


def image_path(path: Path) -> Path:
    """Return the path of the copy that is made at a kill, before the file is closed."""
    return path.with_name(path.name + ".image")


def cut_power(path: Path, draw: float, *, synced: bool) -> int:
    """Apply a power cut to a database in WAL mode and return the number of bytes lost.

    If every commit was synced, nothing is lost. Otherwise the end of the log is lost, and SQLite
    recovers the last whole transaction that is left.

    Args:
        path: path of the database.
        draw: fraction of the log's bytes that is left, between 0 and 1.
        synced: True if every commit was synced.
    """
    log = path.with_name(path.name + "-wal")
    if synced or not log.exists():
        return 0
    size = log.stat().st_size
    kept = int(size * draw)
    os.truncate(log, kept)
    return size - kept
