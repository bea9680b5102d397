"""``NewestRows``, a ring of the newest rows of columns by symbol."""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats

SLACK_ROWS_MIN = 256  # minimum number of rows between two moves of the buffer


class NewestRows:
    """The newest ``window`` rows of ``[rows, symbols]`` columns; NaN before the first.

    They stand in a buffer with room for more, so that few pushes move them.
    """

    def __init__(self, window: int, symbols: int) -> None:
        self.window = window
        self._capacity = window + max(SLACK_ROWS_MIN, window // 4)
        self._values = np.full((self._capacity, symbols), np.nan)
        self._end = window

    def push(self, row: Floats) -> None:
        """Add one row."""
        if self._end == self._capacity:
            kept = self._values[self._capacity - self.window + 1 :].copy()
            self._values[: len(kept)] = kept
            self._end = len(kept)
        self._values[self._end] = row
        self._end += 1

    def push_block(self, rows: Floats) -> None:
        """Add several rows; at most ``SLACK_ROWS_MIN``."""
        if self._end + len(rows) > self._capacity:
            kept = self._values[self._end - self.window + 1 : self._end].copy()
            self._values[: len(kept)] = kept
            self._end = len(kept)
        self._values[self._end : self._end + len(rows)] = rows
        self._end += len(rows)

    def last_of_block(self, rows: int) -> Floats:
        """Return the ``window - 1`` rows before the newest ``rows``, and these."""
        return self._values[self._end - rows - self.window + 1 : self._end]

    def last(self, n: int) -> Floats:
        """Return the newest ``n`` rows, as a view that the next push may change."""
        assert 0 < n <= self.window, (n, self.window)
        return self._values[self._end - n : self._end]
