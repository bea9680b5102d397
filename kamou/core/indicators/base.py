"""What an incremental indicator is: a frozen specification that starts a state."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints


@attrs.define(kw_only=True, eq=False)
class BarRow:
    """One closed bar of every symbol, each ``[symbols]``; NaN where the symbol has no bar.

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
        """``[symbols]`` at the newest bar; NaN while warming up or undefined."""
        ...

    def update(self, bar: BarRow) -> None:
        """Take one closed bar in O(symbols)."""
        ...


class Indicator(Hashable, Protocol):
    """A frozen specification; equal specifications share one state in a panel."""

    def start(self, symbols: int) -> IndicatorState: ...


def seeded_average(average: Floats, value: Floats, nth: Ints, period: int, gain: float) -> Floats:
    """One step of an average that is the simple mean of its first ``period`` values.

    ``nth`` is the ordinal of ``value`` since the restart, 1 for the first; where it is below 1
    the average restarts at 0. After the seed the average moves by ``gain`` of the surprise:
    1/n is Wilder's, 2/(n+1) the EMA's.
    """
    share = np.where(nth > period, gain, 1.0 / np.maximum(nth, 1))
    return np.where(nth >= 1, average + (value - average) * share, 0.0)
