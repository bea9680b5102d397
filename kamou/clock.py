"""Time. Everything that asks for the time is handed one of these clocks.

Wall time is ``int`` milliseconds since the Unix epoch, UTC (``*_ms``).
"""

from __future__ import annotations

import math
import time
from typing import Protocol

import attrs
import trio

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def floor_ms(at_ms: int, period_ms: int) -> int:
    """The latest multiple of ``period_ms`` (UTC-aligned) that is not after ``at_ms``."""
    return at_ms - at_ms % period_ms


def next_ms(at_ms: int, period_ms: int) -> int:
    """The earliest multiple of ``period_ms`` that is strictly after ``at_ms``."""
    return floor_ms(at_ms, period_ms) + period_ms


def stopwatch_ns() -> int:
    """Real nanoseconds, for measuring our own work. Never for deciding anything."""
    return time.perf_counter_ns()


class Clock(Protocol):
    """What actors may ask of time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        ...

    async def sleep_until(self, at_ms: int) -> None:
        """Return at ``at_ms`` or later; at once when it has passed. A cancellation point."""
        ...


class SystemClock:
    """The machine's own clock. It may be stepped, so long sleeps look again every minute."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep_until(self, at_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        while (left_ms := at_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - no event tells the time
            await trio.sleep(min(left_ms, MINUTE_MS) / 1000)


@attrs.define
class SimulatedClock:
    """Wall time derived from Trio's clock: under ``JumpClock`` or ``MockClock`` it is simulated.

    ``start_ms`` is the wall time at Trio time ``origin_s`` (zero for both simulated clocks).
    """

    start_ms: int
    origin_s: float = 0.0

    def now_ms(self) -> int:
        return self.start_ms + round((trio.current_time() - self.origin_s) * 1000)

    async def sleep_until(self, at_ms: int) -> None:
        await trio.sleep_until(self.origin_s + (at_ms - self.start_ms) / 1000)


class JumpClock(trio.abc.Clock):
    """A Trio clock that jumps to the next deadline as soon as nothing is runnable.

    Trio asks a clock how long to sleep only when its run queue is empty, so answering "not at
    all" after moving to the deadline is safe as long as no thread or socket is pending: the
    store runs inline under this clock. Several times faster than ``MockClock(autojump=0)``.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def start_clock(self) -> None:
        self._now = 0.0

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if math.isinf(deadline):
            return deadline
        self._now = max(self._now, deadline)
        return 0.0
