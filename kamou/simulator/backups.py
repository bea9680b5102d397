"""Backups of the journal, and the operator who restores one: minutes are missing from it then.

The venue goes on as it is. What was committed after the backup is gone from the journal, though
everything that came of it was really sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import trio

from kamou.clock import Clock
from kamou.simulator.faults import Chaos
from kamou.simulator.simulated_process import copy_database
from kamou.store.journal import Committed

AGE_S = (20.0, 900.0)  # of a backup when it is restored; young ones are more common
DOWN_MS = 61_000  # what a human takes at least: no bar is looked at twice

OnCommit = Callable[[Sequence[Committed]], None]


@attrs.define(eq=False)
class Backups:
    """Copies the journal at some times, and puts the copy in its place at others."""

    chaos: Chaos
    folder: Path
    _plan: list[tuple[int, int]] = attrs.Factory(list)  # copied when, restored when; to come
    _taken: bool = False  # the copy that is restored next
    _restored: bool = False  # the next process finds it

    def __attrs_post_init__(self) -> None:
        draw = self.chaos.draw("restored_backup")
        for at_ms in self.chaos.moments("restored_backup"):
            low, high = AGE_S
            age_ms = int(1000 * low * (high / low) ** draw.random())
            self._plan.append((at_ms - age_ms, at_ms))

    @property
    def _copy(self) -> Path:
        return self.folder / "backup.sqlite3"

    def watching(self, on_commit: OnCommit, path: Path, clock: Clock) -> OnCommit:
        """``on_commit``, and a copy when one is due: right after a commit the files are whole."""

        def committed(done: Sequence[Committed]) -> None:
            on_commit(done)
            if self._plan and not self._taken and clock.now_ms() >= self._plan[0][0]:
                copy_database(path, self._copy)
                self._taken = True

        return committed

    async def stop_in_time(self, clock: Clock, stopped: trio.Event) -> None:
        """The operator stops the run before a backup takes the journal's place."""
        if self._plan and self._plan[0][1] > clock.now_ms():
            await clock.sleep_until(self._plan[0][1])
            stopped.set()

    def restore(self, to: Path, now_ms: int) -> int:
        """Replace the next process's disk if it is time to. How long that took, in ms.

        A backup that was never taken, for nobody ran, is passed over.
        """
        if not self._plan or now_ms < self._plan[0][1]:
            return 0
        del self._plan[0]
        due, self._taken = self._taken, False
        if not due:
            return 0
        copy_database(self._copy, to)
        self._restored = True
        self.chaos.note("restored_backup")
        return DOWN_MS

    def taken_up(self) -> bool:
        """Whether the process that begins now is the first on a restored journal."""
        restored, self._restored = self._restored, False
        return restored
