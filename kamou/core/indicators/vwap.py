"""Volume-weighted average price (VWAP) over a window.

The price of a bar is its typical price, (high + low + close) / 3.
"""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.window import pad_rows, roll_windows


def vwap(high: Floats, low: Floats, close: Floats, volume: Floats, n: int) -> Floats:
    """Return the VWAP of the last ``n`` rows at every row; NaN without volume.

    Arrays are ``[T]`` or ``[T, symbols]``. The first valid index is ``n-1``.
    """
    if len(close) < n:
        return np.full(close.shape, np.nan)
    typical = (high + low + close) / 3.0
    traded = roll_windows(volume, n).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        average = roll_windows(typical * volume, n).sum(axis=-1) / traded
    return pad_rows(np.where(traded > 0, average, np.nan), len(close))
