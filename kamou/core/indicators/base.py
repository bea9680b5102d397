"""The interface of incremental indicators, their input row and seeded averages.

An ``Indicator`` is a frozen specification. It starts an ``IndicatorState``, which every ``BarRow``
updates. A state with ``update_block`` also takes a block of bars, with the same operations in the
same order, so its values are those of single bars, bit for bit.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol, runtime_checkable

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints, Mask


@attrs.define(kw_only=True, eq=False)
class BarRow:
    """One closed bar of every symbol, as columns ``[symbols]``, or a block of them.

    The columns of a block are ``[bars, symbols]``. Figures are NaN where the symbol has no valid
    bar.

    ``count`` is the number of consecutive valid bars, this one included: 0 where missing, 1 on
    the first bar after a gap. ``change`` (of close), ``rise`` (of high), ``fall`` (of low,
    positive downwards), ``true_range`` and ``log_return`` compare with the bar before and are
    meaningful only where ``count >= 2``. ``close_ms`` is the time of the close, ``[1]``, or
    ``[bars, 1]`` for a block.
    """

    high: Floats
    low: Floats
    close: Floats
    change: Floats
    rise: Floats
    fall: Floats
    true_range: Floats
    log_return: Floats
    count: Ints
    close_ms: Ints


class IndicatorState(Protocol):
    """Recursive state of an indicator for all symbols of a panel.

    After a gap in a symbol's bars, the recursion of that symbol starts again.
    """

    @property
    def value(self) -> Floats:
        """Values at the newest bar, ``[symbols]``; NaN while warming up or undefined."""
        ...

    def update(self, bar: BarRow) -> None:
        """Update the state with one closed bar of every symbol, in O(symbols) time."""
        ...


@runtime_checkable
class BlockState(IndicatorState, Protocol):
    """An indicator state that a block of bars can update too."""

    def update_block(self, bars: BarRow) -> Floats:
        """Update the state with a block of closed bars.

        Return the values after each bar, ``[bars, symbols]``: those of ``value`` if ``update`` took
        the bars one by one.
        """
        ...


class Indicator(Hashable, Protocol):
    """A specification of an indicator; equal ones share one state in a panel."""

    def start(self, symbols: int) -> IndicatorState:
        """Return a new state for this number of symbols."""
        ...


def update_block(state: IndicatorState, bars: BarRow) -> Floats:
    """Update a state with a block of bars and return its values, ``[bars, symbols]``.

    A state that is no ``BlockState`` takes the bars one by one.
    """
    if isinstance(state, BlockState):
        return state.update_block(bars)
    columns = attrs.asdict(bars, recurse=False)
    values = []
    for t in range(len(bars.count)):
        state.update(BarRow(**{name: column[t] for name, column in columns.items()}))
        values.append(state.value.copy())
    return np.stack(values)


def update_average(average: Floats, value: Floats, nth: Ints, period: int, gain: float) -> Floats:
    """Return the next value of a recursive average.

    The mean of its first ``period`` values seeds the average.

    Args:
        average: the average before ``value``, ``[..., symbols]``.
        value: the next value, of the same shape.
        nth: ordinal of ``value`` since the restart, 1 for the first; below 1 the average is 0.
        period: number of values whose mean is the seed.
        gain: weight of ``value`` after the seed: 1/n for Wilder's average, 2/(n+1) for the EMA.
    """
    share = _share(nth, period, gain)
    return np.where(nth >= 1, average + (value - average) * share, 0.0)


def update_averages(average: Floats, values: Floats, nth: Ints, period: int, gain: float) -> Floats:
    """Return the average after each of several values, as ``update_average`` does.

    Args:
        average: the average before the first value, ``[..., symbols]``.
        values: ``[bars, ..., symbols]``.
        nth: ordinals ``[bars, symbols]``.
        period, gain: as ``update_average``.
    """
    return run_averages(average, values, _share(nth, period, gain), nth < 1)


def run_averages(average: Floats, values: Floats, share: Floats, restart: Mask) -> Floats:
    """Return the recursive average after each of ``values``.

    A value moves the average by ``share`` times the difference of the two.

    Args:
        average: the average before the first value, ``[..., symbols]``.
        values: ``[bars, ..., symbols]``.
        share: weight of each value, ``[bars, symbols]``.
        restart: True where the average becomes 0, ``[bars, symbols]``.
    """
    averages = np.empty_like(values)
    restarts = np.any(restart, axis=-1)
    for t, row in enumerate(averages):
        np.subtract(values[t], average, out=row)
        row *= share[t]
        row += average
        if restarts[t]:
            np.copyto(row, 0.0, where=restart[t])
        average = row
    return averages


def _share(nth: Ints, period: int, gain: float) -> Floats:
    return np.where(nth > period, gain, 1.0 / np.maximum(nth, 1))
