"""Relative strength index (RSI, Wilder 1978) of closes.

It is 100 x average gain / (average gain + average loss). While no price has moved, the index is
NaN; TA-Lib returns 0, which would look oversold.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.base import BarRow, IndicatorState, update_average, update_averages


def rsi(close: Floats, n: int) -> Floats:
    """Return Wilder's RSI over the rows, in [0, 100]; first valid index ``n``.

    Closes are ``[T]`` or ``[T, symbols]``.
    """
    out = np.full(close.shape, np.nan)
    if len(close) <= n:
        return out
    change = np.diff(close, axis=0)
    gains, losses = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    gain, loss = gains[:n].mean(axis=0), losses[:n].mean(axis=0)
    with np.errstate(invalid="ignore"):
        out[n] = 100.0 * gain / (gain + loss)
        for t in range(n, len(change)):
            gain = (gain * (n - 1) + gains[t]) / n
            loss = (loss * (n - 1) + losses[t]) / n
            out[t + 1] = 100.0 * gain / (gain + loss)
    return out


@attrs.frozen
class Rsi:
    """Specification of Wilder's RSI of the close, with its period in bars."""

    period: int

    def start(self, symbols: int) -> IndicatorState:
        return RsiState(self.period, symbols)


class RsiState:
    """Incremental state of Wilder's RSI."""

    def __init__(self, period: int, symbols: int) -> None:
        self._period = period
        self._averages = np.zeros((2, symbols))  # gains, losses
        self._nth = np.zeros(symbols, np.int64)

    @property
    def value(self) -> Floats:
        return self._known(self._nth, *self._averages)

    def _known(self, nth: Ints, gain: Floats, loss: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            index = 100.0 * gain / (gain + loss)
        return np.where(nth >= self._period, index, np.nan)

    def update(self, bar: BarRow) -> None:
        n = self._period
        self._nth = bar.count - 1  # the first bar has no change
        moves = np.maximum(np.array((bar.change, -bar.change)), 0.0)
        self._averages = update_average(self._averages, moves, self._nth, n, 1.0 / n)

    def update_block(self, bars: BarRow) -> Floats:
        n, nth = self._period, bars.count - 1
        moves = np.maximum(np.stack((bars.change, -bars.change), axis=1), 0.0)
        averages = update_averages(self._averages, moves, nth, n, 1.0 / n)
        self._nth, self._averages = nth[-1], averages[-1].copy()
        return self._known(nth, averages[:, 0], averages[:, 1])
