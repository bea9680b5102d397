"""Bars and settled funding rates of the venue, as the shadow book reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np

from kamou.clock import floor_ms
from kamou.core.day import HOUR_MS
from kamou.core.market.bars import Bars, concatenate
from kamou.core.market.instruments import FUNDING_JITTER_MS
from kamou.core.shadow.closing import HISTORY_BARS, ShadowBar, ShadowWatch, bar_of
from kamou.exchange.base import ExchangePort


@attrs.define(kw_only=True, eq=False)
class ShadowBars:
    """The newest native bars, each read once, with those before them for the ATR."""

    _port: ExchangePort
    _period_ms: int
    _bars: Bars | None = attrs.field(init=False, default=None)
    _new_from_ms: int = attrs.field(init=False, default=0)  # the bars before it are history

    async def read(self, seen_ms: int, now_ms: int) -> None:
        """Read the bars that closed after the last read, up to now.

        If the last read ended after ``seen_ms``, or there was none, the bars since ``seen_ms`` and
        their history are read.

        Raises:
            UnreachableError, RateLimitedError: nothing has changed.
        """
        first_ms = floor_ms(seen_ms, self._period_ms)
        until_ms = floor_ms(now_ms, self._period_ms)
        known, end_ms = self._bars, self._end_ms()
        if known is not None and self._new_from_ms <= first_ms <= end_ms:
            since_ms = end_ms
        else:
            known, since_ms = None, first_ms - HISTORY_BARS * self._period_ms
        if until_ms <= max(since_ms, first_ms):
            return  # no bar that is needed has closed
        read = await self._port.bars(self._period_ms, since_ms, until_ms)
        joined = read if known is None else concatenate([known, read])
        # Bars before the first that is still needed stay only as history.
        first = int(np.searchsorted(joined.open_ms, first_ms))
        self._bars = _last_rows(joined, max(0, first - HISTORY_BARS))
        self._new_from_ms = first_ms

    def _end_ms(self) -> int:
        """Return the close of the last bar that was read; 0 without one."""
        if self._bars is None or not len(self._bars.open_ms):
            return 0
        return int(self._bars.open_ms[-1]) + self._period_ms

    def since(self, symbol: str, seen_ms: int) -> Iterator[ShadowBar]:
        """Yield a symbol's bars that closed after ``seen_ms``, oldest first.

        A symbol that the venue does not list has none.
        """
        bars = self._bars
        if bars is None or symbol not in bars.symbols:
            return
        column = bars.symbols.index(symbol)
        first = int(np.searchsorted(bars.open_ms, seen_ms - self._period_ms, side="right"))
        for row in range(first, len(bars.open_ms)):
            yield bar_of(bars, row, column)

    async def read_rates(self, watches: Sequence[ShadowWatch]) -> Mapping[str, Mapping[int, float]]:
        """Return the rates that settled while the trades were open.

        They are by symbol and full hour in ms, fractions per interval. Without marks at full hours,
        or without the venue's capability, nothing is read.

        Raises:
            UnreachableError, RateLimitedError: the read fails.
        """
        hours = [hour_ms for watch in watches for hour_ms in watch.marks]
        if not hours or not self._port.capabilities.funding_rates:
            return {}
        since_ms, until_ms = min(hours) - FUNDING_JITTER_MS - 1, max(hours) + FUNDING_JITTER_MS
        series = await self._port.funding_rates(since_ms, until_ms)
        found: dict[str, dict[int, float]] = {}
        for symbol in {watch.trade.symbol for watch in watches} & set(series.symbols):
            column = series.values[:, series.symbols.index(symbol)]
            for at_ms, rate in zip(series.available_ms.tolist(), column.tolist(), strict=True):
                hour_ms = floor_ms(at_ms + HOUR_MS // 2, HOUR_MS)
                if rate == rate and abs(at_ms - hour_ms) <= FUNDING_JITTER_MS:
                    found.setdefault(symbol, {})[hour_ms] = rate
        return found


def _last_rows(bars: Bars, first: int) -> Bars:
    """Return the bars from the row ``first`` on."""
    return attrs.evolve(
        bars,
        open_ms=bars.open_ms[first:],
        open=bars.open[first:],
        high=bars.high[first:],
        low=bars.low[first:],
        close=bars.close[first:],
        volume=bars.volume[first:],
    )
