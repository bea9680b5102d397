"""Variance ratio of log prices (Lo and MacKinlay 1988).

It is 1 for a random walk and below 1 for a series that reverts to its mean.
"""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.window import sum_rows


def variance_ratio(levels: Floats, q: int) -> Floats:
    """Return the variance ratio VR(q) of log prices ``[n+1, ...]``.

    It uses overlapping returns over ``q`` steps (1 < q < n), removes the drift and is debiased. It
    is NaN where all returns are equal. The result is that of ``VarianceRatio(debiased=True)`` of
    the package arch.
    """
    steps = len(levels) - 1
    assert 1 < q < steps, (q, steps)
    drift = (levels[-1] - levels[0]) / steps
    single = levels[1:] - levels[:-1] - drift
    multiple = levels[q:] - levels[:-q] - q * drift
    of_one = sum_rows(single * single) / (steps - 1)
    freedom = q * (steps - q + 1) * (1.0 - q / steps)
    of_many = sum_rows(multiple * multiple) / freedom
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(of_one > 0, of_many / of_one, np.nan))
