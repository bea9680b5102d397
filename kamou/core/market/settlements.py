"""The funding rates that settled last, a column per symbol.

Symbols settle at different hours, so each column has its own times: row -1 is the symbol's newest
settlement, row -2 the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.day import show_utc
from kamou.core.market.instruments import FUNDING_JITTER_MS, FUNDING_PERIOD_MS
from kamou.errors import InvalidDataError

UNKNOWN_MS = -1  # time of a row without a settlement
FigureOfRates = Callable[[Ints, Floats], Floats]
"""A function of times in ms and funding rates, both ``[settlements, symbols]``, oldest first."""


def find_funding_span_ms(settlements: int) -> int:
    """Return the period in which the settlements must lie, in ms; 0: none is read."""
    return settlements * FUNDING_PERIOD_MS


def find_funding_history_ms(settlements: int) -> int:
    """Return the history that a new panel needs for the settlements, in ms.

    The newest settlement may be as old as ``find_funding_span_ms`` allows for two intervals.
    """
    return find_funding_span_ms(settlements + 3) if settlements else 0


@attrs.frozen(kw_only=True, eq=False)
class FundingSnapshot:
    """The settlements that a panel knew at one instant; it never changes."""

    times: Ints  # in ms, ``[settlements, symbols]``; ``UNKNOWN_MS``: none
    rates: Floats  # fractions per interval, ``[settlements, symbols]``; NaN: none
    _derived: dict[tuple[Hashable, int], Floats] = attrs.field(init=False, factory=dict)

    def known(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return times and rates without the settlements after ``now_ms``."""
        later = self.times > now_ms
        if not later.any():
            return self.times, self.rates
        times, rates = np.full_like(self.times, UNKNOWN_MS), np.full_like(self.rates, np.nan)
        for shift in np.unique(later.sum(axis=0)).tolist():  # move the older rows to the end
            columns = later.sum(axis=0) == shift
            kept = len(self.times) - shift
            times[shift:, columns] = self.times[:kept, columns]
            rates[shift:, columns] = self.rates[:kept, columns]
        return times, rates

    def compute(self, key: Hashable, now_ms: int, compute: FigureOfRates) -> Floats:
        """Return ``compute`` of the settlements known at ``now_ms``, cached by ``key``."""
        later = int(np.count_nonzero(self.times > now_ms))
        value = self._derived.get((key, later))
        if value is None:
            value = self._derived[key, later] = compute(*self.known(now_ms))
        return value


class Settlements:
    """The newest settlements of every symbol.

    Args:
        rows: settlements to keep for each symbol; 0: none.
        symbols: number of symbols.
    """

    def __init__(self, rows: int, symbols: int) -> None:
        self.rows = rows
        self._times: Ints = np.full((rows, symbols), UNKNOWN_MS, np.int64)
        self._rates: Floats = np.full((rows, symbols), np.nan)
        self._newest_ms = UNKNOWN_MS
        self._snapshot: FundingSnapshot | None = None

    def append(self, settled_ms: int, rates: Floats) -> None:
        """Add the rates ``[symbols]`` that settled; NaN or infinite: none did.

        A second rate of a symbol within ``FUNDING_JITTER_MS`` is ignored: it is the same
        settlement.

        Raises:
            InvalidDataError: ``settled_ms`` is before the newest settlement.
        """
        if settled_ms < self._newest_ms:
            raise InvalidDataError(
                f"a funding rate settled at {show_utc(settled_ms)} is older than the newest, at"
                f" {show_utc(self._newest_ms)}: append in the order of time"
            )
        self._newest_ms = settled_ms
        if not self.rows:
            return
        new = np.isfinite(rates) & (settled_ms - self._times[-1] > FUNDING_JITTER_MS)
        if not new.any():
            return
        # New arrays: snapshots keep the old ones.
        times, rows = np.roll(self._times, -1, axis=0), np.roll(self._rates, -1, axis=0)
        times[-1], rows[-1] = settled_ms, rates
        self._times = np.where(new, times, self._times)
        self._rates = np.where(new, rows, self._rates)
        self._snapshot = None

    def copy(self) -> FundingSnapshot:
        """Return the settlements as they are now; the same snapshot until they change."""
        if self._snapshot is None:
            self._snapshot = FundingSnapshot(times=self._times, rates=self._rates)
        return self._snapshot
