"""``Chaos``, one seed's faults over time.

It says when each begins and whether it strikes, and counts each strike. ``covered_ms`` measures how
much of a period some windows cover.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

from kamou.core.day import HOUR_MS
from kamou.runtime.determinism import make_random_stream
from kamou.simulator.faults import BY_NAME, FAULTS, Fault, FaultName


class Chaos:
    """One seed's faults over time.

    All times are true times in ms, without clock skew.
    """

    def __init__(
        self, seed: int, on: Iterable[FaultName], *, start_ms: int, end_ms: int, convergence_ms: int
    ) -> None:
        self.seed = seed
        self.on = frozenset(map(FaultName, on))
        self.struck: Counter[FaultName] = Counter()
        self.convergence_ms = convergence_ms  # start of the convergence phase, which has no faults
        self._draws = {fault.name: make_random_stream(seed, fault.stream) for fault in FAULTS}
        self._windows = {
            fault.name: self._drawn_windows(fault, start_ms, end_ms)
            for fault in FAULTS
            if fault.name in self.on and fault.windows_per_hour
        }
        self._counted: set[tuple[FaultName, int]] = set()

    def draw(self, name: FaultName) -> Random:
        """Return the fault's own random stream."""
        return self._draws[name]

    def chance(self, name: FaultName, now_ms: int, rate: float | None = None) -> bool:
        """Return True, and count it, if the fault strikes this call."""
        if name not in self.on or now_ms >= self.convergence_ms:
            return False
        if self._draws[name].random() >= (BY_NAME[name].rate if rate is None else rate):
            return False
        self.struck[name] += 1
        return True

    def inside(self, name: FaultName, now_ms: int) -> tuple[int, int] | None:
        """Return the fault's window that contains ``now_ms``; count each window once.

        Return None outside of its windows and in the convergence phase.
        """
        if now_ms >= self.convergence_ms:
            return None
        for window in self._windows.get(name, ()):
            if window[0] <= now_ms < window[1]:
                if (name, window[0]) not in self._counted:
                    self._counted.add((name, window[0]))
                    self.struck[name] += 1
                return window
        return None

    def windows(self, name: FaultName) -> tuple[tuple[int, int], ...]:
        """Return the fault's windows as (from_ms, to_ms)."""
        return self._windows.get(name, ())

    def moments(self, name: FaultName) -> tuple[int, ...]:
        """Return the moments before the convergence phase at which a fault strikes."""
        return tuple(
            window[0] for window in self._windows.get(name, ()) if window[0] < self.convergence_ms
        )

    def note(self, name: FaultName) -> None:
        """Count a strike of the fault."""
        self.struck[name] += 1

    def _drawn_windows(
        self, fault: Fault, start_ms: int, end_ms: int
    ) -> tuple[tuple[int, int], ...]:
        draw = self._draws[fault.name]
        expected = fault.windows_per_hour * (end_ms - start_ms) / HOUR_MS
        count = int(expected) + (draw.random() < expected % 1)
        found = []
        for _ in range(max(1, count)):
            at_ms = start_ms + int(draw.random() * (end_ms - start_ms))
            low, high = fault.window_s
            # Short windows are more common than long ones.
            length = low * (high / low) ** draw.random() if low else 0.0
            found.append((at_ms, min(end_ms, at_ms + int(1000 * length))))
        return tuple(sorted(found))


def covered_ms(windows: Iterable[tuple[int, int]], since_ms: int, until_ms: int) -> int:
    """Return the time in ms from ``since_ms`` to ``until_ms`` inside any window."""
    covered, reached_ms = 0, since_ms
    for from_ms, to_ms in sorted(windows):
        begin, end = max(from_ms, reached_ms), min(to_ms, until_ms)
        if end > begin:
            covered += end - begin
            reached_ms = end
    return covered
