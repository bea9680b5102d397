"""The robust z-score of the premium index over 8 hours.

Venues settle every 1 to 8 hours, and quote a rate per 8 hours as the mean of the premium index plus
a clamped interest. So the figure is the mean of the newest 8 hours, of every symbol alike.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.robust_zscore import robust_z

PERIOD_HOURS = 8
KNOWN_HOURS_MIN = 4  # of a period; with fewer the period is unknown


@attrs.frozen(kw_only=True)
class PremiumRead:
    """Figures of the newest premium index, ``[symbols]`` or ``[bars, symbols]``."""

    z: Floats  # robust z-score of the mean; NaN: unknown
    mean: Floats  # of the newest 8 hours, a fraction of the index price; NaN: unknown
    available_ms: Floats  # time of the newest observation; NaN: there is none
    periods: Floats  # number of known past periods


@attrs.frozen(kw_only=True)
class PremiumZ:
    """Specification of the z-score of the premium index of the newest 8 hours.

    Median and deviation are those of the ``past`` periods of 8 hours before, one after the other.
    At least ``known_min`` of them must be known, and the deviation is at least ``deviation_min``, a
    fraction of the index price.
    """

    past: int
    known_min: int
    deviation_min: float

    @property
    def hours(self) -> int:
        """Number of hours up to a symbol's newest observation that ``read`` needs."""
        return (self.past + 1) * PERIOD_HOURS

    def read(self, times: Ints, values: Floats) -> Floats:
        """Return the figures of ``PremiumRead``, ``[figures, symbols]``.

        ``split_premium`` names them.

        Args:
            times: of each observation in ms, ``[hours, symbols]``; negative: none.
            values: premium indices, ``[hours, 1, symbols]``.
        """
        symbols = np.arange(times.shape[1])
        rows = np.arange(len(times))[:, np.newaxis]
        newest = np.where(times >= 0, rows, -1).max(axis=0)  # each symbol's own; -1: none
        wanted = newest - np.arange(self.hours - 1, -1, -1)[:, np.newaxis]
        hourly = np.take_along_axis(values[:, 0], np.maximum(wanted, 0), axis=0)
        hourly[wanted < 0] = np.nan
        periods = hourly.reshape(self.past + 1, PERIOD_HOURS, len(symbols))
        known = np.count_nonzero(~np.isnan(periods), axis=1)
        total = np.where(np.isnan(periods), 0.0, periods).sum(axis=1)
        means = np.where(known >= KNOWN_HOURS_MIN, total / np.maximum(known, 1), np.nan)
        z = robust_z(
            means[-1], means[:-1], known_min=self.known_min, deviation_min=self.deviation_min
        )
        available_ms = np.where(newest >= 0, times[newest, symbols], np.nan)
        past = np.count_nonzero(~np.isnan(means[:-1]), axis=0)
        return np.stack((z, means[-1], available_ms, past))


def split_premium(figures: Floats) -> PremiumRead:
    """Return the figures of ``PremiumZ.read``, ``[..., figures, symbols]``, by name."""
    z, mean, available_ms, periods = np.moveaxis(figures, -2, 0)
    return PremiumRead(z=z, mean=mean, available_ms=available_ms, periods=periods)
