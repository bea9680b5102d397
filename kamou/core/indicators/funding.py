"""Funding rates per hour and per year, and the robust z-score of the newest rate.

A venue settles a rate per interval of 1 to 8 hours, so rates are comparable only per hour. The
interval of a settlement is its distance from the settlement before: a contract's present interval
would be wrong for the settlements before its last change.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.day import HOUR_MS
from kamou.core.indicators.robust_zscore import robust_z

HOURS_PER_YEAR = 8_760
ROWS_BEFORE = 2  # settlements that the interval of the third one needs


def find_interval_hours(times: Ints) -> Floats:
    """Return the interval of each settlement in hours, ``[settlements, symbols]``.

    It is NaN if a distance is longer than the one before, because the interval may have become
    longer, or a settlement may be missing; and for the first two settlements.

    Args:
        times: the settlements of each symbol in ms, oldest first, ``[settlements, symbols]``;
            negative where there is none.
    """
    hours = np.full(times.shape, np.nan)
    if len(times) > ROWS_BEFORE:
        gaps = np.maximum(1.0, np.rint(np.diff(times, axis=0) / HOUR_MS))
        gaps[times[:-1] < 0] = np.nan
        hours[ROWS_BEFORE:] = np.where(gaps[1:] <= gaps[:-1], gaps[1:], np.nan)
    return hours


@attrs.frozen(kw_only=True)
class FundingRead:
    """Figures of the newest settlements, ``[symbols]`` or ``[bars, symbols]``."""

    z: Floats  # robust z-score of the rate per hour against the past ones; NaN: unknown
    hourly: Floats  # rate per hour, a fraction; NaN: the interval is unknown
    interval_ms: Floats  # NaN: unknown
    settled_ms: Floats  # time of the newest settlement; NaN: there is none
    settled: Floats  # number of settlements within the span

    @property
    def per_year(self) -> Floats:
        """The rate per year without compounding (APR), a fraction."""
        return self.hourly * HOURS_PER_YEAR


@attrs.frozen(kw_only=True)
class FundingZ:
    """Specification of the z-score of the newest funding rate per hour.

    Median and deviation are those of the ``past`` settlements before the newest one, as far as
    they are within ``span_ms`` before it. At least ``known_min`` of their rates per hour must be
    known, and the deviation is at least ``deviation_min``, a fraction per hour.
    """

    past: int
    span_ms: int
    known_min: int
    deviation_min: float

    @property
    def settlements(self) -> int:
        """Number of settlements that ``read`` needs.

        They are the newest, ``past`` before it, and ``ROWS_BEFORE`` more for the interval of the
        oldest one.
        """
        return self.past + 1 + ROWS_BEFORE

    def read(self, times: Ints, rates: Floats) -> Floats:
        """Return the figures of ``FundingRead``, ``[figures, symbols]``; see ``split``."""
        times, rates = times[-self.settlements :], rates[-self.settlements :]
        newest_ms = times[-1]
        recent = (times >= 0) & (times > newest_ms - self.span_ms)
        hours = find_interval_hours(np.where(recent, times, -1))
        hourly = rates / hours
        z = robust_z(
            hourly[-1],
            hourly[-1 - self.past : -1],
            known_min=self.known_min,
            deviation_min=self.deviation_min,
        )
        settled_ms = np.where(newest_ms >= 0, newest_ms, np.nan)
        return np.stack((z, hourly[-1], hours[-1] * HOUR_MS, settled_ms, recent.sum(axis=0)))


def split_figures(figures: Floats) -> FundingRead:
    """Return the figures of ``FundingZ.read``, ``[..., figures, symbols]``, by name."""
    z, hourly, interval_ms, settled_ms, settled = np.moveaxis(figures, -2, 0)
    return FundingRead(
        z=z, hourly=hourly, interval_ms=interval_ms, settled_ms=settled_ms, settled=settled
    )
