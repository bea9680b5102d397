"""Instruments that count where actors wait and crash one of them there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import trio

from kamou.runtime.determinism import throw_into
from kamou.simulator.crash_injection import CrashPoint, InjectedCrashError, find_actor, list_frames


class CrashPointCounter(trio.abc.Instrument):
    """Counts how often each site is resumed while ``armed()`` is true."""

    def __init__(self, actors: frozenset[str], armed: Callable[[], bool]) -> None:
        self.actors = actors
        self.armed = armed
        self.seen: Counter[CrashPoint] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        site = self.site_of(task)
        if site is not None and self.armed():
            self.seen[site] += 1
            self.resumed(task, site)

    def resumed(self, task: trio.lowlevel.Task, site: CrashPoint) -> None:
        """Act when a task continues from a site; a subclass may override this."""

    def site_of(self, task: trio.lowlevel.Task) -> CrashPoint | None:
        actor = find_actor(task, self.actors)
        if actor is None:
            return None
        chain = tuple(list_frames(task.coro))
        return CrashPoint(actor, chain) if chain else None


class CrashInjector(CrashPointCounter):
    """Raises ``InjectedCrashError`` once, instead of the n-th return of one wait."""

    def __init__(
        self, actors: frozenset[str], armed: Callable[[], bool], site: CrashPoint, occurrence: int
    ) -> None:
        super().__init__(actors, armed)
        self.target = site
        self.occurrence = occurrence
        self.struck = False

    def resumed(self, task: trio.lowlevel.Task, site: CrashPoint) -> None:
        if self.struck or site != self.target or self.seen[site] != self.occurrence:
            return
        self.struck = True
        throw_into(task, InjectedCrashError(str(site)))
