"""Changes of open interest and their robust z-score; spacing of observations."""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.robust_zscore import robust_z


def spacing_ms(times: Ints) -> float:
    """Return the median time in ms between observations; NaN with fewer than two."""
    return float(np.median(np.diff(times))) if len(times) > 1 else float("nan")


def find_changes(times: Ints, logs: Floats, lag_ms: int) -> Floats:
    """Return the change of each row over ``lag_ms``, ``[rows, symbols]``.

    A change is unknown (NaN) if one of its two values is, or if the row nearest to ``lag_ms``
    before it is more than 2 ``lag_ms`` older.

    Args:
        times: when each row became available, in ms, ``[rows]``; at least two.
        logs: ln(open interest), ``[rows, symbols]``.
        lag_ms: the time between the two values of a change.
    """
    rows = len(times)
    # Use the row nearest to a lag ago, because publication times vary by seconds.
    nearest_ms = times - lag_ms + int(spacing_ms(times) / 2)
    before = np.searchsorted(times, nearest_ms, side="right") - 1
    before = np.minimum(before, np.arange(rows) - 1)
    usable = (before >= 0) & (times - times[before] <= 2 * lag_ms)
    return np.where(usable[:, np.newaxis], logs - logs[before], np.nan)


def find_newest_change(times: Ints, logs: Floats, lag_ms: int) -> Floats:
    """Return the newest change over ``lag_ms``, ``[symbols]``; see ``find_changes``."""
    if len(times) < 2:
        return np.full(logs.shape[1], np.nan)
    newest: Floats = find_changes(times, logs, lag_ms)[-1]
    return newest


@attrs.frozen(kw_only=True)
class InterestChange:
    """Specification of the z-score of a change of ln(open interest).

    The change is over ``lag_ms``. The median and the deviation are those of the past changes within
    ``span_ms``. At least ``known_min`` of them must be known, and the deviation is at least
    ``deviation_min``, in units of ln(open interest).
    """

    lag_ms: int
    span_ms: int
    known_min: int
    deviation_min: float

    def z(self, times: Ints, logs: Floats) -> Floats:
        """Return the z-score of each symbol's newest change, ``[symbols]``.

        The newest change is not part of its own median. The z-score is NaN if the newest change is
        unknown, or fewer than ``known_min`` past changes are known; see ``find_changes``.

        Args:
            times: when each row became available, in ms, ``[rows]``.
            logs: ln(open interest), ``[rows, symbols]``.
        """
        if len(times) < 2:
            return np.full(logs.shape[1], np.nan)
        changes = find_changes(times, logs, self.lag_ms)
        recent = times[:-1] >= times[-1] - self.span_ms
        return robust_z(
            changes[-1],
            changes[:-1][recent],
            known_min=self.known_min,
            deviation_min=self.deviation_min,
        )
