"""The venue's checks of orders, attached orders and the instruments of a market."""

from __future__ import annotations

from decimal import Decimal

from kamou.core.market.instruments import find_faults
from kamou.core.model import ZERO, Instrument, OrderType
from kamou.errors import InvalidDataError, RejectedError
from kamou.venue.market.market import MarketSource
from kamou.venue.state import OrderRequest

CONDITIONAL = (OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)

FAULTS_SHOWN = 5  # maximum number of faults in one message


def check_market(source: MarketSource) -> None:
    """Raise ``InvalidDataError`` unless every symbol has one valid instrument.

    One invalid instrument makes the whole market invalid, because the others may be wrong, too.
    """
    found = find_faults(source.symbols, source.instruments)
    if found:
        more = f"; and {len(found) - FAULTS_SHOWN} more" if len(found) > FAULTS_SHOWN else ""
        raise InvalidDataError(
            f"the market's instruments are invalid: {'; '.join(found[:FAULTS_SHOWN])}{more}; "
            "correct them at their source, or leave these symbols out"
        )


def check_request(request: OrderRequest, instrument: Instrument, mid: Decimal) -> None:
    """Raise ``RejectedError`` unless the request is valid for its instrument.

    A reduce-only quantity need not be a multiple of the lot size, because a position must stay
    closable after its lot size grew. Minima and leverage of such an order are not checked either.
    """
    quantity = request.quantity
    if quantity <= ZERO or (quantity % instrument.lot != ZERO and not request.reduce_only):
        raise RejectedError("QUANTITY_OFF_STEP", f"quantity={quantity} lot={instrument.lot}")
    if quantity > instrument.qty_max:
        raise RejectedError(
            "QUANTITY_EXCEEDS_MAXIMUM", f"quantity={quantity} maximum={instrument.qty_max}"
        )
    _check_prices(request, instrument)
    if request.reduce_only:
        return
    if quantity < instrument.qty_min:
        raise RejectedError(
            "QUANTITY_BELOW_MINIMUM", f"quantity={quantity} minimum={instrument.qty_min}"
        )
    price = request.limit_price or request.trigger_price or mid
    notional = quantity * price * instrument.contract_size
    if notional < instrument.notional_min:
        raise RejectedError(
            "NOTIONAL_BELOW_MINIMUM", f"notional={notional} minimum={instrument.notional_min}"
        )
    if not 1 <= request.leverage <= instrument.leverage_max:
        raise RejectedError(
            "LEVERAGE_EXCEEDED", f"leverage={request.leverage} allowed=1..{instrument.leverage_max}"
        )


def _check_prices(request: OrderRequest, instrument: Instrument) -> None:
    if request.type in CONDITIONAL and request.trigger_price is None:
        raise RejectedError("TRIGGER_MISSING", f"{request.type} order without a trigger price")
    if request.type is OrderType.LIMIT and request.limit_price is None:
        raise RejectedError("PRICE_MISSING", f"{request.type} order without a limit price")
    for price in (request.limit_price, request.trigger_price):
        if price is not None and (price <= ZERO or price % instrument.tick != ZERO):
            raise RejectedError("PRICE_OFF_TICK", f"price={price} tick={instrument.tick}")


def check_attached(request: OrderRequest, attached: tuple[OrderRequest, ...]) -> None:
    """Raise ``RejectedError`` unless all attached orders rest and can only close.

    A reduce-only order may have no attached orders. A market order does not rest.
    """
    for child in attached:
        closing = child.side is not request.side and child.symbol == request.symbol
        resting = child.type in (*CONDITIONAL, OrderType.LIMIT)
        if request.reduce_only or not (closing and resting and child.reduce_only):
            raise RejectedError(
                "ATTACHED_INVALID",
                f"{child.client_order_id} is {child.side} {child.type} {child.symbol}, "
                f"reduce_only={child.reduce_only}; {request.client_order_id} is "
                f"{request.side} {request.symbol}, reduce_only={request.reduce_only}",
            )
