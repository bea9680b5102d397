"""Matching at the embedded venue: an order on arrival, and orders over a path of prices.

The account's orders never trade with each other. They trade against the source's mid, spread and
volume, through the models.
"""

from __future__ import annotations

import attrs

from kamou.core.model import (
    BPS,
    ZERO,
    Instrument,
    OrderSide,
    OrderStatus,
    OrderType,
    TimeInForce,
)
from kamou.errors import RejectedError
from kamou.venue.account import Execution, VenueAccount
from kamou.venue.models import VenueModels, nearest_tick, next_tick_against
from kamou.venue.order_checks import check_request
from kamou.venue.state import OrderRequest, WorkingOrder


@attrs.frozen(kw_only=True)
class Spot:
    """One symbol's market at an instant. ``volume``: base units of the last closed bar."""

    instrument: Instrument
    mid: float
    half_spread_bps: float
    volume: float
    at_ms: int


@attrs.frozen(kw_only=True)
class SymbolPath:
    """One symbol's price path over an interval that ends at ``at_ms``.

    ``volume`` is traded on the path (none inside an unfinished recorded bar); ``bar_volume`` in
    the last whole bar, which sets the slippage of stops. Both in base units.
    """

    instrument: Instrument
    open: float
    high: float
    low: float
    volume: float
    bar_volume: float
    range_atr: float
    half_spread_bps: float
    at_ms: int

    def reached(self, side: OrderSide) -> float:
        """Return the extreme that a stop of ``side`` reacts to: the low for a sell."""
        return self.low if side is OrderSide.SELL else self.high


def stop_hit(side: OrderSide, trigger: float, low: float, high: float) -> bool:
    """Return True if a stop of ``side`` triggers; a sell stop triggers at or below it."""
    return low <= trigger if side is OrderSide.SELL else high >= trigger


class Matcher:
    """Applies the models to the account's orders."""

    def __init__(self, account: VenueAccount, models: VenueModels) -> None:
        self._account = account
        self._models = models

    # --- arrival ---------------------------------------------------------------

    def arrive(
        self, request: OrderRequest, attached: tuple[OrderRequest, ...], spot: Spot
    ) -> WorkingOrder:
        """Check and accept an order, and fill what can be filled at once.

        Raises:
            RejectedError: the venue rejects it, with its code; nothing has changed.
        """
        self._admit(request, spot)
        for child in attached:
            check_request(child, spot.instrument, nearest_tick(spot.mid, spot.instrument.tick))
        order = self._account.accept(request, spot.at_ms)
        for child in attached:
            self._account.accept(child, spot.at_ms, parent=request.client_order_id)
        if request.type is OrderType.MARKET:
            self._take_market(order, spot)
        elif request.type is OrderType.LIMIT:
            self._take_limit(order, spot)
        elif self._hit_now(order, spot):
            self._take_market(order, spot)
        return order

    def _admit(self, request: OrderRequest, spot: Spot) -> None:
        tick = spot.instrument.tick
        check_request(request, spot.instrument, nearest_tick(spot.mid, tick))
        if request.post_only and request.type is OrderType.LIMIT and self._crosses(request, spot):
            raise RejectedError("POST_ONLY_WOULD_TAKE", f"limit={request.limit_price}")
        if request.reduce_only:
            waits = request.type not in (OrderType.MARKET, OrderType.LIMIT)
            if not waits and not self._account.reducible(request.symbol, request.side):
                raise RejectedError("REDUCE_ONLY_REJECTED", "there is no position to reduce")
            return
        price = request.limit_price or request.trigger_price
        if price is None:
            price = next_tick_against(self._taker(request.side, spot), tick, request.side)
        opened = request.quantity - self._account.reducible(request.symbol, request.side)
        if opened <= ZERO:
            return
        notional = opened * price * spot.instrument.contract_size
        fee = self._models.fee.fee(spot.instrument, notional, maker=False)
        needed = notional / request.leverage + fee
        if needed > self._account.available():
            raise RejectedError("MARGIN_INSUFFICIENT", f"needed={needed}")

    def _taker(self, side: OrderSide, spot: Spot, excess: float = 1.0) -> float:
        return self._models.slippage.taker_price(spot.mid, spot.half_spread_bps, side, excess)

    def _crosses(self, request: OrderRequest, spot: Spot) -> bool:
        limit = request.limit_price
        assert limit is not None
        best = spot.mid * (1.0 + request.side.sign * spot.half_spread_bps * BPS)
        return (float(limit) - best) * request.side.sign >= 0.0

    def _hit_now(self, order: WorkingOrder, spot: Spot) -> bool:
        trigger = order.request.trigger_price
        assert trigger is not None
        side = order.request.side
        if order.request.type is OrderType.STOP_MARKET:
            return stop_hit(side, float(trigger), spot.mid, spot.mid)
        return stop_hit(_opposite(side), float(trigger), spot.mid, spot.mid)

    def _take_market(self, order: WorkingOrder, spot: Spot) -> None:
        """Fill at the taker's price: reduce-only orders whole, others up to the depth."""
        account, side = self._account, order.request.side
        quantity = account.clip(order, spot.at_ms)
        depth = self._models.fill.depth(spot.instrument, spot.volume)
        excess = 1.0
        if order.request.reduce_only:
            excess = float(quantity / depth) if depth else float("inf")
        else:
            quantity = min(quantity, depth)
        if quantity > ZERO:
            price = next_tick_against(self._taker(side, spot, excess), spot.instrument.tick, side)
            mid = nearest_tick(spot.mid, spot.instrument.tick)
            account.fill(
                order,
                Execution(
                    quantity=quantity, price=price, reference=mid, maker=False, at_ms=spot.at_ms
                ),
            )
        if not order.status.terminal:
            flat = order.request.reduce_only and order.filled == ZERO
            status = OrderStatus.REJECTED if flat else OrderStatus.CANCELED
            account.finish(order, status, spot.at_ms)

    def _take_limit(self, order: WorkingOrder, spot: Spot) -> None:
        """Fill what crosses, within the depth; the rest waits or ends by time in force."""
        account, asked = self._account, order.request
        quantity = ZERO
        if self._crosses(asked, spot):
            depth = self._models.fill.depth(spot.instrument, spot.volume)
            quantity = min(account.clip(order, spot.at_ms), depth)
        if asked.time_in_force is TimeInForce.FOK and quantity < order.remaining:
            quantity = ZERO
        if quantity > ZERO:
            limit = asked.limit_price
            assert limit is not None
            price = next_tick_against(
                self._taker(asked.side, spot), spot.instrument.tick, asked.side
            )
            worst = min if asked.side is OrderSide.BUY else max
            mid = nearest_tick(spot.mid, spot.instrument.tick)
            account.fill(
                order,
                Execution(
                    quantity=quantity,
                    price=worst(price, limit),
                    reference=mid,
                    maker=False,
                    at_ms=spot.at_ms,
                ),
            )
        if asked.time_in_force is not TimeInForce.GTC and not order.status.terminal:
            account.finish(order, OrderStatus.CANCELED, spot.at_ms)

    # --- time ------------------------------------------------------------------

    def pass_through(self, symbol: str, path: SymbolPath) -> None:
        """Apply one interval of the market to a symbol's orders and position.

        Stops and liquidation come first, then limits and take-profits that already rested, then
        the stops that those fills made live. A take-profit that becomes live inside the interval
        waits for the next one.
        """
        state = self._account.state
        resting = state.live_orders(symbol)
        self._stops(symbol, resting, path)
        self._liquidate(symbol, path)
        before = {order.request.client_order_id for order in resting}
        for order in resting:
            if order.live and order.request.type is not OrderType.STOP_MARKET:
                self._favourable(order, path)
        woken = [o for o in state.live_orders(symbol) if o.request.client_order_id not in before]
        if woken:
            self._stops(symbol, woken, path)
            self._liquidate(symbol, path)

    def _stops(self, symbol: str, orders: list[WorkingOrder], path: SymbolPath) -> None:
        """Fill the triggered stops, nearest first; liquidate first where its price is nearer."""
        hit: list[tuple[float, WorkingOrder]] = []
        for order in orders:
            asked = order.request
            if asked.type is OrderType.STOP_MARKET and asked.trigger_price is not None:
                trigger = float(asked.trigger_price)
                if stop_hit(asked.side, trigger, path.low, path.high):
                    hit.append((abs(trigger - path.open), order))
        hit.sort(key=lambda pair: pair[0])  # stable: equal distances in order of arrival
        for _, order in hit:
            asked = order.request
            assert asked.trigger_price is not None
            price = self._models.stop.price(
                asked.side,
                float(asked.trigger_price),
                path.open,
                path.reached(asked.side),
                path.range_atr,
            )
            if self._account.reducible(symbol, asked.side) and self._liquidated_at(symbol, price):
                self._liquidate(symbol, path)
            self._trigger(order, price, path)

    def _trigger(self, order: WorkingOrder, price: float, path: SymbolPath) -> None:
        """Fill a triggered order as a market order at ``price``, before slippage."""
        side = order.request.side
        tick = path.instrument.tick
        quantity = self._account.clip(order, path.at_ms)
        if quantity > ZERO:
            depth = self._models.fill.depth(path.instrument, path.bar_volume)
            excess = float(quantity / depth) if depth else float("inf")
            paid = self._models.slippage.taker_price(price, path.half_spread_bps, side, excess)
            trigger = order.request.trigger_price
            assert trigger is not None
            self._account.fill(
                order,
                Execution(
                    quantity=quantity,
                    price=next_tick_against(paid, tick, side),
                    reference=trigger,
                    maker=False,
                    at_ms=path.at_ms,
                ),
            )
        else:
            self._account.finish(order, OrderStatus.REJECTED, path.at_ms)

    def _favourable(self, order: WorkingOrder, path: SymbolPath) -> None:
        """Fill a limit or take-profit order that the path has reached."""
        asked = order.request
        if asked.type is OrderType.TAKE_PROFIT_MARKET:
            assert asked.trigger_price is not None
            trigger = float(asked.trigger_price)
            if stop_hit(_opposite(asked.side), trigger, path.low, path.high):
                self._trigger(order, trigger, path)
            return
        limit = asked.limit_price
        assert limit is not None
        if not self._models.fill.through(asked.side, float(limit), path.low, path.high):
            return
        quantity = self._account.clip(order, path.at_ms)
        if quantity == ZERO:
            self._account.finish(order, OrderStatus.REJECTED, path.at_ms)
            return
        quantity = min(quantity, self._models.fill.depth(path.instrument, path.volume))
        if quantity > ZERO:
            self._account.fill(
                order,
                Execution(
                    quantity=quantity, price=limit, reference=limit, maker=True, at_ms=path.at_ms
                ),
            )

    def _liquidated_at(self, symbol: str, price: float) -> bool:
        """Return True if liquidation comes before a close at ``price``."""
        level = self._account.liquidation_price(symbol)
        held = self._account.state.positions.get(symbol)
        if level is None or held is None:
            return False
        return stop_hit(closing(held.quantity > ZERO), float(level), price, price)

    def _liquidate(self, symbol: str, path: SymbolPath) -> None:
        held = self._account.state.positions.get(symbol)
        if held is None:
            return
        if self._liquidated_at(symbol, path.reached(closing(held.quantity > ZERO))):
            self._account.liquidate(held, path.at_ms)


def closing(long: bool) -> OrderSide:
    """Return the order side that closes a long (True) or a short (False)."""
    return OrderSide.SELL if long else OrderSide.BUY


def _opposite(side: OrderSide) -> OrderSide:
    return OrderSide.SELL if side is OrderSide.BUY else OrderSide.BUY
