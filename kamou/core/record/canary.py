"""Comparison of a canary's closed trades with their paired shadow trades.

A canary trades real size, so its results show what shadow fills leave out. A real trade and the
shadow trade of the same signal are a pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import attrs

from kamou.core.day import day_start_ms
from kamou.core.record.e_values import mean

CLOSES_MIN = 30
SHORTFALL_MAX = Decimal("0.10")  # R, of the mean of real trades below that of their shadows


@attrs.frozen(kw_only=True)
class Pair:
    """A closed real trade of a canary and its closed shadow trade."""

    opened_at_ms: int  # of the shadow trade
    real_r: Decimal
    shadow_r: Decimal


@attrs.frozen(kw_only=True)
class CanaryComparison:
    """Mean R of a canary's trades and of their shadows, over the same pairs."""

    closes: int
    real_mean: Fraction | None  # R; None without a pair
    shadow_mean: Fraction | None

    @property
    def shortfall(self) -> Fraction | None:
        """R by which the real mean is below that of the shadows; None without a pair."""
        if self.real_mean is None or self.shadow_mean is None:
            return None
        return self.shadow_mean - self.real_mean


def compare_pairs(
    pairs: Iterable[Pair], until_ms: int, open_since_ms: int | None
) -> CanaryComparison:
    """Return the comparison over the pairs that count.

    A block with an open trade holds back every later block, so pairs do not count from the UTC day
    of the oldest open real trade on: the winners may close first.

    Args:
        until_ms: pairs whose shadow opened at or after it do not count.
        open_since_ms: opening of the canary's oldest open real trade; None without one.
    """
    if open_since_ms is not None:
        until_ms = min(until_ms, day_start_ms(open_since_ms))
    counted = [each for each in pairs if each.opened_at_ms < until_ms]
    return CanaryComparison(
        closes=len(counted),
        real_mean=mean([each.real_r for each in counted]) if counted else None,
        shadow_mean=mean([each.shadow_r for each in counted]) if counted else None,
    )
