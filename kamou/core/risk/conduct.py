"""What was done lately: entries, stop-outs and how far stops overshot. Bounded."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from heapq import nlargest
from math import ceil

import attrs

from kamou.core.day import DAY_MS
from kamou.core.model import ZERO

ENTRIES_KEPT = 2_000  # far above what the hourly limits let through in a day
OVERSHOOTS_KEPT = 500  # enough for a p99; old markets are forgotten
OVERSHOOT_QUANTILE = Decimal("0.99")


@attrs.frozen(kw_only=True)
class Entry:
    """A trade that was opened."""

    at_ms: int
    strategy: str
    symbol: str


@attrs.define(kw_only=True)
class Conduct:
    """Mutated by the book's fold only."""

    entries: list[Entry] = attrs.field(factory=list)
    stop_outs_ms: dict[str, int] = attrs.field(factory=dict)  # by symbol, the last one
    overshoots: list[Decimal] = attrs.field(factory=list)  # multiples of the stop distance, >= 0
    overshoot_p99: Decimal = ZERO

    def record_entry(self, entry: Entry) -> None:
        self.entries.append(entry)
        horizon_ms = entry.at_ms - DAY_MS
        keep = [e for e in self.entries if e.at_ms > horizon_ms]
        self.entries = keep[-ENTRIES_KEPT:]

    def record_stop_out(self, symbol: str, at_ms: int) -> None:
        self.stop_outs_ms[symbol] = max(at_ms, self.stop_outs_ms.get(symbol, 0))

    def record_overshoot(self, multiple: Decimal) -> None:
        self.overshoots.append(max(ZERO, multiple))
        del self.overshoots[:-OVERSHOOTS_KEPT]
        self.overshoot_p99 = nearest_rank(self.overshoots, OVERSHOOT_QUANTILE)

    def entries_of(self, strategy: str, since_ms: int) -> int:
        """Trades that this strategy opened after ``since_ms``."""
        return sum(1 for e in self.entries if e.strategy == strategy and e.at_ms > since_ms)

    def entries_by(self, strategy: str) -> list[Entry]:
        """Trades that this strategy opened, oldest first."""
        return [e for e in self.entries if e.strategy == strategy]

    def entries_in(self, symbol: str, since_ms: int) -> int:
        """Trades opened in this symbol at or after ``since_ms``."""
        return sum(1 for e in self.entries if e.symbol == symbol and e.at_ms >= since_ms)

    def gap(self, minimum: Decimal) -> Decimal:
        """The gap buffer g, a multiple of the stop distance: max(minimum, p99 of overshoot)."""
        return max(minimum, self.overshoot_p99)

    def copy(self) -> Conduct:
        return Conduct(
            entries=list(self.entries),
            stop_outs_ms=dict(self.stop_outs_ms),
            overshoots=list(self.overshoots),
            overshoot_p99=self.overshoot_p99,
        )


def nearest_rank(values: Sequence[Decimal], quantile: Decimal) -> Decimal:
    """The nearest-rank quantile: the ceil(q n)-th smallest. With few values, the largest."""
    assert values
    assert 0 < quantile <= 1
    from_top = len(values) - ceil(len(values) * quantile) + 1
    return nlargest(from_top, values)[-1]  # of a high quantile far cheaper than sorting
