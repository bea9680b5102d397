"""Confidence intervals of statistics by the stationary bootstrap over days.

The stationary bootstrap (Politis and Romano 1994) resamples blocks of neighboring days, so that
losing streaks are kept. The seed is a digest of the data: the same data always gives the same
interval, and nobody can choose a seed with a better one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from numpy.random import PCG64, Generator

from kamou.core.arrays import Floats

Indices = npt.NDArray[np.int32]
Statistic = Callable[[Floats], Floats]  # [resamples, n] -> [resamples]

RESAMPLES = 2_000  # so that each 2.5 % tail has 50 resamples
CONFIDENCE = 0.95
CHUNK_ELEMENTS = 2_000_000  # resampled float64 in memory at once: 16 MB


def data_digest(*columns: Floats) -> str:
    """Return the SHA-256 of the columns, which seeds their intervals.

    Columns are hashed as little-endian float64.
    """
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column, dtype="<f8").tobytes())
        digest.update(b"|")
    return digest.hexdigest()


def block_length(n: int) -> float:
    """Return the mean block length in days for ``n`` days, at least 1.

    It is ``n ** (1/3)`` (Politis and White 2004).
    """
    return max(1.0, math.cbrt(n))


def bootstrap_indices(
    n: int, *, resamples: int, block: float, generator: Generator
) -> Iterator[Indices]:
    """Yield ``resamples`` rows of bootstrap indices, in chunks ``[rows, n]``.

    Blocks start at any row, have geometric lengths with mean ``block`` and wrap around the end.
    """
    assert n > 0
    assert block >= 1
    rows_max = max(1, CHUNK_ELEMENTS // n)
    columns = np.arange(n, dtype=np.int32)
    for first in range(0, resamples, rows_max):
        rows = min(rows_max, resamples - first)
        restart = generator.random((rows, n), dtype=np.float32) < 1 / block
        restart[:, 0] = True
        starts = generator.integers(0, n, size=np.count_nonzero(restart), dtype=np.int32)
        which = np.cumsum(restart.ravel(), dtype=np.int32).reshape(rows, n) - 1
        began = np.maximum.accumulate(np.where(restart, columns, 0), axis=1)
        indices = starts[which] + (columns - began)
        indices -= n * (indices >= n)
        yield indices


def bootstrap_intervals(
    columns: Sequence[tuple[Floats, Statistic]],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    block: float | None = None,
) -> list[tuple[float, float]]:
    """Return the percentile interval of each column's statistic.

    Columns are ``[n]`` and use the same resamples. Resamples with an undefined statistic (NaN) do
    not count in its interval.

    Args:
        columns: values and statistic of each column.
        confidence: share of the resamples within the interval.
        resamples: number of resamples.
        block: mean length of a block in rows; None: ``block_length(n)``.
    """
    n = columns[0][0].size
    seed = int(data_digest(*(values for values, _ in columns))[:16], 16)
    chunks = bootstrap_indices(
        n,
        resamples=resamples,
        block=block_length(n) if block is None else block,
        generator=Generator(PCG64(seed)),
    )
    drawn: list[list[Floats]] = [[] for _ in columns]
    for indices in chunks:
        for kept, (values, statistic) in zip(drawn, columns, strict=True):
            kept.append(statistic(values[indices]))
    return [percentiles(np.concatenate(kept), confidence) for kept in drawn]


def resampled_sums(columns: Floats, *, resamples: int = RESAMPLES) -> Floats:
    """Return the sums of columns ``[n, k]`` over resampled rows: ``[resamples, k]``.

    All columns use the same resamples. The sums are a product of the number of draws of each row
    with the columns.
    """
    n = len(columns)
    chunks = bootstrap_indices(
        n,
        resamples=resamples,
        block=block_length(n),
        generator=Generator(PCG64(int(data_digest(columns.ravel())[:16], 16))),
    )
    drawn: list[Floats] = []
    for indices in chunks:
        rows = len(indices)
        places = indices + np.arange(rows, dtype=np.int64)[:, np.newaxis] * n
        counts = np.bincount(places.ravel(), minlength=rows * n).reshape(rows, n)
        drawn.append(counts.astype(np.float64) @ columns)
    return np.concatenate(drawn)


def percentiles(drawn: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the central interval with a share ``confidence`` of the drawn values.

    NaN values are left out; without any other value both bounds are NaN.
    """
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    # The bounds are drawn values, because an interpolation with infinity gives no number.
    low, high = np.quantile(known, [tail, 1 - tail], method="closest_observation")
    return float(low), float(high)
