"""Seeded scheduling and chance, so that a run can be repeated. Trio's private names stand here.

Trio shuffles the tasks that are ready at the same moment, on purpose, with a generator of its
own. Two runs with the same seed are identical only when it sorts them first and that
generator is seeded. Trio is pinned; a canary test notices when these names move.
"""

from __future__ import annotations

import random

import outcome
import trio
from trio._core import _run


def seed_scheduler(seed: int) -> None:
    """Make every ``trio.run`` from here on schedule ready tasks in the order of ``seed``."""
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # declared Final
    _run._r.seed(seed)


def random_stream(seed: int, number: int) -> random.Random:
    """Return the generator of one numbered stream: what one draws changes nothing for the others.

    Streams have numbers, not names, so that a new name changes no draw.
    """
    return random.Random(f"{seed}:{number}")


def throw_into(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Make the task's next step raise ``error`` in place of what it waited for.

    Only from an instrument's ``before_task_step``: later it is too late, earlier Trio overwrites.
    """
    task._next_send = outcome.Error(error)
