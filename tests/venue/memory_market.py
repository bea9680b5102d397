"""A tiny deterministic market for tests: a few bars written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.market.bars import Bars, Segment, Series, empty_series, resample
from kamou.core.market.flow import FlowWindows, empty_flow
from kamou.core.model import Instrument
from tests.core import trading_cases

D = Decimal
START_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
STEP_MS = 300_000
ATR = 1.0  # the trailing range is one price unit, so a bar's range is its range in ATR

Bar = tuple[float, float, float, float, float]  # open, high, low, close, volume
FLAT: Bar = (100.0, 100.2, 99.8, 100.0, 10_000.0)


def instrument(symbol: str = "AAA", **changes: Any) -> Instrument:
    return trading_cases.instrument(symbol, **{"qty_max": D(100_000), **changes})


class MemoryMarket:
    """Bars per symbol from ``START_MS``; inside a bar the market stands at its open."""

    def __init__(
        self,
        bars: Mapping[str, Sequence[Bar]],
        *,
        instruments: Sequence[Instrument] = (),
        funding: dict[int, float] | None = None,  # settlement time -> rate of every symbol
        half_spread_bps: float = 0.0,
        step_ms: int = STEP_MS,
    ) -> None:
        self.symbols = tuple(bars)
        self.instruments = tuple(instruments) or tuple(instrument(s) for s in bars)
        self.step_ms = step_ms
        self.first_ms = START_MS
        self._bars = np.array([bars[s] for s in bars], dtype=np.float64).transpose(1, 0, 2)
        self.last_ms = START_MS + len(self._bars) * step_ms
        self._half = np.full(len(bars), half_spread_bps)
        self._funding = funding or {}
        self.segments = 0
        self.ends: dict[
            str, tuple[int, float]
        ] = {}  # symbol -> end of its market, ms, and last close

    def _row(self, at_ms: int) -> int:
        return min(max((at_ms - self.first_ms) // self.step_ms, 0), len(self._bars) - 1)

    def segment(self, from_ms: int, to_ms: int) -> Segment:
        self.segments += 1
        first = max(0, (from_ms - self.first_ms) // self.step_ms)
        until = min(len(self._bars), (to_ms - self.first_ms) // self.step_ms)
        if until <= first:
            price = self.prices(to_ms)
            none = np.zeros(len(price))
            return Segment(
                open=price, high=price, low=price, close=price, volume=none, range_atr=none
            )
        rows = self._bars[first:until]
        high, low = rows[:, :, 1].max(axis=0), rows[:, :, 2].min(axis=0)
        if to_ms > self.first_ms + until * self.step_ms:
            high, low = np.maximum(high, self.prices(to_ms)), np.minimum(low, self.prices(to_ms))
        return Segment(
            open=rows[0, :, 0],
            high=high,
            low=low,
            close=rows[-1, :, 3],
            volume=rows[:, :, 4].sum(axis=0),
            range_atr=(high - low) / ATR,
        )

    def prices(self, at_ms: int) -> Floats:
        if at_ms >= self.last_ms:
            return self._bars[-1, :, 3]
        return self._bars[self._row(at_ms), :, 0]

    def market_end(self, symbol: str) -> tuple[int, float] | None:
        return self.ends.get(symbol)

    def half_spread_bps(self, _at_ms: int) -> Floats:
        return self._half

    def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        first = max(0, -((self.first_ms - since_ms) // self.step_ms))
        last = max(first, min(len(self._bars), (until_ms - self.first_ms) // self.step_ms))
        rows = self._bars[first:last]
        open_ms = self.first_ms + np.arange(first, last, dtype=np.int64) * self.step_ms
        made = Bars(
            symbols=self.symbols,
            period_ms=self.step_ms,
            open_ms=open_ms,
            open=rows[:, :, 0],
            high=rows[:, :, 1],
            low=rows[:, :, 2],
            close=rows[:, :, 3],
            volume=rows[:, :, 4],
        )
        return resample(made, period_ms)

    def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return empty_series(self.symbols, STEP_MS)

    def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        times = sorted(t for t in self._funding if since_ms < t <= until_ms)
        return Series(
            symbols=self.symbols,
            available_ms=np.array(times, dtype=np.int64),
            values=np.array(
                [[self._funding[t]] * len(self.symbols) for t in times], dtype=np.float64
            ).reshape(len(times), len(self.symbols)),
            period_ms=8 * 3_600_000,
        )

    def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        return empty_series(self.symbols, STEP_MS)

    def premium_index(self, since_ms: int, until_ms: int) -> Series:
        return empty_series(self.symbols, STEP_MS)

    def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        return empty_flow(self.symbols)


def with_bars(*bars: Bar, before: int = 3, after: int = 30) -> list[Bar]:
    """Return flat bars, then ``bars``, then flat bars at the last close."""
    last = bars[-1][3] if bars else 100.0
    tail: Bar = (last, last + 0.1, last - 0.1, last, 10_000.0)
    return [FLAT] * before + list(bars) + [tail] * after
