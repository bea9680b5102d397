"""Settlement of the positions whose market ends, once, at its last close.

``next_stop_ms`` ends a step of the engine where such a market ends. Assumes that a venue settles a
delisted contract at its last price, and that the settlement costs the taker fee. Costs: nothing
where no market ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from kamou.clock import next_ms
from kamou.core.day import HOUR_MS
from kamou.core.kinds import FillReason
from kamou.core.market.fill_prices import nearest_tick
from kamou.core.model import OrderStatus
from kamou.venue.account import VenueAccount


@runtime_checkable
class EndingSource(Protocol):
    """A market source whose symbols may end at different times."""

    def market_end(self, symbol: str) -> tuple[int, float] | None:
        """Return the end (ms) of the symbol's market and its last close.

        Return None if the market does not end before the source's last bar.
        """
        ...


def next_stop_ms(source: EndingSource | None, held: Iterable[str], from_ms: int, to_ms: int) -> int:
    """Return the end of the engine's next step from ``from_ms``.

    That is ``to_ms``, the next full hour, or the end of the market of a symbol in ``held``,
    whichever comes first. ``source`` is None where no market ends.
    """
    stop_ms = min(to_ms, next_ms(from_ms, HOUR_MS))
    if source is not None:
        for symbol in held:
            end = source.market_end(symbol)
            if end is not None and end[0] > from_ms:
                stop_ms = min(stop_ms, end[0])
    return stop_ms


def settle_ended(source: EndingSource | None, account: VenueAccount) -> None:
    """Close the positions whose market has ended, and cancel their symbols' orders."""
    if source is None:
        return
    for symbol, held in sorted(account.state.positions.items()):
        end = source.market_end(symbol)
        if end is None or end[0] > account.state.market_ms:
            continue
        price = nearest_tick(end[1], account.instruments[symbol].tick)
        account.close_at(held, price, FillReason.SETTLEMENT)
        for order in account.state.live_orders(symbol):
            account.finish(order, OrderStatus.CANCELED)
