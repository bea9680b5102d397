"""Statistics that demote a strategy: rolling mean, CUSUM and drawdown in R.

The record that made a strategy a canary is its **reference**; the trades since are **monitored**.
Both are trades of the same attempt. The limits are calibrated on the reference: its blocks are
resampled by the stationary bootstrap (``core/record/bootstrap.py``) to paths of
``HORIZON_TRADES`` trades. On at most ``FALSE_ALARMS_MAX`` of such paths the CUSUM ever exceeds its
limit. The drawdown limit is the 95th percentile of the paths' maximum drawdown. All results are R.

The calibration cannot know how far the reference is better than the strategy by luck.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

import attrs
import numpy as np
from numpy.random import PCG64, Generator

from kamou.core.arrays import Floats, Ints
from kamou.core.book.gate_events import DemotionLimits
from kamou.core.day import DAY_MS
from kamou.core.model import ZERO
from kamou.core.record.bootstrap import block_length, bootstrap_indices, data_digest
from kamou.core.record.e_values import ResultOfTrade, mean

ROLLING_TRADES = 30
HORIZON_TRADES = 300  # trades of a resampled path
FALSE_ALARMS_MAX = 0.02  # share of paths on which the CUSUM exceeds its limit
DRAWDOWN_QUANTILE = 0.95  # of the maximum drawdowns of the paths
PATHS_AT_ONCE = 1_000  # at once in memory
RESAMPLED_PATHS = 10_000  # so that the share of false alarms has a standard error of 0.0014
ALARMS_MARGIN = 2 * math.sqrt(FALSE_ALARMS_MAX * (1 - FALSE_ALARMS_MAX) / RESAMPLED_PATHS)
"""Two standard errors, by which the calibrated share stays below ``FALSE_ALARMS_MAX``."""

_STEP = Decimal("0.000001")  # R; limits are rounded up to it, which causes no alarm


@attrs.frozen(kw_only=True)
class Deterioration:
    """The two statistics of monitored trades, in R; 0 without a trade."""

    cusum: Decimal  # the largest so far
    drawdown: Decimal  # the largest so far


def sort_trades(trades: Iterable[ResultOfTrade]) -> list[ResultOfTrade]:
    """Return the trades in the order in which the statistics take them.

    It is that of their openings. A strategy has one shadow trade at a time in a symbol, so symbols
    decide between trades that opened at one instant.
    """
    return sorted(trades, key=lambda each: (each.opened_at_ms, each.symbol, each.closed_at_ms))


def rolling_mean(trades: Iterable[ResultOfTrade], count: int = ROLLING_TRADES) -> Fraction | None:
    """Return the mean R of the last ``count`` trades, in R; None if there are fewer."""
    last = sort_trades(trades)[-count:]
    return mean([each.r for each in last]) if len(last) == count else None


def measure_deterioration(
    monitored: Iterable[ResultOfTrade], reference_mean: Decimal
) -> Deterioration:
    """Return CUSUM and drawdown of the trades since a strategy became a canary.

    The CUSUM (Page 1954) is S = max(0, S + k - R), with k half of ``reference_mean``; the drawdown
    is the fall of the sum of R from its peak, which is at least 0.
    """
    k, level, wealth, peak = reference_mean / 2, ZERO, ZERO, ZERO
    cusum = drawdown = ZERO
    for trade in sort_trades(monitored):
        level = max(ZERO, level + k - trade.r)
        wealth += trade.r
        peak = max(peak, wealth)
        cusum, drawdown = max(cusum, level), max(drawdown, peak - wealth)
    return Deterioration(cusum=cusum, drawdown=drawdown)


def calibrate_limits(reference: Iterable[ResultOfTrade]) -> DemotionLimits:
    """Return the limits that a reference sets, the same for every order of its trades.

    It takes about 0.2 s of CPU time.

    Raises:
        ZeroDivisionError: the reference has no trade.
    """
    ordered = sort_trades(reference)
    reference_mean = _round_up(mean([each.r for each in ordered]))
    measured = [_extremes(paths, float(reference_mean) / 2) for paths in resample_paths(ordered)]
    cusums, drawdowns = (np.sort(np.concatenate(each)) for each in zip(*measured, strict=True))
    alarms = math.floor((FALSE_ALARMS_MAX - ALARMS_MARGIN) * RESAMPLED_PATHS)
    falls = math.floor((1 - DRAWDOWN_QUANTILE) * RESAMPLED_PATHS)
    return DemotionLimits(
        reference_mean=reference_mean,
        cusum=_round_up(cusums[-1 - alarms]),
        drawdown=_round_up(drawdowns[-1 - falls]),
    )


def resample_paths(ordered: Sequence[ResultOfTrade]) -> Iterator[Floats]:
    """Yield resampled R of trades, in chunks ``[PATHS_AT_ONCE, HORIZON_TRADES]``.

    Blocks are drawn whole, with the trades of a block in their order, until a path has
    ``HORIZON_TRADES``; the last block is cut. The seed is the digest of days and results.

    Args:
        ordered: at least one trade, in the order of ``sort_trades``.
    """
    results = np.array([float(each.r) for each in ordered])
    days = np.array([each.opened_at_ms // DAY_MS for each in ordered])
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    lengths = np.diff(starts, append=len(days))
    draws = -(-HORIZON_TRADES // int(lengths.min()))
    rounds = -(-draws // len(starts))  # one resample has only as many blocks as the reference
    seed = int(data_digest(days.astype(np.float64), results)[:16], 16)
    indices = bootstrap_indices(
        len(starts),
        resamples=RESAMPLED_PATHS * rounds,
        block=block_length(len(starts)),
        generator=Generator(PCG64(seed)),
    )
    drawn = np.concatenate(list(indices)).reshape(RESAMPLED_PATHS, -1)[:, :draws]
    for first in range(0, RESAMPLED_PATHS, PATHS_AT_ONCE):
        blocks = drawn[first : first + PATHS_AT_ONCE]
        yield results[_places(starts[blocks], lengths[blocks])]


def _places(starts: Ints, lengths: Ints) -> Ints:
    """Return the place of each trade of a path in the reference, ``[paths, trades]``.

    Args:
        starts: place of the first trade of each drawn block, ``[paths, draws]``.
        lengths: trades of each drawn block, ``[paths, draws]``.
    """
    ends = np.cumsum(lengths, axis=1)
    places = np.arange(HORIZON_TRADES)
    rows = np.arange(len(ends))[:, np.newaxis]
    beyond = int(ends.max()) + HORIZON_TRADES  # more than any place of a row
    block = np.searchsorted((ends + rows * beyond).ravel(), places + rows * beyond, side="right")
    block -= rows * ends.shape[1]
    before = np.take_along_axis(ends - lengths, block, axis=1)
    found: Ints = np.take_along_axis(starts, block, axis=1) + places - before
    return found


def _extremes(paths: Floats, k: float) -> tuple[Floats, Floats]:
    """Return the largest CUSUM and the largest drawdown of each path."""
    # Both are the largest rise of a sum above its lowest point so far, which is at most 0.
    return _largest_rise(k - paths), _largest_rise(-paths)


def _largest_rise(steps: Floats) -> Floats:
    sums = np.cumsum(steps, axis=1)
    lowest = np.minimum(np.minimum.accumulate(sums, axis=1), 0.0)
    found: Floats = (sums - lowest).max(axis=1)
    return found


def _round_up(value: Fraction | float) -> Decimal:
    exact = Fraction(value)
    return Decimal(math.ceil(exact / Fraction(_STEP))) * _STEP
