"""Average true range (ATR, Wilder 1978), the mean range of bars with their gaps."""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.base import BarRow, IndicatorState, update_average, update_averages


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Return the true range of each row; row 0 is NaN.

    It is max(high, previous close) - min(low, previous close). Arrays are ``[T]`` or
    ``[T, symbols]``.
    """
    out = np.full(high.shape, np.nan)
    out[1:] = np.maximum(high[1:], close[:-1]) - np.minimum(low[1:], close[:-1])
    return out


def atr(high: Floats, low: Floats, close: Floats, n: int) -> Floats:
    """Return Wilder's ATR over the rows; first valid index ``n``.

    Arrays are ``[T]`` or ``[T, symbols]``.
    """
    ranges = true_range(high, low, close)
    out = np.full(high.shape, np.nan)
    if len(high) <= n:
        return out
    out[n] = ranges[1 : n + 1].mean(axis=0)
    for t in range(n + 1, len(high)):
        out[t] = (out[t - 1] * (n - 1) + ranges[t]) / n
    return out


@attrs.frozen
class Atr:
    """Specification of Wilder's ATR, with its period in bars."""

    period: int

    def start(self, symbols: int) -> IndicatorState:
        return AtrState(self.period, symbols)


class AtrState:
    """Incremental state of Wilder's ATR."""

    def __init__(self, period: int, symbols: int) -> None:
        self._period = period
        self._average = np.zeros(symbols)
        self._nth = np.zeros(symbols, np.int64)

    @property
    def value(self) -> Floats:
        return self._known(self._nth, self._average)

    def _known(self, nth: Ints, average: Floats) -> Floats:
        return np.where(nth >= self._period, average, np.nan)

    def update(self, bar: BarRow) -> None:
        n = self._period
        self._nth = bar.count - 1  # the first bar has no true range
        self._average = update_average(self._average, bar.true_range, self._nth, n, 1.0 / n)

    def update_block(self, bars: BarRow) -> Floats:
        n, nth = self._period, bars.count - 1
        averages = update_averages(self._average, bars.true_range, nth, n, 1.0 / n)
        self._nth, self._average = nth[-1], averages[-1].copy()
        return self._known(nth, averages)
