"""Runners: functions that run blocking work, in place or on a thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Runner(Protocol):
    """A function that runs blocking work: in place, or on one thread at a time."""

    def __call__(self, fn: Callable[..., T], /, *args: object) -> Awaitable[T]:
        """Return ``fn(*args)``; a cancellation does not interrupt the work."""
        ...


async def run_inline(fn: Callable[..., T], /, *args: object) -> T:
    """Run ``fn`` in place, because a simulated clock would jump while a thread works."""
    return fn(*args)  # no checkpoint: its callers have several


def make_thread_runner() -> Runner:
    """Return a runner that works on one thread at a time.

    A cancellation waits until the work is done.
    """
    limiter = trio.CapacityLimiter(1)

    async def run(fn: Callable[..., T], /, *args: object) -> T:
        return await trio.to_thread.run_sync(fn, *args, limiter=limiter)

    return run
