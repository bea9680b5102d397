"""Jumps of prices between two bars of a symbol, across missing bars too."""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.market.bars import Bars

FACTOR_TOLERANCE = 1e-9  # relative: by a rounding error 0.7 / 0.07 is below 10


@attrs.frozen(kw_only=True)
class Jump:
    """A change of price between a close and the symbol's next open."""

    symbol: str
    after_ms: int  # close of the bar before
    at_ms: int  # open of the bar after
    factor: float  # open over close
    missing_bars: int  # between the two


def find_jumps(bars: Bars, factor_min: float) -> tuple[Jump, ...]:
    """Return the changes by at least ``factor_min``, up or down, by symbol and time."""
    found: list[Jump] = []
    for column, symbol in enumerate(bars.symbols):
        rows = np.flatnonzero(~np.isnan(bars.close[:, column]))
        if len(rows) < 2:
            continue
        factors = bars.open[rows[1:], column] / bars.close[rows[:-1], column]
        least = factor_min * (1.0 - FACTOR_TOLERANCE)
        large = (factors >= least) | (factors <= 1.0 / least)
        found += [
            Jump(
                symbol=symbol,
                after_ms=int(bars.open_ms[rows[at]]) + bars.period_ms,
                at_ms=int(bars.open_ms[rows[at + 1]]),
                factor=float(factors[at]),
                missing_bars=int(rows[at + 1] - rows[at]) - 1,
            )
            for at in np.flatnonzero(large).tolist()
        ]
    return tuple(found)
