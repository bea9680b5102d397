"""A cache of the funding rates that settled last, read once an hour."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

import numpy as np

from kamou.clock import Clock
from kamou.core.arrays import Floats
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.bars import Series
from kamou.errors import RateLimitedError, UnreachableError

Read = Callable[[int, int], Awaitable[Series]]
"""The port's ``funding_rates``: takes since and until in ms, returns the rates settled between."""

KNOWN_MS = HOUR_MS  # rates settle on full hours, so a read stays valid until the next full hour


class FundingRates:
    """Cache of the funding rates that settled last.

    ``rates`` has by symbol the last rate that settled in the 24 h before the read, a fraction per
    funding interval, > 0 if longs pay; ``settled_ms`` has the time of that settlement. If a read
    fails, both stay for 24 h as the last read left them.
    """

    def __init__(self, read: Read, *, clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._read_at_ms = 0
        self.rates: Mapping[str, Decimal] = {}
        self.settled_ms: Mapping[str, int] = {}

    async def refresh(self) -> None:
        """Read the rates, unless they were read in this hour.

        If the read fails, the rates of the last read stay for 24 h; then there are none.
        """
        now_ms = self._clock.now_ms()
        if now_ms // KNOWN_MS == self._read_at_ms // KNOWN_MS:
            return
        try:
            series = await self._read(now_ms - DAY_MS, now_ms)
        except (UnreachableError, RateLimitedError):
            if now_ms - self._read_at_ms > DAY_MS:
                self.rates, self.settled_ms = {}, {}
            return
        self._read_at_ms = now_ms
        self.rates = {
            symbol: Decimal(repr(rate))
            for symbol, rate in zip(series.symbols, last_known(series.values), strict=True)
            if rate == rate
        }
        times = np.where(np.isnan(series.values), np.nan, series.available_ms[:, np.newaxis])
        self.settled_ms = {
            symbol: int(at_ms)
            for symbol, at_ms in zip(series.symbols, last_known(times), strict=True)
            if at_ms == at_ms
        }


def last_known(values: Floats) -> list[float]:
    """Return the last value of each column that is not NaN; NaN: there is none.

    Args:
        values: ``[rows, columns]``, oldest row first.
    """
    last = np.full(values.shape[1], np.nan)
    for row in values:
        np.copyto(last, row, where=row == row)
    found: list[float] = last.tolist()
    return found
