"""``BarPath``, a generated price inside one bar, and the joining of segments.

The price goes from the open to one extreme, to the other extreme and to the close.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.market.bars import Segment


@attrs.frozen(kw_only=True, eq=False)
class BarPath:
    """Prices of one bar at its four turning points, and their times, ``[symbols]``.

    Times are fractions of the bar. Between two turning points the price is linear.
    """

    open: Floats
    one: Floats  # the first extreme
    two: Floats  # the second extreme
    close: Floats
    high: Floats
    low: Floats
    first: Floats  # time of the first extreme
    second: Floats  # time of the second extreme
    high_at: Floats
    low_at: Floats

    @classmethod
    def from_draws(
        cls, *, open_: Floats, high: Floats, low: Floats, close: Floats, draws: Floats
    ) -> BarPath:
        """Return the path through a bar's prices that the uniform draws choose.

        ``draws`` is ``[3, symbols]``: times of the two extremes, and which extreme is first.
        The high comes first in 3 of 10 rising bars and in 7 of 10 others.
        """
        first, second = 0.05 + 0.4 * draws[0], 0.55 + 0.4 * draws[1]
        high_first = draws[2] < np.where(close > open_, 0.3, 0.7)
        return cls(
            open=open_,
            one=np.where(high_first, high, low),
            two=np.where(high_first, low, high),
            close=close,
            high=high,
            low=low,
            first=first,
            second=second,
            high_at=np.where(high_first, first, second),
            low_at=np.where(high_first, second, first),
        )

    def at(self, part: float) -> Floats:
        """Return the prices at the fraction ``part`` of the bar, in [0, 1)."""
        if part == 0.0:
            return self.open
        early, late = part < self.first, part >= self.second
        start = np.where(early, self.open, np.where(late, self.two, self.one))
        end = np.where(early, self.one, np.where(late, self.close, self.two))
        since = np.where(early, 0.0, np.where(late, self.second, self.first))
        until = np.where(early, self.first, np.where(late, 1.0, self.second))
        price = start + (end - start) * ((part - since) / (until - since))
        # Rounding may have moved the price out of the bar's range.
        inside: Floats = np.minimum(np.maximum(price, self.low), self.high)
        return inside


def join_segments(parts: list[Segment]) -> Segment:
    """Return consecutive segments as one; ``parts`` has at least one.

    The result's ``range_atr`` is the largest of the parts.
    """
    joined = parts[0]
    for part in parts[1:]:
        joined = Segment(
            open=joined.open,
            high=np.maximum(joined.high, part.high),
            low=np.minimum(joined.low, part.low),
            close=part.close,
            volume=joined.volume + part.volume,
            range_atr=np.fmax(joined.range_atr, part.range_atr),
        )
    return joined
