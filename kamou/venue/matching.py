"""The contract of how the embedded venue fills orders, and ``Matcher``.

Orders trade against the market's mid, spread and volume, never with each other. The *depth* is what
one order may take: ``exchange.volume_participation`` of the last whole bar's volume, on the lot. A
*taker price* is mid, half the spread and slippage, rounded against the order to the tick.

**Filled in full**
  - A stop whose trigger the market touches, and a take-profit whose trigger it touches: at once. A
    reduce-only order shrinks to the position first.
  - A reduce-only market order: at once, at the taker price.
  - Where such an order exceeds the depth, slippage grows with quantity / depth, up to its cap.

**Filled in part**
  - A market order that may add exposure fills up to the depth; the rest is canceled.
  - A limit that crosses on arrival fills up to the depth, at the taker price or at its limit if
    that is better for it. The rest of a GTC order rests, that of an IOC order is canceled. A FOK
    order fills whole or not at all.
  - A resting limit fills at its own price, as maker, when the market trades *beyond* it. A touch
    fills nothing. Each interval of time fills up to the depth of that interval's volume, and the
    rest goes on resting.

**Prices of what is triggered**
  - A stop fills at its trigger, or at the first price of the interval if that is worse. In a bar
    that is wider than ``exchange.gap_range_atr`` it fills deeper. Half the spread and slippage come
    on top.
  - A take-profit fills at its trigger, with half the spread and slippage.
  - A conditional order whose trigger the mid has already passed on arrival is a market order.
  - If an interval reaches a stop and a limit or take-profit, the stop fills first. If it reaches
    the liquidation price before a stop's fill price, the position is liquidated.

**Rejected**
  - An order that is invalid on arrival, such as one off the tick or with too little margin.
  - A reduce-only order that finds no position when it would fill.

**Unrealistic**
  - Fills do not move the market, and each order has the whole depth to itself: ten orders in one
    bar take ten times as much as one.
  - An exit of any size fills whole in one bar, where a real book would be empty.
  - There is no queue: a limit is last at its price, so it misses the fills of a touch, and first at
    every price that the market passes.
  - Inside a bar the order of prices is unknown. A stop is assumed to come before its take-profit.
    A take-profit that goes live inside an interval cannot fill before the next.
"""

from __future__ import annotations

from decimal import Decimal

from kamou.core.market.fill_prices import nearest_tick
from kamou.core.model import (
    BPS,
    ZERO,
    OrderSide,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from kamou.errors import RejectedError
from kamou.venue.account import VenueAccount
from kamou.venue.models import VenueModels
from kamou.venue.order_checks import check_request
from kamou.venue.prices import Spot, SymbolPath
from kamou.venue.state import Execution, OrderRequest, WorkingOrder


class Matcher:
    """Matches one account's orders with the market, at the prices of the models."""

    def __init__(self, account: VenueAccount, models: VenueModels) -> None:
        self._account = account
        self._models = models

    # --- arrival ---------------------------------------------------------------

    def arrive(
        self, request: OrderRequest, attached: tuple[OrderRequest, ...], spot: Spot
    ) -> WorkingOrder:
        """Check and accept an order with its attached ones; fill what trades at once.

        Raises:
            RejectedError: the venue rejects the order; nothing has changed.
        """
        self._check_admission(request, spot)
        for child in attached:
            check_request(child, spot.instrument, nearest_tick(spot.mid, spot.instrument.tick))
        order = self._account.accept(request)
        for child in attached:
            self._account.accept(child, parent=request.client_order_id)
        if request.type is OrderType.MARKET:
            self._fill_market(order, spot)
        elif request.type is OrderType.LIMIT:
            self._fill_crossing_limit(order, spot)
        elif self._is_triggered(order, spot):
            self._fill_market(order, spot)
        return order

    def _check_admission(self, request: OrderRequest, spot: Spot) -> None:
        """Raise ``RejectedError`` for an order that the venue does not accept now."""
        tick = spot.instrument.tick
        check_request(request, spot.instrument, nearest_tick(spot.mid, tick))
        if request.post_only and request.type is OrderType.LIMIT and self._crosses(request, spot):
            raise RejectedError("POST_ONLY_WOULD_TAKE", f"limit={request.limit_price}")
        if request.reduce_only:
            waits = request.type not in (OrderType.MARKET, OrderType.LIMIT)
            if not waits and not self._account.reducible(request.symbol, request.side):
                raise RejectedError(
                    "REDUCE_ONLY_REJECTED",
                    f"no position in {request.symbol} that a {request.side} order reduces",
                )
            return
        price = request.limit_price or request.trigger_price
        if price is None:
            price = self._taker_price(request.side, spot)
        opened = request.quantity - self._account.reducible(request.symbol, request.side)
        if opened <= ZERO:
            return
        notional = opened * price * spot.instrument.contract_size
        fee = self._models.fee.fee(spot.instrument, notional, maker=False)
        needed = notional / request.leverage + fee
        if needed > self._account.view.available():
            raise RejectedError(
                "MARGIN_INSUFFICIENT", f"needed={needed} available={self._account.view.available()}"
            )

    def _taker_price(self, side: OrderSide, spot: Spot, excess: float = 1.0) -> Decimal:
        tick = spot.instrument.tick
        return self._models.slippage.fill_price(spot.mid, spot.half_spread_bps, side, tick, excess)

    def _crosses(self, request: OrderRequest, spot: Spot) -> bool:
        """Return True if the limit is at or beyond the best price of the other side."""
        limit = request.limit_price
        assert limit is not None
        best = spot.mid * (1.0 + request.side.sign * spot.half_spread_bps * BPS)
        return request.side.extra_cost(best, float(limit)) >= 0.0

    def _is_triggered(self, order: WorkingOrder, spot: Spot) -> bool:
        """Return True if the mid triggers the conditional order on arrival."""
        trigger = order.request.trigger_price
        assert trigger is not None
        side = order.request.side
        if order.request.type is not OrderType.STOP_MARKET:
            side = side.opposite
        return side.is_stop_hit(float(trigger), spot.mid, spot.mid)

    def _fill_market(self, order: WorkingOrder, spot: Spot) -> None:
        """Fill at the taker price, and end the order.

        A reduce-only order fills up to the position, any other order up to the depth. A reduce-only
        order without a fill ends as rejected, any other remaining part as canceled.
        """
        account, side = self._account, order.request.side
        quantity = account.clip(order)
        depth = self._models.fill.depth(spot.instrument, spot.volume)
        excess = 1.0
        if order.request.reduce_only:
            excess = float(quantity / depth) if depth else float("inf")
        else:
            quantity = min(quantity, depth)
        if quantity > ZERO:
            price = self._taker_price(side, spot, excess)
            mid = nearest_tick(spot.mid, spot.instrument.tick)
            account.fill(
                order,
                Execution(quantity=quantity, price=price, reference=mid, maker=False),
            )
        if not order.status.terminal:
            no_position = order.request.reduce_only and order.filled == ZERO
            status = OrderStatus.REJECTED if no_position else OrderStatus.CANCELED
            account.finish(order, status)

    def _fill_crossing_limit(self, order: WorkingOrder, spot: Spot) -> None:
        """Fill a limit that crosses, up to the depth.

        A GTC order rests with the remaining contracts; those of any other order are canceled. A FOK
        order fills whole or not at all.
        """
        account, request = self._account, order.request
        quantity = ZERO
        if self._crosses(request, spot):
            depth = self._models.fill.depth(spot.instrument, spot.volume)
            quantity = min(account.clip(order), depth)
        if request.time_in_force is TimeInForce.FOK and quantity < order.remaining:
            quantity = ZERO
        if quantity > ZERO:
            limit = request.limit_price
            assert limit is not None
            price = self._taker_price(request.side, spot)
            mid = nearest_tick(spot.mid, spot.instrument.tick)
            account.fill(
                order,
                Execution(
                    quantity=quantity,
                    price=request.side.better(price, limit),
                    reference=mid,
                    maker=False,
                ),
            )
        if request.time_in_force is not TimeInForce.GTC and not order.status.terminal:
            account.finish(order, OrderStatus.CANCELED)

    # --- along a path ----------------------------------------------------------

    def pass_through(self, symbol: str, path: SymbolPath) -> None:
        """Apply one interval of the market to a symbol's orders and position.

        Stops and liquidation come first, then limits and take-profits that already rested, then
        the stops that those fills made live. A take-profit that becomes live inside the interval
        cannot fill before the next interval.
        """
        state = self._account.state
        resting = state.live_orders(symbol)
        self._fill_stops(symbol, resting, path)
        self._liquidate(symbol, path)
        before = {order.request.client_order_id for order in resting}
        for order in resting:
            if order.live and order.request.type is not OrderType.STOP_MARKET:
                self._fill_limit_or_take_profit(order, path)
        new = [o for o in state.live_orders(symbol) if o.request.client_order_id not in before]
        if new:
            self._fill_stops(symbol, new, path)
            self._liquidate(symbol, path)

    def _fill_stops(self, symbol: str, orders: list[WorkingOrder], path: SymbolPath) -> None:
        """Fill the triggered stops, nearest to the open first.

        If the liquidation price comes before a stop's fill price, the position is liquidated first.
        """
        hit: list[tuple[float, WorkingOrder]] = []
        for order in orders:
            request = order.request
            if request.type is OrderType.STOP_MARKET and request.trigger_price is not None:
                trigger = float(request.trigger_price)
                if request.side.is_stop_hit(trigger, path.low, path.high):
                    hit.append((abs(trigger - path.open), order))
        hit.sort(key=lambda pair: pair[0])  # stable: equal distances in order of arrival
        for _, order in hit:
            request = order.request
            side = request.side
            assert request.trigger_price is not None
            price = self._models.stop.price(
                side,
                float(request.trigger_price),
                path.open,
                path.reached(side),
                path.range_atr,
            )
            if self._account.reducible(symbol, side) and self._liquidated_at(symbol, price):
                self._liquidate(symbol, path)
            self._fill_triggered(order, price, path)

    def _fill_triggered(self, order: WorkingOrder, price: float, path: SymbolPath) -> None:
        """Fill a triggered order at ``price`` with half the spread and slippage.

        Reject a reduce-only order without a position.
        """
        side = order.request.side
        tick = path.instrument.tick
        quantity = self._account.clip(order)
        if quantity > ZERO:
            depth = self._models.fill.depth(path.instrument, path.bar_volume)
            excess = float(quantity / depth) if depth else float("inf")
            paid = self._models.slippage.fill_price(price, path.half_spread_bps, side, tick, excess)
            trigger = order.request.trigger_price
            assert trigger is not None
            self._account.fill(
                order,
                Execution(
                    quantity=quantity,
                    price=paid,
                    reference=trigger,
                    maker=False,
                ),
            )
        else:
            self._account.finish(order, OrderStatus.REJECTED)

    def _fill_limit_or_take_profit(self, order: WorkingOrder, path: SymbolPath) -> None:
        """Fill a limit or take-profit order that the path has reached.

        Reject a reduce-only order without a position.
        """
        request = order.request
        if request.type is OrderType.TAKE_PROFIT_MARKET:
            assert request.trigger_price is not None
            trigger = float(request.trigger_price)
            if request.side.opposite.is_stop_hit(trigger, path.low, path.high):
                self._fill_triggered(order, trigger, path)
            return
        limit = request.limit_price
        assert limit is not None
        if not self._models.fill.trades_through(request.side, float(limit), path.low, path.high):
            return
        quantity = self._account.clip(order)
        if quantity == ZERO:
            self._account.finish(order, OrderStatus.REJECTED)
            return
        quantity = min(quantity, self._models.fill.depth(path.instrument, path.volume))
        if quantity > ZERO:
            self._account.fill(
                order,
                Execution(quantity=quantity, price=limit, reference=limit, maker=True),
            )

    def _liquidated_at(self, symbol: str, price: float) -> bool:
        """Return True if a market at ``price`` has reached the liquidation price."""
        level = self._account.view.liquidation_price(symbol)
        held = self._account.state.positions.get(symbol)
        if level is None or held is None:
            return False
        return Side.of(held.quantity).closing.is_stop_hit(float(level), price, price)

    def _liquidate(self, symbol: str, path: SymbolPath) -> None:
        """Liquidate the symbol's position if the path reaches its liquidation price."""
        held = self._account.state.positions.get(symbol)
        if held is None:
            return
        if self._liquidated_at(symbol, path.reached(Side.of(held.quantity).closing)):
            self._account.liquidate(held)
