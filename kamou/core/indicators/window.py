"""Moving windows of rows, and their mean, standard deviation and z-score.

Each window is computed again, because running sums stay inexact after one very large value.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kamou.core.arrays import Floats

SLICE_SYMBOLS = 128  # symbols of one step of a window statistic


def roll_windows(values: Floats, n: int) -> Floats:
    """Return every window of ``n`` rows, ``[T-n+1, ..., n]``, as a view of ``values``."""
    return np.lib.stride_tricks.sliding_window_view(values, n, axis=0)


def pad_rows(results: Floats, length: int) -> Floats:
    """Return ``results`` with leading NaN rows up to ``length`` rows.

    Row t of the output belongs to bar t.
    """
    out = np.full((length, *results.shape[1:]), np.nan)
    out[length - len(results) :] = results
    return out


def split_columns(symbols: int) -> Iterator[slice]:
    """Yield slices of about ``SLICE_SYMBOLS`` symbols that together are all of them.

    Window statistics of so many symbols have temporary arrays that fit in a core's cache. No slice
    has only one symbol unless there is only one, because numpy adds a single column differently.
    """
    parts = max(1, round(symbols / SLICE_SYMBOLS))
    for part in range(parts):
        yield slice(part * symbols // parts, (part + 1) * symbols // parts)


def sum_rows(values: Floats) -> Floats:
    """Return the sum of ``[n, ..., symbols]`` over the first axis, row by row.

    Numpy adds a single column in pairs, and several columns row by row. Here the order does not
    depend on the number of columns, so a block of bars has the sums of its single bars, bit for
    bit.
    """
    if values.shape[-1] == 1:
        last: Floats = np.add.accumulate(values, axis=0)[-1]
        return last
    total: Floats = np.add.reduce(values, axis=0)
    return total


def sum_products(one: Floats, other: Floats) -> Floats:
    """Return the sum of products over the first axis, in the order of ``sum_rows``."""
    if one.shape[-1] == 1:
        return sum_rows(one * other)
    total: Floats = np.einsum("t...,t...->...", one, other)
    return total


def mean_and_deviation(window: Floats, ddof: int = 1) -> tuple[Floats, Floats]:
    """Return mean and standard deviation over the rows of a window.

    The window is ``[n, symbols]``, or ``[n, bars, symbols]`` for a block of bars. The sum of
    squares is divided by ``n - ddof``.
    """
    n = len(window)
    mean = sum_rows(window) / n
    centred = window - mean
    return mean, np.sqrt(sum_products(centred, centred) / (n - ddof))


def sma(values: Floats, n: int) -> Floats:
    """Return the simple moving average over ``n`` rows; first valid index ``n-1``.

    Values are ``[T]`` or ``[T, symbols]``.
    """
    if len(values) < n:
        return np.full(values.shape, np.nan)
    return pad_rows(roll_windows(values, n).mean(axis=-1), len(values))


def stddev(values: Floats, n: int, ddof: int = 0) -> Floats:
    """Return the standard deviation over ``n`` rows; first valid index ``n-1``.

    Values are ``[T]`` or ``[T, symbols]``. The sum of squares is divided by ``n - ddof``;
    ``ddof=0`` is TA-Lib's STDDEV.
    """
    if len(values) < n:
        return np.full(values.shape, np.nan)
    return pad_rows(roll_windows(values, n).std(axis=-1, ddof=ddof), len(values))


def zscore(values: Floats, n: int, ddof: int = 1) -> Floats:
    """Return the z-score of each value in the window that ends with the value.

    It is (value - SMA) / standard deviation over ``n`` rows; the first valid index is ``n-1``.
    Values are ``[T]`` or ``[T, symbols]``.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return (values - sma(values, n)) / stddev(values, n, ddof)
