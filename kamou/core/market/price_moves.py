"""The largest moves of prices within 60 s, for as long as they pause entries."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from kamou.core.day import MINUTE_MS
from kamou.core.market.bars import Bars

MOVE_MS = MINUTE_MS  # the time within which a move counts


@attrs.define(kw_only=True, eq=False)
class RecentMoves:
    """Moves that were noted, by symbol and time."""

    _pause_ms: int
    _noted: dict[str, list[tuple[int, float]]] = attrs.field(init=False, factory=dict)

    def note(self, symbol: str, at_ms: int, move: float) -> None:
        """Keep a move, a fraction, that ended at ``at_ms``."""
        self._noted.setdefault(symbol, []).append((at_ms, move))

    def largest(self, now_ms: int) -> dict[str, float]:
        """Return each symbol's largest move of the pause before now; forget older ones."""
        self._noted = {
            symbol: kept
            for symbol, moves in self._noted.items()
            if (kept := [each for each in moves if now_ms - each[0] < self._pause_ms])
        }
        return {symbol: max(move for _, move in kept) for symbol, kept in self._noted.items()}


def find_largest_ranges(bars: Bars) -> dict[str, float]:
    """Return each symbol's largest range of a bar, high over low less 1.

    A symbol without a bar is left out. The bars are of ``MOVE_MS`` or less, so that a range is a
    move within that time. A move across the end of a bar may be up to twice as large as both
    ranges.
    """
    assert bars.period_ms <= MOVE_MS, bars.period_ms
    if not len(bars.open_ms):
        return {}
    ranges = np.fmax.reduce(bars.high / bars.low - 1.0, axis=0).tolist()
    return {symbol: move for symbol, move in zip(bars.symbols, ranges, strict=True) if move == move}


def merge_largest(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return the larger move of each symbol in either mapping."""
    return {symbol: max(one.get(symbol, 0.0), other.get(symbol, 0.0)) for symbol in {*one, *other}}
