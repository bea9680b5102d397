"""Half-life of mean reversion in an Ornstein-Uhlenbeck process.

Its discrete form is dx = a + b x + noise, where x is the previous level.
"""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.beta import slope

LN2 = float(np.log(2.0))


def reversion_speed(levels: Floats) -> Floats:
    """Return the regression coefficient b of dx on the previous level.

    Levels are values of the process, oldest first, ``[n+1, ...]``.
    """
    return slope(levels[:-1], levels[1:] - levels[:-1])


def half_life(levels: Floats) -> Floats:
    """Return the half-life in bars, -ln 2 / ln(1 + b), of levels ``[n+1, ...]``.

    It is NaN unless -1 < b < 0, because only then the process reverts to its mean without changing
    its side at every step.
    """
    b = reversion_speed(levels)
    reverts = (b > -1.0) & (b < 0.0)
    return np.asarray(np.where(reverts, -LN2 / np.log1p(np.where(reverts, b, -0.5)), np.nan))
