"""Statistics that demote a strategy: rolling mean, CUSUM and drawdown in R.

The record that made a strategy a canary is its **reference**; the trades since are **monitored**.
Both are trades of the same attempt. The limits are calibrated on the reference: its blocks are
resampled by the stationary bootstrap (``core/record/bootstrap.py``) to paths of at least
``HORIZON_TRADES`` trades and ``HORIZON_BLOCKS`` blocks. On at most ``FALSE_ALARMS_MAX`` of such
paths the CUSUM ever exceeds its limit. The drawdown limit is the 95th percentile of the paths'
maximum drawdown. All results are R.

The calibration cannot know how far the reference is better than the strategy by luck.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
HORIZON_TRADES = 300  # trades of a resampled path, at least
# Blocks of a path, at least: 300 trades of a busy strategy are two days, and limits that hold for
# two days demoted a planted edge of 1 R within two days of its canary (seed 6).
HORIZON_BLOCKS = 30
FALSE_ALARMS_MAX = 0.02  # share of paths on which the CUSUM exceeds its limit
DRAWDOWN_QUANTILE = 0.95  # of the maximum drawdowns of the paths
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
    results, starts = _find_blocks(ordered)
    drawn, walked = draw_paths(results, starts)
    cusums = np.sort(find_highest(float(reference_mean) / 2 - results, starts, drawn, walked))
    drawdowns = np.sort(find_highest(-results, starts, drawn, walked))
    alarms = math.floor((FALSE_ALARMS_MAX - ALARMS_MARGIN) * RESAMPLED_PATHS)
    falls = math.floor((1 - DRAWDOWN_QUANTILE) * RESAMPLED_PATHS)
    return DemotionLimits(
        reference_mean=reference_mean,
        cusum=_round_up(cusums[-1 - alarms]),
        drawdown=_round_up(drawdowns[-1 - falls]),
    )


def _find_blocks(ordered: Sequence[ResultOfTrade]) -> tuple[Floats, Ints]:
    """Return the R of all trades, and the place of each block's first trade."""
    results = np.array([float(each.r) for each in ordered])
    days = np.array([each.opened_at_ms // DAY_MS for each in ordered])
    return results, np.flatnonzero(np.diff(days, prepend=days[0] - 1))


def draw_paths(results: Floats, starts: Ints) -> tuple[Ints, Ints]:
    """Return the drawn blocks of each path, and how many of them it walks.

    They are ``[paths, draws]`` and ``[paths]``. A path walks blocks until it has ``HORIZON_TRADES``
    and ``HORIZON_BLOCKS``. The seed is the digest of blocks and results.

    Args:
        results: R of at least one trade, in the order of ``sort_trades``.
        starts: place of each block's first trade.
    """
    lengths = np.diff(starts, append=len(results))
    draws = max(HORIZON_BLOCKS, -(-HORIZON_TRADES // int(lengths.min())))
    rounds = -(-draws // len(starts))  # one resample has only as many blocks as the reference
    seed = int(data_digest(starts.astype(np.float64), results)[:16], 16)
    indices = bootstrap_indices(
        len(starts),
        resamples=RESAMPLED_PATHS * rounds,
        block=block_length(len(starts)),
        generator=Generator(PCG64(seed)),
    )
    drawn = np.concatenate(list(indices)).reshape(RESAMPLED_PATHS, -1)[:, :draws]
    short = np.cumsum(lengths[drawn], axis=1) < HORIZON_TRADES
    return drawn, np.maximum(np.count_nonzero(short, axis=1) + 1, HORIZON_BLOCKS)


def find_highest(steps: Floats, starts: Ints, drawn: Ints, walked: Ints) -> Floats:
    """Return the highest level of each path: S = max(0, S + step), from 0.

    A block is walked at once. From a level S it ends at the higher of S + its sum and of its level
    from 0, and its highest level is the higher of S + its highest partial sum and of that from 0.

    Args:
        steps: of all trades, in the order of ``sort_trades``.
        starts: place of each block's first trade.
        drawn, walked: as ``draw_paths`` returns them.
    """
    sums, peaks, ends, tops = np.array(
        [_walk_block(block) for block in np.split(steps, starts[1:])]
    ).T
    level, highest = np.zeros((2, len(drawn)))
    for draw, block in enumerate(drawn.T):
        on = draw < walked
        reached = np.maximum(level + peaks[block], tops[block])
        highest = np.where(on, np.maximum(highest, reached), highest)
        level = np.maximum(level + sums[block], ends[block])
    return highest


def _walk_block(steps: Floats) -> tuple[float, float, float, float]:
    """Return sum, highest partial sum, and last and highest level from 0 of a block."""
    partial = np.cumsum(steps)
    levels = partial - np.minimum(np.minimum.accumulate(partial), 0.0)
    return float(partial[-1]), float(partial.max()), float(levels[-1]), float(levels.max())


def _round_up(value: Fraction | float) -> Decimal:
    exact = Fraction(value)
    return Decimal(math.ceil(exact / Fraction(_STEP))) * _STEP
