"""Median of known values, and robust z-score of a value by median and MAD.

MAD is the median absolute deviation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kamou.core.arrays import Floats

MAD_TO_DEVIATION = 1.4826  # makes the MAD of a normal sample estimate its standard deviation


def median_known(values: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return median and number of the values other than NaN, ``[symbols]`` each.

    Values are ``[rows, symbols]``. The median of no values is NaN.
    """
    known = np.count_nonzero(~np.isnan(values), axis=0)
    ordered = np.sort(values, axis=0)  # NaN last
    lower = np.maximum(known - 1, 0) // 2
    upper = np.minimum(known // 2, len(values) - 1)
    pick = np.take_along_axis(ordered, np.stack((lower, upper)), axis=0)
    return pick.mean(axis=0), known


def robust_z(value: Floats, past: Floats, *, known_min: int, deviation_min: float) -> Floats:
    """Return the robust z-score of a value against past values, ``[symbols]``.

    It is ``(value - median(past)) / max(MAD_TO_DEVIATION * MAD(past), deviation_min)``.

    Args:
        value: ``[symbols]``.
        past: ``[rows, symbols]``, without the value itself.
        known_min: minimum number of known past values; NaN below it.
        deviation_min: minimum of the deviation, for a series that hardly changes.
    """
    if not len(past):
        return np.full(value.shape, np.nan)
    centre, known = median_known(past)
    spread, _ = median_known(np.abs(past - centre))
    z = (value - centre) / np.maximum(MAD_TO_DEVIATION * spread, deviation_min)
    return np.where(known >= known_min, z, np.nan)
