"""Exponential moving average, seeded with the simple mean of the first n values."""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.base import BarRow, IndicatorState, update_average, update_averages


def ema(values: Floats, n: int) -> Floats:
    """Return the EMA with gain 2/(n+1) over the rows; first valid index ``n-1``.

    Values are ``[T]`` or ``[T, symbols]``.
    """
    out = np.full(values.shape, np.nan)
    if len(values) < n:
        return out
    gain = 2.0 / (n + 1)
    out[n - 1] = values[:n].mean(axis=0)
    for t in range(n, len(values)):
        out[t] = out[t - 1] + gain * (values[t] - out[t - 1])
    return out


@attrs.frozen
class Ema:
    """Specification of the EMA of the close, with its period in bars."""

    period: int

    def start(self, symbols: int) -> IndicatorState:
        return EmaState(self.period, symbols)


class EmaState:
    """Incremental state of the EMA of the close."""

    def __init__(self, period: int, symbols: int) -> None:
        self._period = period
        self._average = np.zeros(symbols)
        self._count = np.zeros(symbols, np.int64)

    @property
    def value(self) -> Floats:
        return self._known(self._count, self._average)

    def _known(self, count: Ints, average: Floats) -> Floats:
        return np.where(count >= self._period, average, np.nan)

    def update(self, bar: BarRow) -> None:
        gain = 2.0 / (self._period + 1)
        self._average = update_average(self._average, bar.close, bar.count, self._period, gain)
        self._count = bar.count

    def update_block(self, bars: BarRow) -> Floats:
        gain = 2.0 / (self._period + 1)
        averages = update_averages(self._average, bars.close, bars.count, self._period, gain)
        self._count, self._average = bars.count[-1], averages[-1].copy()
        return self._known(bars.count, averages)
