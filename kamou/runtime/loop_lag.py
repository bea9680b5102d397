"""``LoopLag``: a measurement of the delay with which the event loop wakes tasks.

Kamou reports this delay, the loop lag, and makes no decision by it.
"""

from __future__ import annotations

import math
from collections import deque

import attrs
import trio

LAG_PERIOD_S = 0.2  # five wake-ups a second, about 0.05 % of a core
LAG_WINDOW_S = 60.0  # figures cover the last minute, so that an incident leaves them soon
P99 = 0.99


@attrs.frozen(kw_only=True)
class LagFigures:
    """Loop lag over the window, in seconds."""

    max_s: float
    p99_s: float
    samples: int


class LoopLag:
    """A sampler of loop lag, in a task of its own and in real time only.

    A stall that begins and ends between two samples is missed; ``benchmarks/stretches.py`` measures
    every stall. A longer stall is measured from the time at which the task should have woken.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(
            maxlen=math.ceil(LAG_WINDOW_S / LAG_PERIOD_S)
        )

    async def run(self) -> None:
        """Sample the loop lag every ``LAG_PERIOD_S`` until cancelled."""
        while True:
            due_s = trio.current_time() + LAG_PERIOD_S
            await trio.sleep_until(due_s)
            now_s = trio.current_time()
            self._samples.append((now_s, max(0.0, now_s - due_s)))
            while self._samples[0][0] < now_s - LAG_WINDOW_S:
                self._samples.popleft()

    def figures(self) -> LagFigures | None:
        """Return the figures of the last minute, or None before the first sample.

        The watchdog's thread calls it too. ``tuple(deque)`` copies without running Python code,
        so that the loop cannot change the samples meanwhile.
        """
        lags_s = sorted(lag_s for _, lag_s in tuple(self._samples))
        if not lags_s:
            return None
        place = math.ceil(P99 * len(lags_s)) - 1  # nearest rank
        return LagFigures(max_s=lags_s[-1], p99_s=lags_s[place], samples=len(lags_s))

    def gauges(self) -> dict[str, float]:
        """Return the figures as gauges of the status; none before the first sample.

        Keys: ``loop_lag_max_seconds`` and ``loop_lag_p99_seconds``.
        """
        figures = self.figures()
        if figures is None:
            return {}
        return {
            "loop_lag_max_seconds": round(figures.max_s, 6),
            "loop_lag_p99_seconds": round(figures.p99_s, 6),
        }

    def describe(self) -> str:
        """Return the figures as a clause for the watchdog's line."""
        figures = self.figures()
        if figures is None:
            return "loop lag was not sampled"
        return (
            f"loop lag of the last {LAG_WINDOW_S:g} s sampled: "
            f"max {figures.max_s:.3f} s, p99 {figures.p99_s:.3f} s"
        )
