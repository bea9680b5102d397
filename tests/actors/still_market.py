"""A recorded market whose prices stay the same."""

from __future__ import annotations

import numpy as np

from kamou.core.day import DAY_MS
from kamou.core.market.bars import Bars
from kamou.venue.market.recorded import RecordedMarket
from tests.actors import scripted_market

MIDNIGHT_MS = 1_735_689_600_000 + 20 * DAY_MS
SYMBOLS = ("AAA", "BBB")


def still_market(step_ms: int) -> RecordedMarket:
    """Return a market with ten equal bars before midnight and five after."""
    bars = 15
    flat = np.full((bars, len(SYMBOLS)), 100.0)
    drawn = Bars(
        symbols=SYMBOLS,
        period_ms=step_ms,
        open_ms=MIDNIGHT_MS + np.arange(-10, 5, dtype=np.int64) * step_ms,
        open=flat,
        high=flat + 0.2,
        low=flat - 0.2,
        close=flat,
        volume=np.full((bars, len(SYMBOLS)), 10_000.0),
    )
    return scripted_market.record_market("midnight", drawn)
