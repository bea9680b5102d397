"""Backups of the journal, and the restore of a backup by the operator.

Events after the backup are missing from the restored journal. Their orders were sent, so the venue
has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import trio

from kamou.clock import Clock
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.simulated_process import copy_database
from kamou.store.journal import Committed

AGE_S = (20.0, 900.0)  # lowest and highest age of a restored backup; low ages are more frequent
DOWN_MS = 61_000  # duration of a restore; longer than one cycle, so that no bar is read twice

OnCommit = Callable[[Sequence[Committed]], None]


@attrs.define(eq=False)
class Backups:
    """The backups of one simulation, each a copy of the journal and its later restore."""

    chaos: Chaos
    directory: Path
    _plan: list[tuple[int, int]] = attrs.Factory(list)  # (copied at, restored at) in ms
    _taken: bool = False  # the next copy has been made
    _restored: bool = False  # the next process starts on a copy

    def __attrs_post_init__(self) -> None:
        draw = self.chaos.draw(FaultName.RESTORED_BACKUP)
        for at_ms in self.chaos.moments(FaultName.RESTORED_BACKUP):
            low, high = AGE_S
            age_ms = int(1000 * low * (high / low) ** draw.random())
            self._plan.append((at_ms - age_ms, at_ms))

    @property
    def _copy(self) -> Path:
        return self.directory / "backup.sqlite3"

    def add_copying(self, on_commit: OnCommit, path: Path, clock: Clock) -> OnCommit:
        """Return ``on_commit`` followed by a due copy of the journal at ``path``.

        The copy is made after a commit, because the files are then complete.
        """

        def committed(done: Sequence[Committed]) -> None:
            on_commit(done)
            if self._plan and not self._taken and clock.now_ms() >= self._plan[0][0]:
                copy_database(path, self._copy)
                self._taken = True

        return committed

    async def stop_for_restore(self, clock: Clock, stopped: trio.Event) -> None:
        """Stop the run at the time of the next restore."""
        if self._plan and self._plan[0][1] > clock.now_ms():
            await clock.sleep_until(self._plan[0][1])
            stopped.set()

    def restore(self, to: Path, now_ms: int) -> int:
        """Restore a due backup to ``to``, the disk of the next process.

        Return the time taken in ms. It is 0 if no backup is due, or if no commit came between
        the time to copy the backup and the time to restore it.
        """
        if not self._plan or now_ms < self._plan[0][1]:
            return 0
        del self._plan[0]
        due, self._taken = self._taken, False
        if not due:
            return 0
        copy_database(self._copy, to)
        self._restored = True
        self.chaos.note(FaultName.RESTORED_BACKUP)
        return DOWN_MS

    def take_restored(self) -> bool:
        """Return True for the first process after a restore, and False after that."""
        restored, self._restored = self._restored, False
        return restored
