"""Recent entries, stop-outs and overshoots, and the gap buffer from overshoots.

A stop-out is a fill of a stop-loss, or a liquidation. The gap buffer is the larger of its minimum
and the 99th percentile of the overshoots of the last ``risk.gap_memory_days`` days, of which the
newest ``OVERSHOOTS_KEPT`` are kept. ``nearest_rank`` computes the percentile.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from heapq import nlargest
from math import ceil
from typing import Protocol

import attrs

from kamou.core.day import DAY_MS, utc_day
from kamou.core.model import ZERO

ENTRIES_KEPT = 2_000  # far above what the default limits allow in a day
OVERSHOOTS_KEPT = 500  # enough for a 99th percentile
OVERSHOOT_QUANTILE = Decimal("0.99")


@attrs.frozen(kw_only=True)
class Entry:
    """Opening of a trade by the first fill of its entry."""

    at_ms: int  # of the fill, by the venue's clock
    strategy: str
    symbol: str


@attrs.frozen(kw_only=True)
class Overshoot:
    """Distance of one stop or liquidation fill beyond the stop price."""

    at_ms: int  # of the fill, by the venue's clock
    symbol: str
    multiple: Decimal  # distance over the planned stop distance, >= 0


class GapLimits(Protocol):
    """Risk limits of the gap buffer.

    ``RiskLimits`` has them. This module cannot import it, because ``core/risk`` imports this one.
    """

    @property
    def gap_buffer_min(self) -> Decimal:
        """Minimum, a multiple of the stop distance."""
        ...

    @property
    def gap_memory_days(self) -> int:
        """Days for which an overshoot counts."""
        ...


@attrs.frozen(kw_only=True)
class GapBuffer:
    """Gap buffer with its arithmetic: ``value = max(minimum, p99)``."""

    minimum: Decimal  # multiple of the stop distance
    p99: Decimal  # 99th percentile of the overshoots that count; 0 without any
    measured: int  # number of overshoots that count
    days: int  # for which an overshoot counts
    worst: Overshoot | None  # the largest that counts; None: none counts

    @property
    def value(self) -> Decimal:
        """Gap buffer as a multiple of the stop distance."""
        return max(self.minimum, self.p99)

    def __str__(self) -> str:
        """Return the arithmetic as text.

        Example: ``0.42 = max(0.25, p99 0.42 of 7 measured in 30 days; ...)``.
        """
        if self.worst is None:
            return f"{self.value:.4g} = max({self.minimum}, none measured in {self.days} days)"
        until = utc_day(self.worst.at_ms + self.days * DAY_MS)
        return (
            f"{self.value:.4g} = max({self.minimum}, p99 {self.p99:.4g} of {self.measured}"
            f" measured in {self.days} days; worst {self.worst.multiple:.4g} of"
            f" {self.worst.symbol}, counts until {until})"
        )


@attrs.define(kw_only=True)
class RecentActivity:
    """Recent entries, stop-outs and overshoots. Only the book's fold changes them."""

    entries: list[Entry] = attrs.field(factory=list)
    stop_outs_ms: dict[str, int] = attrs.field(factory=dict)  # time of the newest, by symbol
    overshoots: list[Overshoot] = attrs.field(factory=list)

    def record_entry(self, entry: Entry) -> None:
        """Add an entry; drop entries that are 24 h older, and all but ``ENTRIES_KEPT``."""
        self.entries.append(entry)
        horizon_ms = entry.at_ms - DAY_MS
        keep = [e for e in self.entries if e.at_ms > horizon_ms]
        self.entries = keep[-ENTRIES_KEPT:]

    def record_stop_out(self, symbol: str, at_ms: int) -> None:
        """Store the time of a stop-out, unless the symbol has a later one."""
        self.stop_outs_ms[symbol] = max(at_ms, self.stop_outs_ms.get(symbol, 0))

    def record_overshoot(self, overshoot: Overshoot) -> None:
        """Add an overshoot, and keep the last ``OVERSHOOTS_KEPT`` that were added."""
        self.overshoots.append(overshoot)
        del self.overshoots[:-OVERSHOOTS_KEPT]

    def count_strategy_entries(self, strategy: str, since_ms: int) -> int:
        """Return the number of trades that this strategy opened after ``since_ms``."""
        return sum(1 for e in self.entries if e.strategy == strategy and e.at_ms > since_ms)

    def entries_by(self, strategy: str) -> list[Entry]:
        """Return the kept entries of this strategy, in the order of their recording."""
        return [e for e in self.entries if e.strategy == strategy]

    def count_symbol_entries(self, symbol: str, since_ms: int) -> int:
        """Return the number of trades opened in this symbol at or after ``since_ms``."""
        return sum(1 for e in self.entries if e.symbol == symbol and e.at_ms >= since_ms)

    def gap_buffer(self, limits: GapLimits, now_ms: int) -> GapBuffer:
        """Return the gap buffer at ``now_ms``, from the overshoots that count then."""
        since_ms = now_ms - limits.gap_memory_days * DAY_MS
        counted = [each for each in self.overshoots if each.at_ms > since_ms]
        p99 = ZERO
        if counted:
            p99 = nearest_rank([each.multiple for each in counted], OVERSHOOT_QUANTILE)
        return GapBuffer(
            minimum=limits.gap_buffer_min,
            p99=p99,
            measured=len(counted),
            days=limits.gap_memory_days,
            worst=max(counted, key=lambda each: (each.multiple, each.at_ms), default=None),
        )


def nearest_rank(values: Sequence[Decimal], quantile: Decimal) -> Decimal:
    """Return the nearest-rank quantile: the ceil(q n)-th smallest of n values.

    Args:
        quantile: q, in (0, 1].

    Raises:
        AssertionError: there is no value, or the quantile is not in (0, 1].
    """
    assert values, "a quantile needs at least one value"
    assert 0 < quantile <= 1, f"the quantile is not in (0, 1]: {quantile}"
    from_top = len(values) - ceil(len(values) * quantile) + 1
    return nlargest(from_top, values)[-1]  # cheaper than sorting for a high quantile
