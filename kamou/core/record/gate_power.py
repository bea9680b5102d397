"""False promotions and power of the gate, by simulation of known edges.

A simulated strategy closes the same number of trades every UTC day, each on the day of its opening
and each independent of the others: a win of ``WIN_R`` or a loss of ``LOSS_R``. Every path of one
seed takes the same draws at every edge and number of trades a day. Not simulated are the condition
of 10 symbols, which counts as met, and the closes of a canary that ``LIVE`` also needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum

import attrs
import numpy as np
from numpy.random import PCG64, Generator

from kamou.core.arrays import Floats, Ints, Mask
from kamou.core.record.e_values import BLOCK_LAMBDAS, BLOCK_MEAN_MAX, BLOCK_MEAN_MIN
from kamou.core.record.performance import DAYS_PER_YEAR, TRADES_MIN
from kamou.core.record.promotion import (
    CANARY_BLOCKS_MIN,
    CANARY_TRADES_MIN,
    EXPECTANCY_USD_MIN,
    LIVE_FACTOR,
    SHARPE_MIN,
    GateTerms,
)

WIN_R = 2.3
LOSS_R = -1.0
RISK_USD = 100.0  # planned risk of a trade: 1 % of the gate's equity of 10,000 at the start
STRATEGIES = 6  # of the product; what one of them falsely shows, any of six shows more often
CHUNK_PATHS = 1_000  # at once in memory: about 30 MB


class PromotionRule(StrEnum):
    """A rule of promotion, with the instants at which it is looked at."""

    ORIGINAL_BY_TRADES = "original rule, after every trade"
    ORIGINAL_BY_DAYS = "original rule, after every day"
    CANARY_E_VALUE = "E >= 20 alone, after every day"
    CANARY = "E >= 20 and all other conditions (canary)"
    LIVE_E_VALUE = "E >= 120 alone, after every day"
    LIVE = "E >= 120 and all other conditions"


@attrs.frozen(kw_only=True)
class PowerPlan:
    """What is simulated: paths from one seed, each with at most ``trades`` trades."""

    paths: int = 20_000
    seed: int = 1
    trades: int = 300
    terms: GateTerms = attrs.field(factory=GateTerms)

    def days(self, per_day: int) -> int:
        """Return the number of whole days within the trades of a path."""
        return self.trades // per_day


@attrs.frozen(kw_only=True)
class PromotionShare:
    """The share of paths that a rule ever promotes, with standard errors."""

    rule: PromotionRule
    edge_r: float  # expected R of a trade
    trades_per_day: int
    blocks: int
    paths: int
    share: float
    standard_error: float
    any_of_six: float  # probability that at least one of six such strategies is promoted
    any_of_six_standard_error: float
    median_trades: float | None  # closed trades at the first promotion; None: no promotion
    median_trades_standard_error: float | None


def win_probability(edge_r: float) -> float:
    """Return the probability of a win at which a trade is expected to earn ``edge_r``."""
    return (edge_r - LOSS_R) / (WIN_R - LOSS_R)


def simulate_promotions(
    plan: PowerPlan, edge_r: float, trades_per_day: int
) -> tuple[PromotionShare, ...]:
    """Return how often each rule promotes strategies with this edge.

    Args:
        plan: with at least one whole day.
        edge_r: expected R of a trade, between ``LOSS_R`` and ``WIN_R``; 0: no edge.
        trades_per_day: number of trades in every block.
    """
    found: dict[PromotionRule, list[Ints]] = {rule: [] for rule in PromotionRule}
    for results in _draw_results(plan, win_probability(edge_r)):
        for rule, first in first_promotions(results, trades_per_day, plan.terms).items():
            found[rule].append(first)
    return tuple(
        _summarize(rule, np.concatenate(first), edge_r=edge_r, per_day=trades_per_day, plan=plan)
        for rule, first in found.items()
    )


def _draw_results(plan: PowerPlan, probability: float) -> Iterator[Floats]:
    """Yield R of trades ``[paths, trades]``, in chunks that do not change the draws."""
    generator = Generator(PCG64(plan.seed))
    for first in range(0, plan.paths, CHUNK_PATHS):
        rows = min(CHUNK_PATHS, plan.paths - first)
        yield np.where(generator.random((rows, plan.trades)) < probability, WIN_R, LOSS_R)


def first_promotions(
    results: Floats, per_day: int, terms: GateTerms
) -> Mapping[PromotionRule, Ints]:
    """Return the closed trades at each path's first promotion by each rule; 0: never.

    Args:
        results: R of each trade, ``[paths, trades]``. Trades after the last whole day do not count.
        per_day: number of trades in a block.
        terms: m0, attempt and equity at the start. A trade risks ``RISK_USD``.
    """
    days = results.shape[1] // per_day
    by_day = results[:, : days * per_day].reshape(len(results), days, per_day)
    original = original_rule_passes(by_day, terms.equity)
    e_values = block_e_values(by_day.mean(axis=2), terms.m0)
    blocks = np.arange(1, days + 1)
    enough = (blocks >= CANARY_BLOCKS_MIN) & (blocks * per_day >= CANARY_TRADES_MIN)
    others = original[:, :, -1] & enough
    canary = e_values >= terms.e_value_min
    live = e_values >= terms.e_value_min * LIVE_FACTOR
    by_days: dict[PromotionRule, Mask] = {
        PromotionRule.ORIGINAL_BY_DAYS: original[:, :, -1],
        PromotionRule.CANARY_E_VALUE: canary,
        PromotionRule.CANARY: canary & others,
        PromotionRule.LIVE_E_VALUE: live,
        PromotionRule.LIVE: live & others,
    }
    by_trades = _first_true(original.reshape(len(results), -1))
    return {
        PromotionRule.ORIGINAL_BY_TRADES: by_trades,
        **{rule: _first_true(passes) * per_day for rule, passes in by_days.items()},
    }


def original_rule_passes(results: Floats, equity: float) -> Mask:
    """Return whether the original rule passes after each trade.

    After a trade the current day counts with its trades so far, as in a file that ends there.

    Args:
        results: R of each trade, ``[paths, days, trades of a day]``.
        equity: money at the start.

    Returns:
        An array of the shape of ``results``.
    """
    pnl = np.cumsum(results * RISK_USD, axis=2)  # of the day, after each trade
    start = equity + _sum_before(pnl[:, :, -1])
    alive = np.minimum.accumulate(start, axis=1) > 0
    returns = pnl / np.where(alive, start, 1.0)[:, :, np.newaxis]
    whole = returns[:, :, -1]
    total = _sum_before(whole)[:, :, np.newaxis] + returns
    squares = _sum_before(whole**2)[:, :, np.newaxis] + returns**2
    days = np.arange(1, results.shape[1] + 1)[:, np.newaxis]
    # A day's return is not repeated exactly, because the equity has changed, unless it is 0.
    variance = np.maximum(squares - total**2 / days, 0.0) / np.maximum(days - 1, 1)
    steep = total / days * math.sqrt(DAYS_PER_YEAR) > SHARPE_MIN * np.sqrt(variance)
    trades = np.arange(1, results[0].size + 1).reshape(results.shape[1:])
    money = 100 * (start - equity)[:, :, np.newaxis] + 100 * pnl
    profitable = money > EXPECTANCY_USD_MIN * trades
    passes: Mask = steep & profitable & (days >= 2) & (trades >= TRADES_MIN)
    return passes & alive[:, :, np.newaxis]


def block_e_values(means: Floats, m0: float) -> Floats:
    """Return the e-value of blocks after each block, as ``block_e_value`` does.

    Args:
        means: mean R of each block, ``[paths, blocks]``, at least ``BLOCK_MEAN_MIN``.
        m0: mean R of a block that the null hypothesis allows.
    """
    assert (means >= BLOCK_MEAN_MIN).all(), "a block halts the strategy"
    gains = np.minimum(means, BLOCK_MEAN_MAX) - m0
    wealth: Floats = np.zeros_like(gains)
    for each in BLOCK_LAMBDAS:
        wealth += np.cumprod(1 + each * gains, axis=1)
    return wealth / len(BLOCK_LAMBDAS)


def _sum_before(values: Floats) -> Floats:
    """Return the sum of the earlier columns for each column."""
    sums = np.zeros_like(values)
    np.cumsum(values[:, :-1], axis=1, out=sums[:, 1:])
    return sums


def _first_true(passes: Mask) -> Ints:
    """Return the number of the first true column of each row, from 1; 0: none."""
    return np.where(passes.any(axis=1), passes.argmax(axis=1) + 1, 0).astype(np.int64)


def _summarize(
    rule: PromotionRule, first: Ints, *, edge_r: float, per_day: int, plan: PowerPlan
) -> PromotionShare:
    times = np.sort(first[first > 0])
    share = len(times) / len(first)
    error = share_standard_error(len(times), len(first))
    low, high = _median_ranks(len(times))
    return PromotionShare(
        rule=rule,
        edge_r=edge_r,
        trades_per_day=per_day,
        blocks=plan.days(per_day),
        paths=len(first),
        share=share,
        standard_error=error,
        any_of_six=1 - (1 - share) ** STRATEGIES,
        any_of_six_standard_error=STRATEGIES * (1 - share) ** (STRATEGIES - 1) * error,
        median_trades=float(np.median(times)) if len(times) else None,
        median_trades_standard_error=(
            float(times[high] - times[low]) / 2 if len(times) > 1 else None
        ),
    )


def share_standard_error(count: int, of: int) -> float:
    """Return the standard error of a share of independent paths.

    If the share is 0 or 1, it is the share of one path, because 0 would claim certainty.
    """
    share = count / of
    return math.sqrt(share * (1 - share) / of) or 1 / of


def _median_ranks(count: int) -> tuple[int, int]:
    """Return the ranks, from 0, one standard error below and above the median."""
    middle, error = (count - 1) / 2, math.sqrt(count) / 2
    return max(0, math.floor(middle - error)), min(count - 1, math.ceil(middle + error))
