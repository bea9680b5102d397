"""Volume-weighted average price over a window, of the typical price (high + low + close) / 3."""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.window import padded, rolling


def vwap(high: Floats, low: Floats, close: Floats, volume: Floats, n: int) -> Floats:
    """Return the VWAP of the last ``n`` rows; first valid index ``n-1``; NaN without volume."""
    if len(close) < n:
        return np.full(close.shape, np.nan)
    typical = (high + low + close) / 3.0
    traded = rolling(volume, n).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        average = rolling(typical * volume, n).sum(axis=-1) / traded
    return padded(np.where(traded > 0, average, np.nan), len(close))
