"""Counter of scheduler steps that injects crashes, and the errors that it injects.

A *crash point* is the place where a task of an actor is suspended: the chain of Kamou's own frames
from the actor's ``run`` to the innermost one. Two chains to the same ``await`` are two crash
points.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import attrs
import trio

import kamou
from kamou.runtime.determinism import throw_into

HOME = str(Path(kamou.__file__).parent)
STEPS_AT_ONCE_MAX = 100_000  # a simulated hour has about 15,000 steps
NOT_THE_ACTORS = ("supervisor.py",)  # its frames run the actors' tasks and are no crash points


class InjectedCrashError(Exception):
    """An error that the simulation raises in an actor where the actor waits."""


Chain = tuple[tuple[str, int], ...]  # (file from the package, line), outermost first


@attrs.frozen(order=True)
class CrashPoint:
    """A place where a task of ``actor`` waits, as the chain of its frames."""

    actor: str
    chain: Chain

    def __str__(self) -> str:
        return f"{self.actor}: " + " > ".join(f"{file}:{line}" for file, line in self.chain)


def list_frames(coroutine: object) -> Iterator[tuple[str, int]]:
    """Yield Kamou's frames of a suspended coroutine, outermost first."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None and frame.f_code.co_filename.startswith(HOME):
            name = frame.f_code.co_filename[len(HOME) + 1 :]
            if name not in NOT_THE_ACTORS:
                yield name, frame.f_lineno
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)


def find_actor(task: trio.lowlevel.Task, actors: frozenset[str]) -> str | None:
    """Return the actor to which a task or its nursery belongs.

    Return None for a task of no actor, and for a task before its first step.
    """
    actor = task.name
    if actor not in actors:
        parent = task.parent_nursery and task.parent_nursery.parent_task
        if parent is None or parent.name not in actors:
            return None
        actor = parent.name
    if inspect.getcoroutinestate(task.coro) == inspect.CORO_CREATED:
        return None
    return actor


class Stuck(BaseException):
    """An error for tasks that keep working while simulated time does not advance."""


class StepCounter(trio.abc.Instrument):
    """Counter of scheduler steps, which crashes an actor if ``strike()`` is True.

    ``strike`` is called before each step of an actor's task. ``order`` is a checksum of the tasks
    in the order of their steps. After ``at_once_max`` steps within one instant, ``Stuck`` is raised
    in one task (seed 960263).
    """

    def __init__(
        self,
        actors: frozenset[str],
        strike: Callable[[], bool] | None = None,
        at_once_max: int = STEPS_AT_ONCE_MAX,
    ) -> None:
        self.count = 0
        self.order = 0
        self._actors = actors
        self._strike = strike
        self._at_once_max = at_once_max
        self._instant = (0.0, 0)  # Trio's time, and the number of its first step
        self._stuck = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1
        now = trio.current_time()
        if now != self._instant[0]:
            self._instant = now, self.count
        self.order = crc32(task.name.encode(), self.order)
        if task.child_nurseries:
            return  # a task may not leave its own nursery before its children
        if self.count - self._instant[1] > self._at_once_max and not self._stuck:
            self._stuck = True
            throw_into(
                task,
                Stuck(
                    f"{task.name} takes a step after more than {self._at_once_max} steps at"
                    f" {now:.3f} s of Trio's clock, which does not advance"
                ),
            )
            return
        if self._strike is None:
            return
        actor = find_actor(task, self._actors)
        if actor is not None and self._strike():
            chain = tuple(list_frames(task.coro))
            if chain:
                throw_into(task, InjectedCrashError(str(CrashPoint(actor, chain))))
