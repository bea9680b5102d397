"""Runners: where blocking work is done, in place or on a thread. Handed over as a parameter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import trio

T = TypeVar("T")


class Runner(Protocol):
    """Runs blocking work, one piece at a time: in place, or on a thread."""

    def __call__(self, fn: Callable[..., T], /, *args: Any) -> Awaitable[T]:
        """``fn(*args)``. Not cancelled half-way."""
        ...


async def run_inline(fn: Callable[..., T], /, *args: Any) -> T:
    """In place: for simulated time, which takes a waiting thread for idleness."""
    return fn(*args)  # no checkpoint: what is around it has several


def run_on_thread() -> Runner:
    """One dedicated thread at a time; a cancellation waits until the work is over."""
    limiter = trio.CapacityLimiter(1)

    async def run(fn: Callable[..., T], /, *args: Any) -> T:
        return await trio.to_thread.run_sync(fn, *args, limiter=limiter)

    return run
