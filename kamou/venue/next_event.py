"""The prices at which an order or liquidation acts, so the engine can skip other time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kamou.clock import next_ms
from kamou.venue.market.market import Segment

Path = Callable[[int, int], Segment]


class PriceWatch:
    """Per symbol the nearest prices below and above the market at which an order acts."""

    def __init__(self, symbols: int, step_ms: int) -> None:
        self._down = np.full(symbols, -np.inf)
        self._up = np.full(symbols, np.inf)
        self._step_ms = step_ms
        self._quiet_until_ms = -1  # at the present levels nothing is reached up to here

    def set(self, column: int, down: float, up: float) -> None:
        """Set the symbol's levels; infinite for none."""
        self._down[column], self._up[column] = down, up
        self._quiet_until_ms = -1

    def reached(self, path: Segment) -> npt.NDArray[np.intp]:
        """Return the columns whose path reached a level; NaN reaches none."""
        return np.flatnonzero((path.low <= self._down) | (path.high >= self._up))

    def quiet(self, from_ms: int, to_ms: int, path: Path) -> bool:
        """Return True if the path reaches no level in the interval.

        The rest of the bar is checked once and the result kept: if the whole bar reaches no level,
        no part of it does.
        """
        if to_ms <= self._quiet_until_ms:
            return True
        ahead_ms = max(to_ms, next_ms(from_ms, self._step_ms))
        if not self.reached(path(from_ms, ahead_ms)).size:
            self._quiet_until_ms = ahead_ms
            return True
        return ahead_ms > to_ms and not self.reached(path(from_ms, to_ms)).size
