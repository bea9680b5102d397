"""Least-squares slope of one series on another, and the beta of two price series."""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.window import pad_rows, roll_windows, sum_rows


def slope(x: Floats, y: Floats) -> Floats:
    """Return the least-squares slope of ``y`` on ``x`` over the first axis.

    Both are ``[n, ...]``, the result is ``[...]``. It is NaN where ``x`` is constant.
    """
    dx = x - sum_rows(x) / len(x)
    dy = y - sum_rows(y) / len(y)
    spread = sum_rows(dx * dx)
    with np.errstate(invalid="ignore", divide="ignore"):
        product = sum_rows(dx * dy)
        return np.asarray(np.where(spread > 0, product / spread, np.nan))


def beta(market: Floats, asset: Floats, n: int) -> Floats:
    """Return the beta of ``asset`` to ``market`` over ``n`` simple returns.

    Both are prices ``[T]``. The first valid index is ``n``. The result is that of TA-Lib's
    BETA(market, asset), but NaN where the market's returns are constant.
    """
    if len(market) <= n:
        return np.full(market.shape, np.nan)
    x = np.moveaxis(roll_windows(market[1:] / market[:-1] - 1.0, n), -1, 0)
    y = np.moveaxis(roll_windows(asset[1:] / asset[:-1] - 1.0, n), -1, 0)
    return pad_rows(slope(x, y), len(market))
