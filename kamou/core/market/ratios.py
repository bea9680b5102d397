"""The newest ratios of long to short accounts of a panel, a row per hour."""

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

RATIO_PERIOD_MS = HOUR_MS


class RatioRows(HourlyRows):
    """The logs of the ratios of every symbol in the newest hours.

    Args:
        hours: rows to keep; 0: none.
        symbols: number of symbols.
    """

    def __init__(self, hours: int, symbols: int) -> None:
        super().__init__(hours, 2, symbols, "a long/short ratio")

    def append(self, available_ms: int, accounts: Floats, top_traders: Floats) -> None:
        """Add ratios of all accounts and of top traders, both ``[symbols]``.

        A ratio that is NaN, infinite, 0 or negative is unknown. A symbol without a known ratio of
        all accounts has no observation. An observation replaces one of the same hour.

        Raises:
            InvalidDataError: ``available_ms`` is before the newest observation.
        """
        self.append_values(available_ms, np.stack((_logs_of(accounts), _logs_of(top_traders))))


def _logs_of(ratios: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((ratios > 0) & (ratios < np.inf), np.log(ratios), np.nan)


class RatioReads(HourlyReads):
    """The part of a panel that has the long/short ratios."""

    _ratios: RatioRows

    @property
    def ratio_hours(self) -> int:
        """Hours of long/short ratios that the panel keeps; 0: it needs none."""
        return self._ratios.hours

    def keep_ratios(self, hours: int) -> None:
        """Keep so many hours of ratios; call it before the first one is added."""
        self._ratios = RatioRows(hours, len(self.symbols))
        self.history_ms = max(self.history_ms, hours * RATIO_PERIOD_MS)

    def append_ratios(self, available_ms: int, accounts: Floats, top_traders: Floats) -> None:
        """Add ratios, as ``RatioRows.append``.

        Raises:
            InvalidDataError: as ``RatioRows.append``.
        """
        self._ratios.append(available_ms, accounts, top_traders)

    def ratios(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return the hourly ratios that were available by ``now_ms``, oldest first.

        Times in ms are ``[hours, symbols]``, -1 where there is none. ln(ratio) is ``[hours, 2,
        symbols]``, of all accounts and of top traders, NaN if unknown. The last row is the hour of
        the newest observation of any symbol. A symbol has no ratio from before its consecutive
        bars: a gap in its bars starts the warm-up of its ratios again, too.
        """
        return self._ratios.copy().known(self._find_first_open_ms(), now_ms)

    def copy_ratios(self) -> HourlySnapshot:
        """Return the ratios as they are now; the same snapshot until they change."""
        return self._ratios.copy()

    def compute_from_ratios(self, key: Hashable, now_ms: int, compute: FigureOfHours) -> Floats:
        """Return ``compute(*ratios(now_ms))``, cached by ``key`` until it changes."""
        since_ms = self._find_first_open_ms()
        return self._ratios.copy().compute(key, since_ms, now_ms, compute)
