"""Window statistics: simple mean, standard deviation, z-score.

Each window is computed again, because running sums stay inexact after one very large value.
"""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats


def rolling(values: Floats, n: int) -> Floats:
    """Return every window of ``n`` rows, ``[T-n+1, ..., n]``, as a view of ``values``."""
    return np.lib.stride_tricks.sliding_window_view(values, n, axis=0)


def padded(results: Floats, length: int) -> Floats:
    """Return ``results`` with leading NaN rows, so that row t belongs to bar t of ``length``."""
    out = np.full((length, *results.shape[1:]), np.nan)
    out[length - len(results) :] = results
    return out


def mean_and_deviation(window: Floats, ddof: int = 1) -> tuple[Floats, Floats]:
    """Return mean and standard deviation over the rows of one window ``[n, symbols]``."""
    n = len(window)
    mean = np.add.reduce(window, axis=0) / n
    centred = window - mean
    return mean, np.sqrt(np.einsum("t...,t...->...", centred, centred) / (n - ddof))


def sma(values: Floats, n: int) -> Floats:
    """Return the simple moving average over ``n`` rows; first valid index ``n-1``."""
    if len(values) < n:
        return np.full(values.shape, np.nan)
    return padded(rolling(values, n).mean(axis=-1), len(values))


def stddev(values: Floats, n: int, ddof: int = 0) -> Floats:
    """Return the moving standard deviation; ``ddof`` 0 is TA-Lib's STDDEV."""
    if len(values) < n:
        return np.full(values.shape, np.nan)
    return padded(rolling(values, n).std(axis=-1, ddof=ddof), len(values))


def zscore(values: Floats, n: int, ddof: int = 1) -> Floats:
    """Return (value - SMA) / deviation over the window that ends at the value itself."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (values - sma(values, n)) / stddev(values, n, ddof)
