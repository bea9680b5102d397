"""Seeded scheduling, so that a run can be repeated. The only file with Trio's private names.

Trio shuffles the tasks that are ready at the same moment, on purpose, with a generator of its
own. Two runs with the same seed are identical only when it sorts them first and that
generator is seeded. Trio is pinned; a canary test notices when these names move.
"""

from __future__ import annotations

from trio._core import _run


def seed_scheduler(seed: int) -> None:
    """Make every ``trio.run`` from here on schedule ready tasks in the order of ``seed``."""
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # declared Final
    _run._r.seed(seed)
