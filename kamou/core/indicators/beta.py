"""Beta: the slope of one series' returns on another's."""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.window import padded, rolling


def slope(x: Floats, y: Floats) -> Floats:
    """Return the least-squares slope of ``y`` on ``x`` over the rows; NaN where x is constant."""
    dx = x - x.mean(axis=0)
    dy = y - y.mean(axis=0)
    spread = np.einsum("t...,t...->...", dx, dx)
    with np.errstate(invalid="ignore", divide="ignore"):
        product = np.einsum("t...,t...->...", dx, dy)
        return np.asarray(np.where(spread > 0, product / spread, np.nan))


def beta(market: Floats, asset: Floats, n: int) -> Floats:
    """Return the slope of ``asset``'s simple returns on ``market``'s over ``n`` returns.

    Both are prices ``[T]``.

    First valid index ``n``; TA-Lib's BETA(market, asset).
    """
    if len(market) <= n:
        return np.full(market.shape, np.nan)
    x = np.moveaxis(rolling(market[1:] / market[:-1] - 1.0, n), -1, 0)
    y = np.moveaxis(rolling(asset[1:] / asset[:-1] - 1.0, n), -1, 0)
    return padded(slope(x, y), len(market))
