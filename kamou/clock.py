"""Clocks, stopwatches for the costs of code, and arithmetic of periods.

Code that needs the time takes a clock as an argument. Wall time is ``int`` milliseconds since the
Unix epoch, UTC (``*_ms``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import attrs
import trio

WAIT_MAX_MS = 60_000  # longest sleep before the wall clock is read again
SLEW = 0.1  # fraction by which the clock runs slower while the wall clock is behind it


def floor_ms(at_ms: int, period_ms: int) -> int:
    """Return the latest multiple of ``period_ms`` (UTC) at or before ``at_ms``."""
    return at_ms - at_ms % period_ms


def next_ms(at_ms: int, period_ms: int) -> int:
    """Return the earliest multiple of ``period_ms`` strictly after ``at_ms``."""
    return floor_ms(at_ms, period_ms) + period_ms


def read_stopwatch_ns() -> int:
    """Return a real time in ns, to measure durations of code; not for decisions."""
    return time.perf_counter_ns()


def read_cpu_time_s() -> float:
    """Return the CPU seconds that this process has used, to measure costs."""
    return time.process_time()


class Clock(Protocol):
    """The interface of a clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch, UTC."""
        ...

    async def sleep_until(self, at_ms: int) -> None:
        """Wait until ``at_ms`` or later; if it has passed, only make a checkpoint."""
        ...


class SystemClock:
    """The machine's wall clock without backward steps, which would stall timers.

    It advances with the monotonic clock. If the wall clock is ahead, it jumps to the wall clock at
    once; if the wall clock was set back, it runs slower by ``SLEW`` until they agree.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._seen_ns = monotonic_ns()
        self._ahead_ns = wall_ns() - self._seen_ns  # of the monotonic clock

    def now_ms(self) -> int:
        steady = self._monotonic_ns()
        wanted = self._wall_ns() - steady
        slowest = self._ahead_ns - int((steady - self._seen_ns) * SLEW)
        self._ahead_ns = max(wanted, slowest)
        self._seen_ns = steady
        return (steady + self._ahead_ns) // 1_000_000

    async def sleep_until(self, at_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        while (left_ms := at_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - no event tells the time
            await trio.sleep(min(left_ms, WAIT_MAX_MS) / 1000)


@attrs.define
class SimulatedClock:
    """A wall clock that follows Trio's clock.

    Its time is simulated under ``JumpClock`` or ``MockClock``. ``start_ms`` is the wall time at
    Trio time ``origin_s`` (zero for these two clocks).
    """

    start_ms: int
    origin_s: float = 0.0

    def now_ms(self) -> int:
        return self.start_ms + round((trio.current_time() - self.origin_s) * 1000)

    async def sleep_until(self, at_ms: int) -> None:
        await trio.sleep_until(self.origin_s + (at_ms - self.start_ms) / 1000)


class JumpClock(trio.abc.Clock):
    """A Trio clock that jumps to the next deadline as soon as no task is runnable.

    Trio asks a clock how long to sleep only when its run queue is empty. Moving to the deadline
    and answering 0 s is safe if no thread or socket is pending and no task waits for idleness, so
    the store runs inline under this clock. Under a seeded scheduler a run takes the same steps as
    under ``MockClock(autojump_threshold=0)``, which needs one more turn of the loop per jump.
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
        while self._now < deadline:
            # A sum and not the deadline itself: MockClock adds, and may land one bit beyond it.
            self._now += deadline - self._now
        return 0.0
