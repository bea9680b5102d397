"""The newest premium indices of a panel, a row per hour.

The premium index is how far a perpetual contract trades above its index price (below 0: under it),
as a fraction of the index price. A venue makes the funding rate of 8 hours from its mean.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.day import HOUR_MS
from kamou.core.market.hourly_rows import (
    FigureOfHours,
    HourlyReads,
    HourlyRows,
    HourlySnapshot,
)


class PremiumRows(HourlyRows):
    """The premium indices of every symbol in the newest hours.

    Args:
        hours: rows to keep; 0: none.
        symbols: number of symbols.
    """

    def __init__(self, hours: int, symbols: int) -> None:
        super().__init__(hours, 1, symbols, "a premium index")

    def append(self, available_ms: int, premium: Floats) -> None:
        """Add premium indices ``[symbols]``; NaN or infinite: unknown.

        An observation replaces one of the same hour.

        Raises:
            InvalidDataError: ``available_ms`` is before the newest observation.
        """
        known = np.where(np.isfinite(premium), premium, np.nan)
        self.append_values(available_ms, known[np.newaxis])


class PremiumReads(HourlyReads):
    """The part of a panel that has the premium index."""

    _premium: PremiumRows

    @property
    def premium_hours(self) -> int:
        """Hours of the premium index that the panel keeps; 0: it needs none."""
        return self._premium.hours

    def keep_premium(self, hours: int) -> None:
        """Keep so many hours of the premium index; call it before the first one is added."""
        self._premium = PremiumRows(hours, len(self.symbols))
        self.history_ms = max(self.history_ms, hours * HOUR_MS)

    def append_premium(self, available_ms: int, premium: Floats) -> None:
        """Add premium indices, as ``PremiumRows.append``.

        Raises:
            InvalidDataError: as ``PremiumRows.append``.
        """
        self._premium.append(available_ms, premium)

    def premium(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return the hourly premium index that was available by ``now_ms``, oldest first.

        Times in ms are ``[hours, symbols]``, -1 where there is none. The premium index is
        ``[hours, 1, symbols]``, a fraction of the index price, NaN if unknown. The last row is the
        hour of the newest observation of any symbol. A symbol has none from before its consecutive
        bars, as with ``ratios``.
        """
        return self._premium.copy().known(self._find_first_open_ms(), now_ms)

    def copy_premium(self) -> HourlySnapshot:
        """Return the premium index as it is now; the same snapshot until it changes."""
        return self._premium.copy()

    def compute_from_premium(self, key: Hashable, now_ms: int, compute: FigureOfHours) -> Floats:
        """Return ``compute(*premium(now_ms))``, cached by ``key`` until it changes."""
        since_ms = self._find_first_open_ms()
        return self._premium.copy().compute(key, since_ms, now_ms, compute)
