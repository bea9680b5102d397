"""The assumed contract specifications and spreads of a recorded market over time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.model import BPS_PER_UNIT, Instrument


@attrs.frozen(kw_only=True)
class AssumedChange:
    """A symbol's assumed sizes, leverage and margin rate from an instant on."""

    at_ms: int
    symbol: str
    tick: Decimal
    lot: Decimal  # contracts; also the smallest quantity of an order
    qty_max: Decimal  # contracts
    leverage_max: int
    maintenance_margin_rate: Decimal

    def apply_to(self, listed: Instrument) -> Instrument:
        """Return ``listed`` with these figures; fees and funding interval stay."""
        return attrs.evolve(
            listed,
            tick=self.tick,
            lot=self.lot,
            qty_min=self.lot,
            qty_max=self.qty_max,
            leverage_max=self.leverage_max,
            maintenance_margin_rate=self.maintenance_margin_rate,
        )


@attrs.frozen(kw_only=True, eq=False)
class Steps:
    """Values of all symbols that change at instants, such as ticks.

    Row k of ``values``, ``[instants, symbols]``, counts from ``from_ms[k]`` on. The first instant
    is 0.
    """

    from_ms: Ints
    values: Floats

    @classmethod
    def constant(cls, values: Floats) -> Steps:
        """Return steps of which the only row has these values, ``[symbols]``."""
        return cls(from_ms=np.zeros(1, dtype=np.int64), values=values[np.newaxis])

    def at(self, at_ms: int) -> Floats:
        """Return the values that count at ``at_ms``, ``[symbols]``."""
        row = int(np.searchsorted(self.from_ms, at_ms, side="right")) - 1
        values: Floats = self.values[max(0, row)]
        return values

    def choose(self, columns: list[int]) -> Steps:
        """Return the steps of some columns, in their order."""
        return attrs.evolve(self, values=self.values[:, columns])


@attrs.frozen(kw_only=True, eq=False)
class AssumedContracts:
    """What is assumed of all symbols of a recorded market, and from when.

    Nothing in it depends on bars that close after its time, so bars that are added to the end of a
    recording change no earlier row.
    """

    first: tuple[Instrument, ...]  # before the first change, in the dataset's order
    changes: Sequence[AssumedChange]  # by time and symbol
    rank_spreads: Steps  # half spreads by rank of turnover, bps of mid
    ticks: Steps  # in price; half of one is the smallest half spread

    def half_spreads_bps(self, at_ms: int, prices: Floats) -> Floats:
        """Return half the assumed spreads in basis points of mid, ``[symbols]``.

        ``prices`` are those of ``at_ms``; for a price of NaN only the rank of turnover counts.
        """
        half_ticks = self.ticks.at(at_ms) / 2 / prices * float(BPS_PER_UNIT)
        spreads: Floats = np.fmax(self.rank_spreads.at(at_ms), half_ticks)
        return spreads

    def changes_between(self, since_ms: int, until_ms: int) -> Sequence[AssumedChange]:
        """Return the changes of ``(since_ms, until_ms]`` by time and symbol."""
        first = bisect_right(self.changes, since_ms, key=lambda each: each.at_ms)
        last = bisect_right(self.changes, until_ms, key=lambda each: each.at_ms)
        return self.changes[first:last]

    def choose(self, columns: list[int]) -> AssumedContracts:
        """Return the assumptions of some symbols, unchanged, in the order of ``columns``."""
        first = tuple(self.first[column] for column in columns)
        symbols = {each.symbol for each in first}
        return AssumedContracts(
            first=first,
            changes=tuple(each for each in self.changes if each.symbol in symbols),
            rank_spreads=self.rank_spreads.choose(columns),
            ticks=self.ticks.choose(columns),
        )
