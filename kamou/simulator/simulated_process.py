"""One simulated process of ours, and its disk: what dies in a kill, and what is left of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from kamou.clock import Clock
from kamou.errors import DiskFullError
from kamou.simulator.faults import Chaos
from kamou.store.journal import Committed, Encoded, JournalWriter

SYNCHRONOUS_FULL = 2  # SQLite's number
KILL_RATE = 0.1  # of the points met while such a kill waits


class Killed(BaseException):
    """The process is dead: nothing that it still does reaches disk or venue."""


@attrs.define(eq=False)
class Power:
    """Whether the process lives, and when it is going to die."""

    chaos: Chaos
    clock: Clock  # true
    kills: list[tuple[int, str]]  # (when, process_kill or power_cut), sorted; the next first
    dead: str = ""  # by what
    where: str = ""

    def check(self) -> None:
        """Raise if the process is dead. Called wherever it touches the world."""
        if self.dead:
            raise Killed(self.where)

    def due(self) -> tuple[int, str] | None:
        """The next kill."""
        return self.kills[0] if self.kills else None

    def maybe(self, where: str) -> None:
        """A point at which a due kill may strike."""
        self.check()
        kill = self.due()
        if kill is None or self.clock.now_ms() < kill[0]:
            return
        if self.chaos.draw(kill[1]).random() < KILL_RATE:
            self.die(kill[1], where)

    def die(self, kind: str, where: str) -> None:
        self.dead, self.where = kind, where
        del self.kills[0]
        self.chaos.note(kind)
        raise Killed(where)


class DiskWriter(JournalWriter):
    """The journal's writer on a disk that fills up, in a process that is killed at its commits."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        run_number: int,
        power: Power,
        on_commit: Callable[[Sequence[Committed]], None],
    ) -> None:
        super().__init__(connection, run_number=run_number)
        self._power = power
        self._on_commit = on_commit

    def append_encoded(
        self, batch: Sequence[Encoded], details: Sequence[tuple[int, bytes]] = ()
    ) -> tuple[Committed, ...]:
        self._power.maybe("before a commit")
        self._full()
        done = super().append_encoded(batch, details)
        self._on_commit(done)
        self._power.maybe("after a commit")
        return done

    def _insert(self, batch: Sequence[Encoded], rows: Sequence[tuple[object, ...]]) -> None:
        super()._insert(batch, rows)
        self._power.maybe("inside a commit")

    def set_meta(self, key: str, value: str) -> None:
        self._power.check()
        self._full()
        super().set_meta(key, value)

    def recover(self) -> None:
        if hasattr(self, "_power"):
            self._power.check()
        super().recover()

    def _full(self) -> None:
        if self._power.chaos.inside("disk_full", self._power.clock.now_ms()):
            raise DiskFullError("the simulated disk is full")


@attrs.define
class SkewedClock:
    """Our own clock: the true one and an error that changes by steps."""

    true: Clock
    chaos: Chaos
    _error: tuple[int, int] = (-1, 0)

    def error_ms(self) -> int:
        window = self.chaos.inside("clock_skew", self.true.now_ms())
        if window is None:
            return 0
        if self._error[0] != window[0]:
            self._error = (window[0], int(self.chaos.draw("clock_skew").uniform(-4000, 4000)))
        return self._error[1]

    def now_ms(self) -> int:
        return self.true.now_ms() + self.error_ms()

    async def sleep_until(self, at_ms: int) -> None:
        await self.true.sleep_until(at_ms - self.error_ms())
        while (left_ms := at_ms - self.now_ms()) > 0:  # the clock was set back meanwhile
            await self.true.sleep_until(self.true.now_ms() + left_ms)


def copy_database(path: Path, to: Path) -> None:
    """A SQLite file and its write-ahead log, as they are now."""
    for suffix in ("", "-wal"):
        part, copy = path.with_name(path.name + suffix), to.with_name(to.name + suffix)
        copy.unlink(missing_ok=True)  # a log of what the copy replaces is not its own
        if part.exists():
            shutil.copyfile(part, copy)


def image_of(path: Path) -> Path:
    """Where the disk stands as a dead process left it: closing the files would tidy them up."""
    return path.with_name(path.name + ".image")


def cut_power(path: Path, draw: float, *, synced: bool) -> int:
    """What a power cut leaves of a database in WAL mode; the bytes that are gone.

    With every commit synced the file is what was committed. Otherwise the log's end, which only
    the machine's memory had, is lost: SQLite then finds the last whole transaction before it.
    """
    log = path.with_name(path.name + "-wal")
    if synced or not log.exists():
        return 0
    size = log.stat().st_size
    kept = int(size * draw)
    os.truncate(log, kept)
    return size - kept
