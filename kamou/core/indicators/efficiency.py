"""Kaufman's efficiency ratio (1995) of prices, in [0, 1].

It is the net change over the sum of absolute changes.
"""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.window import pad_rows, roll_windows, sum_rows


def efficiency_of(closes: Floats) -> Floats:
    """Return the efficiency ratio of closes ``[n+1, ..., symbols]``, oldest first.

    It is NaN where the closes do not move.
    """
    path = sum_rows(np.abs(closes[1:] - closes[:-1]))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(closes[-1] - closes[0]) / path)


def efficiency_ratio(close: Floats, n: int) -> Floats:
    """Return the efficiency ratio of the last ``n`` changes at every row.

    Closes are ``[T]`` or ``[T, symbols]``. The first valid index is ``n``.
    """
    if len(close) <= n:
        return np.full(close.shape, np.nan)
    windows = np.moveaxis(roll_windows(close, n + 1), -1, 0)
    return pad_rows(efficiency_of(windows), len(close))
