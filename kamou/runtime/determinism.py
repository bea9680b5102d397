"""Seeded scheduling and random streams, and errors thrown into a chosen task.

They make runs repeatable. Trio shuffles tasks that are ready at the same moment, with a random
generator of its own. Two runs with the same seed are identical only if Trio sorts the tasks first
and that generator is seeded. ``seed_scheduler`` and ``throw_into`` use private names of
Trio. Trio is pinned to one version, and a test fails if the names change.
"""

from __future__ import annotations

import random

import outcome
import trio
from trio._core import _run


def seed_scheduler(seed: int) -> None:
    """Make ``trio.run`` schedule ready tasks in an order that ``seed`` decides."""
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001  # as below; declared Final
    _run._r.seed(seed)  # noqa: SLF001  # Trio has no public name for it


def make_random_stream(seed: int, number: int) -> random.Random:
    """Return the generator of one numbered stream, independent of other streams.

    Streams have numbers and no names, so that a renaming changes no draw.
    """
    return random.Random(f"{seed}:{number}")


def throw_into(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Make the task's next step raise ``error`` instead of returning a value.

    Call it in an instrument's ``before_task_step``: before that, Trio would overwrite the error.
    """
    task._next_send = outcome.Error(error)  # noqa: SLF001  # Trio has no public name for it
