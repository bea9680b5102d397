"""Directional movement and its average strength, the ADX (Wilder 1978).

The results are those of TA-Lib, which seeds the running sums with the first n-1 movements and
smooths from the n-th on. Without any movement the strength is 0.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.atr import true_range
from kamou.core.indicators.base import BarRow, IndicatorState, run_averages


def directional_movements(rise: Floats, fall: Floats) -> tuple[Floats, Floats]:
    """Return plus and minus directional movement.

    ``rise`` is the change of the highs, ``fall`` the change of the lows, positive downwards.
    """
    plus = np.where((rise > fall) & (rise > 0), rise, 0.0)
    minus = np.where((fall > rise) & (fall > 0), fall, 0.0)
    return plus, minus


def directional(high: Floats, low: Floats, close: Floats, n: int) -> tuple[Floats, Floats, Floats]:
    """Return (+DI, -DI, ADX) over the rows, each in [0, 100].

    Arrays are ``[T]`` or ``[T, symbols]``. The first valid indices are ``n``, ``n`` and ``2n-1``.
    The two DI are NaN where all true ranges are 0.
    """
    plus_di, minus_di, adx = (np.full(high.shape, np.nan) for _ in range(3))
    plus, minus = directional_movements(np.diff(high, axis=0), -np.diff(low, axis=0))
    ranges = true_range(high, low, close)[1:]
    sums = [part[: n - 1].sum(axis=0) for part in (plus, minus, ranges)]
    strengths: list[Floats] = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for t in range(n, len(high)):
            parts = (plus[t - 1], minus[t - 1], ranges[t - 1])
            sums = [s - s / n + part for s, part in zip(sums, parts, strict=True)]
            plus_di[t] = up = 100.0 * sums[0] / sums[2]
            minus_di[t] = down = 100.0 * sums[1] / sums[2]
            strength = 100.0 * np.abs(up - down) / (up + down)
            strength = np.where(up + down > 0, strength, 0.0)
            if t < 2 * n:
                strengths.append(strength)
            if t == 2 * n - 1:
                adx[t] = np.mean(strengths, axis=0)
            elif t >= 2 * n:
                adx[t] = (adx[t - 1] * (n - 1) + strength) / n
    return plus_di, minus_di, adx


@attrs.frozen
class Adx:
    """Specification of the ADX, with its period in bars."""

    period: int

    def start(self, symbols: int) -> IndicatorState:
        return AdxState(self.period, symbols)


class AdxState:
    """Incremental state of the ADX."""

    def __init__(self, period: int, symbols: int) -> None:
        self._period = period
        self._sums = np.zeros((3, symbols))  # plus movement, minus movement, true range
        self._adx = np.zeros(symbols)
        self._nth = np.zeros(symbols, np.int64)

    @property
    def value(self) -> Floats:
        return self._known(self._nth, self._adx)

    def _known(self, nth: Ints, adx: Floats) -> Floats:
        return np.where(nth >= 2 * self._period - 1, adx, np.nan)

    @property
    def indices(self) -> tuple[Floats, Floats]:
        """+DI and -DI, each ``[symbols]``; NaN while warming up or without true range."""
        with np.errstate(invalid="ignore", divide="ignore"):
            known = np.where(self._nth >= self._period, 100.0 / self._sums[2], np.nan)
            return self._sums[0] * known, self._sums[1] * known

    def update(self, bar: BarRow) -> None:
        n = self._period
        self._nth = nth = bar.count - 1  # the first bar has no movement
        plus, minus = directional_movements(bar.rise, bar.fall)
        moved = self._sums * self._keep(nth) + np.array((plus, minus, bar.true_range))
        self._sums = np.where(nth >= 1, moved, 0.0)
        strength = _strength(self._sums[0], self._sums[1])
        self._adx = np.where(nth >= n, self._adx + (strength - self._adx) * self._share(nth), 0.0)

    def update_block(self, bars: BarRow) -> Floats:
        nth = bars.count - 1
        plus, minus = directional_movements(bars.rise, bars.fall)
        sums = np.stack((plus, minus, bars.true_range), axis=1)  # the movements at first
        keep, restart = self._keep(nth), nth < 1
        restarts = np.any(restart, axis=-1)
        before = self._sums
        for t, row in enumerate(sums):
            row += before * keep[t]
            if restarts[t]:
                np.copyto(row, 0.0, where=restart[t])
            before = row
        strength = _strength(sums[:, 0], sums[:, 1])
        adx = run_averages(self._adx, strength, self._share(nth), nth < self._period)
        self._nth, self._sums, self._adx = nth[-1], before.copy(), adx[-1].copy()
        return self._known(nth, adx)

    def _keep(self, nth: Ints) -> Floats:
        return np.where(nth >= self._period, 1.0 - 1.0 / self._period, 1.0)

    def _share(self, nth: Ints) -> Floats:
        return 1.0 / np.minimum(np.maximum(nth - self._period + 1, 1), self._period)


def _strength(up: Floats, down: Floats) -> Floats:
    """Return 100 |+DI - -DI| / (+DI + -DI), in which the true ranges cancel."""
    total = up + down
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 100.0 * np.abs(up - down) / total, 0.0)
