"""Evidence of an edge: blocks of closed trades, and the e-values of a strategy.

The null hypothesis is that no block is expected to earn more than ``m0``, in R, whatever came
before. A block is all trades of one strategy that opened in one UTC day. Trades that overlap are
not independent, so blocks are counted, not trades. The e-value is the wealth of a bettor who bets
on every block, the mean over fixed shares ``lambda``. Under the null hypothesis it ever reaches
1 / alpha with a probability of at most alpha, however often one looks (Ville 1939; Waudby-Smith and
Ramdas 2020). Dependence that carries over midnight is not covered.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

import attrs

from kamou.core.day import utc_day

BLOCK_LAMBDAS = (0.02, 0.05, 0.08, 0.12, 0.16, 0.20, 0.25, 0.30, 0.36, 0.42)
"""Shares of the bets on blocks, fixed beforehand."""

TRADE_LAMBDAS = (0.01, 0.02, 0.04, 0.06, 0.08, 0.10, 0.12, 0.15, 0.18, 0.21, 0.24)
"""Shares of the bets on single trades, fixed beforehand."""

BLOCK_MEAN_MIN = -2  # R; a lower mean halts the strategy
BLOCK_MEAN_MAX = 10  # R; a higher mean counts as this
TRADE_R_MIN = -4  # a trade with a lower R halts the strategy
TRADE_R_MAX = 10  # a higher R counts as this in the e-value of trades


@attrs.frozen(kw_only=True)
class ResultOfTrade:
    """A closed trade, as the gate sees it."""

    strategy: str
    symbol: str
    opened_at_ms: int
    closed_at_ms: int
    r: Decimal  # net PnL over planned risk
    pnl: Decimal  # money, net


@attrs.frozen(kw_only=True)
class Block:
    """All trades of one strategy that opened in one UTC day."""

    day: str
    trades: int
    mean_r: Fraction


def make_blocks(trades: Iterable[ResultOfTrade]) -> tuple[Block, ...]:
    """Return the blocks of one strategy's closed trades, in the order of their days."""
    by_day: dict[str, list[Decimal]] = defaultdict(list)
    for trade in trades:
        by_day[utc_day(trade.opened_at_ms)].append(trade.r)
    return tuple(
        Block(day=day, trades=len(results), mean_r=mean(results))
        for day, results in sorted(by_day.items())
    )


def mean(values: Sequence[Decimal]) -> Fraction:
    """Return the mean without rounding, because it is compared with thresholds.

    Raises:
        ZeroDivisionError: there are no values.
    """
    return sum(map(Fraction, values), Fraction(0)) / len(values)


def describe_ruin(blocks: Sequence[Block], trades: Iterable[ResultOfTrade]) -> str | None:
    """Return why the strategy is halted for good, or None.

    The null hypothesis bounds losses by ``BLOCK_MEAN_MIN``. A larger loss shows that the e-values
    do not hold for this strategy.
    """
    for trade in sorted(trades, key=lambda each: (each.opened_at_ms, each.closed_at_ms)):
        if trade.r < TRADE_R_MIN:
            return (
                f"a trade in {trade.symbol} that opened on {utc_day(trade.opened_at_ms)} has"
                f" {trade.r} R, below {TRADE_R_MIN} R"
            )
    for block in blocks:
        if block.mean_r < BLOCK_MEAN_MIN:
            return (
                f"the trades that opened on {block.day} have a mean of {float(block.mean_r):.4g} R,"
                f" below {BLOCK_MEAN_MIN} R"
            )
    return None


def block_e_value(blocks: Sequence[Block], m0: float) -> float:
    """Return the e-value of blocks, which decides; 1 without a block.

    Args:
        blocks: with means of at least ``BLOCK_MEAN_MIN``.
        m0: mean R of a block that the null hypothesis allows, 0 to 0.15.
    """
    assert all(each.mean_r >= BLOCK_MEAN_MIN for each in blocks), "a block halts the strategy"
    gains = [float(min(each.mean_r, Fraction(BLOCK_MEAN_MAX))) - m0 for each in blocks]
    return _mean_wealth(gains, BLOCK_LAMBDAS)


def trade_e_value(results: Iterable[Decimal], m0: float) -> float:
    """Return the e-value of single trades, for display only; 1 without a trade.

    It takes overlapping trades for independent ones.

    Args:
        results: R of each trade; clipped to ``TRADE_R_MIN`` and ``TRADE_R_MAX``.
        m0: as of ``block_e_value``.
    """
    gains = [float(min(max(r, Decimal(TRADE_R_MIN)), Decimal(TRADE_R_MAX))) - m0 for r in results]
    return _mean_wealth(gains, TRADE_LAMBDAS)


def _mean_wealth(gains: Sequence[float], lambdas: Sequence[float]) -> float:
    """Return the mean over ``lambdas`` of prod(1 + lambda gain).

    It is at most the largest float. The product is a sum of logarithms, so that the order of the
    gains does not change it.
    """
    logs = [math.fsum(math.log1p(each * gain) for gain in gains) for each in lambdas]
    top = max(logs)
    log_mean = top + math.log(math.fsum(math.exp(log - top) for log in logs) / len(logs))
    return math.exp(log_mean) if log_mean < math.log(sys.float_info.max) else sys.float_info.max
