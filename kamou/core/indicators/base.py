"""The interface of incremental indicators, their input row and seeded averages.

An ``Indicator`` is a frozen specification. It starts an ``IndicatorState``, which every ``BarRow``
updates.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints


@attrs.define(kw_only=True, eq=False)
class BarRow:
    """One closed bar of every symbol, as columns ``[symbols]``.

    Figures are NaN where the symbol has no bar.

    ``count`` is the number of consecutive valid bars, this one included: 0 where missing, 1 on
    the first bar after a gap. ``change`` (of close), ``rise`` (of high), ``fall`` (of low,
    positive downwards) and ``true_range`` compare with the bar before and are meaningful only
    where ``count >= 2``.
    """

    high: Floats
    low: Floats
    close: Floats
    change: Floats
    rise: Floats
    fall: Floats
    true_range: Floats
    count: Ints


class IndicatorState(Protocol):
    """Recursive state over the panel's symbols. A gap restarts the symbol's recursion."""

    @property
    def value(self) -> Floats:
        """Values at the newest bar, ``[symbols]``; NaN while warming up or undefined."""
        ...

    def update(self, bar: BarRow) -> None:
        """Update with one closed bar in O(symbols)."""
        ...


class Indicator(Hashable, Protocol):
    """A specification of an indicator; equal ones share one state in a panel."""

    def start(self, symbols: int) -> IndicatorState:
        """Return a new state for this number of symbols."""
        ...


def update_average(average: Floats, value: Floats, nth: Ints, period: int, gain: float) -> Floats:
    """Return the next value of a recursive average.

    The mean of its first ``period`` values seeds the average.

    Args:
        nth: ordinal of ``value`` since the restart, 1 for the first; below 1 the average is 0.
        gain: weight of ``value`` after the seed: 1/n for Wilder's average, 2/(n+1) for the EMA.
    """
    share = np.where(nth > period, gain, 1.0 / np.maximum(nth, 1))
    return np.where(nth >= 1, average + (value - average) * share, 0.0)
