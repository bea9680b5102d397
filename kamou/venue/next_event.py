"""``PriceWatch``: the nearest prices at which an order or a liquidation acts.

The engine skips the time in which the market reaches none of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kamou.clock import next_ms
from kamou.venue.market.market import Segment

Path = Callable[[int, int], Segment]
"""(from_ms, to_ms) -> the path of prices in that interval."""


class PriceWatch:
    """One price level below and one above the market, per symbol."""

    def __init__(self, symbols: int, step_ms: int) -> None:
        self._down = np.full(symbols, -np.inf)
        self._up = np.full(symbols, np.inf)
        self._step_ms = step_ms
        self._quiet_until_ms = -1  # until this time the path reaches none of the present levels

    def set(self, column: int, down: float, up: float) -> None:
        """Set the levels of one symbol, infinite if it has none."""
        self._down[column], self._up[column] = down, up
        self._quiet_until_ms = -1

    def find_reached(self, path: Segment) -> npt.NDArray[np.intp]:
        """Return the columns of the symbols whose path reaches a level; NaN reaches none."""
        return np.flatnonzero((path.low <= self._down) | (path.high >= self._up))

    def is_quiet(self, from_ms: int, to_ms: int, path: Path) -> bool:
        """Return True if the path reaches no level from ``from_ms`` to ``to_ms``.

        The path to the bar's end is read once: if it reaches no level, no part of it does.
        """
        if to_ms <= self._quiet_until_ms:
            return True
        ahead_ms = max(to_ms, next_ms(from_ms, self._step_ms))
        if not self.find_reached(path(from_ms, ahead_ms)).size:
            self._quiet_until_ms = ahead_ms
            return True
        return ahead_ms > to_ms and not self.find_reached(path(from_ms, to_ms)).size
