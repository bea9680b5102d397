"""Where anything of ours would happen: what lets the engine pass quiet stretches by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kamou.clock import next_ms
from kamou.venue.market.market import Segment

Path = Callable[[int, int], Segment]


class PriceWatch:
    """Per symbol the nearest price under and over the market at which something happens."""

    def __init__(self, symbols: int, step_ms: int) -> None:
        self._down = np.full(symbols, -np.inf)
        self._up = np.full(symbols, np.inf)
        self._step_ms = step_ms
        self._quiet_until_ms = -1  # known to be quiet up to here, at the present levels

    def set(self, column: int, down: float, up: float) -> None:
        """The symbol's levels; infinite for none."""
        self._down[column], self._up[column] = down, up
        self._quiet_until_ms = -1

    def reached(self, path: Segment) -> npt.NDArray[np.intp]:
        """Columns of the symbols whose path reached a level of ours. NaN reaches nothing."""
        return np.flatnonzero((path.low <= self._down) | (path.high >= self._up))

    def quiet(self, from_ms: int, to_ms: int, path: Path) -> bool:
        """Whether nothing is reached on the way.

        Asked of parts of a bar again and again, it looks at the rest of the bar once: what the
        whole does not reach no part does.
        """
        if to_ms <= self._quiet_until_ms:
            return True
        ahead_ms = max(to_ms, next_ms(from_ms, self._step_ms))
        if not self.reached(path(from_ms, ahead_ms)).size:
            self._quiet_until_ms = ahead_ms
            return True
        return ahead_ms > to_ms and not self.reached(path(from_ms, to_ms)).size
