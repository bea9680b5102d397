"""``PriceWatch``: the nearest prices at which an order or a liquidation acts.

The engine skips the time in which the market reaches none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from kamou.clock import next_ms
from kamou.core.arrays import Floats
from kamou.core.model import OrderSide, OrderType, Side
from kamou.venue.account import VenueAccount
from kamou.venue.market.market import Segment
from kamou.venue.order_checks import CONDITIONAL
from kamou.venue.state import OrderRequest

Path = Callable[[int, int], Segment]
"""(from_ms, to_ms) -> the path of prices in that interval."""


class PriceWatch:
    """One price level below and one above the market for each symbol.

    The levels never change.
    """

    def __init__(self, down: Floats, up: Floats, step_ms: int) -> None:
        """Watch the levels ``[symbols]``, infinite where a symbol has none."""
        self._down, self._up = down, up
        self._step_ms = step_ms
        self._quiet_until_ms = -1  # until this time the path reaches none of the levels

    def find_reached(self, path: Segment) -> npt.NDArray[np.intp]:
        """Return the columns of the symbols whose path reaches a level.

        A path of NaN reaches no level.
        """
        return np.flatnonzero((path.low <= self._down) | (path.high >= self._up))

    def is_quiet(self, from_ms: int, to_ms: int, path: Path) -> bool:
        """Return True if the path reaches no level from ``from_ms`` to ``to_ms``.

        The path to the bar's end is read once: if it reaches no level, no part of it does.
        """
        if to_ms <= self._quiet_until_ms:
            return True
        ahead_ms = max(to_ms, next_ms(from_ms, self._step_ms))
        if not self.find_reached(path(from_ms, ahead_ms)).size:
            self._quiet_until_ms = ahead_ms
            return True
        return ahead_ms > to_ms and not self.find_reached(path(from_ms, to_ms)).size


def watch_account(account: VenueAccount, column: Mapping[str, int], step_ms: int) -> PriceWatch:
    """Return the watch of the account's live orders and of its liquidation prices."""
    down, up = np.full(len(column), -np.inf), np.full(len(column), np.inf)

    def act_at(symbol: str, level: float, stop_side: OrderSide) -> None:
        """Watch a level that a falling (SELL) or a rising (BUY) market reaches.

        ``stop_side`` is the side of a stop order that would trigger at this level.
        """
        at = column[symbol]
        if stop_side is OrderSide.SELL:
            down[at] = max(down[at], level)
        else:
            up[at] = min(up[at], level)

    state = account.state
    for client_order_id in state.live:
        order = state.orders[client_order_id]
        if order.live:
            request = order.request
            stops = request.type is OrderType.STOP_MARKET
            act_at(
                request.symbol, _level(request), request.side if stops else request.side.opposite
            )
    for symbol, held in state.positions.items():
        liquidation = account.view.liquidation_price(symbol)
        if liquidation is not None:
            act_at(symbol, float(liquidation), Side.of(held.quantity).closing)
    return PriceWatch(down, up, step_ms)


def _level(request: OrderRequest) -> float:
    """Return the price at which a resting or a conditional order acts."""
    level = request.trigger_price if request.type in CONDITIONAL else request.limit_price
    assert level is not None
    return float(level)
