"""Resting entries of shadow trades: whether and when they fill.

A limit fills if the market trades beyond it: in a native bar that lies whole between placing and
deadline, or at the mark that is read shortly before the deadline. A touch fills nothing. The bar in
which the entry was placed may have prices from before: there the entry fills only if the stop is
reached as well, which is the worse of both cases. So a shadow entry fills rather too seldom.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kamou.core.book.shadow_events import ShadowTrade
from kamou.core.market.fill_prices import is_traded_through
from kamou.core.model import Quote
from kamou.core.shadow.closing import ShadowBar

LOOK_LEAD_MS = 1_000  # the mark is read so long before the deadline, so that it is not too late


@attrs.frozen(kw_only=True)
class RestingShadow:
    """A shadow trade whose entry rests. It is in no journal: a restart loses it."""

    trade: ShadowTrade  # as it opens if the entry fills; ``opened_at_ms`` is when it was placed
    rest_ms: int

    @property
    def until_ms(self) -> int:
        """Deadline of the entry."""
        return self.trade.opened_at_ms + self.rest_ms

    @property
    def look_ms(self) -> int:
        """Time at which bars and mark are read, and the entry fills or ends."""
        return max(self.trade.opened_at_ms, self.until_ms - LOOK_LEAD_MS)


def fill_resting(
    resting: RestingShadow, bars: Iterable[ShadowBar], quote: Quote
) -> ShadowTrade | None:
    """Return the trade that the first fill opens, or None if the entry did not fill.

    A trade that a bar opens has the bar's last millisecond as its time, so a stop that the same bar
    reaches counts and a target does not.

    Args:
        resting: the resting entry.
        bars: bars of its symbol, oldest first.
        quote: the newest quote of its symbol, a sound one.
    """
    trade, until_ms = resting.trade, resting.until_ms
    side, limit, stop = trade.side.opening, float(trade.entry_price), float(trade.stop_price)
    for bar in bars:
        if not trade.opened_at_ms < bar.closed_at_ms <= until_ms:
            continue
        whole = trade.opened_at_ms <= bar.opened_at_ms
        counts = whole or trade.side.closing.is_stop_hit(stop, bar.low, bar.high)
        if counts and is_traded_through(side, limit, bar.low, bar.high):
            return _open_at(trade, bar.closed_at_ms - 1)
    mark = float(quote.mark)
    in_time = trade.opened_at_ms <= quote.at_ms <= until_ms
    if in_time and is_traded_through(side, limit, mark, mark):
        return _open_at(trade, quote.at_ms)
    return None


def _open_at(trade: ShadowTrade, at_ms: int) -> ShadowTrade:
    """Return the trade opened at ``at_ms``, with a time limit from then on."""
    later_ms = at_ms - trade.opened_at_ms
    closes_by_ms = trade.closes_by_ms + later_ms if trade.closes_by_ms else 0
    return attrs.evolve(trade, opened_at_ms=at_ms, closes_by_ms=closes_by_ms)
