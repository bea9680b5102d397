"""Adoption of a position that the book does not have, and its stop price."""

from __future__ import annotations

from decimal import Decimal

from kamou.core.book.events import PositionAdopted
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import Instrument, PositionReport, Side
from kamou.core.risk.equity import exit_rate
from kamou.core.risk.limits import TradingParameters

ATR_MULTIPLE = Decimal(2)  # maximum distance of an adopted position's stop from the mark, in ATR


def adopt_position(
    position: PositionReport,
    *,
    instrument: Instrument,
    stop_price: Decimal,
    at_ms: int,
) -> PositionAdopted:
    """Return the event that adopts the position with a stop at ``stop_price``.

    Its trade id has the symbol and ``at_ms``. ``adopted_stop`` computes the stop price.
    """
    return PositionAdopted(
        at_ms=at_ms,
        cause_id=position.symbol,
        unless_held=True,
        trade_id=f"{at_ms}.adopted.{position.symbol}",
        symbol=position.symbol,
        side=Side.of(position.quantity),
        quantity=abs(position.quantity),
        contract_size=instrument.contract_size,
        entry_price=position.entry_price,
        stop_price=stop_price,
    )


def adopted_stop(
    position: PositionReport,
    *,
    instrument: Instrument,
    sizing_equity: Decimal,
    parameters: TradingParameters,
    gap: Decimal,
    atr: Decimal | None,
) -> Decimal:
    """Return the stop price of an adopted position, on the tick.

    The distance from the mark is the smallest of three, and at least one tick before the price is
    rounded towards the mark:
    - the distance at which the position loses the risk of one trade, with costs and gap buffer;
    - ``ATR_MULTIPLE`` x ATR, if the ATR is known and above 0;
    - the distance to liquidation / (``liquidation_multiple`` x (1 + gap buffer)); without a
      liquidation price, the mark price is the distance to liquidation.

    If the position is too large for the first of these, the stop is next to the mark and soon
    triggers.

    Args:
        gap: gap buffer, a multiple of the stop distance.
        atr: average true range, in price; None: unknown.
    """
    mark, limits = position.mark_price, parameters.limits
    side = Side.of(position.quantity)
    units = abs(position.quantity) * instrument.contract_size
    exit_cost = exit_rate(instrument, parameters.costs) * mark
    distance = (limits.risk_per_trade * sizing_equity / units - exit_cost) / (1 + gap)
    if atr is not None and atr > 0:
        distance = min(distance, ATR_MULTIPLE * atr)
    end = position.liquidation_price
    to_liquidation = side.loss(mark, end) if end is not None else mark
    distance = min(distance, to_liquidation / (limits.liquidation_multiple * (1 + gap)))
    tick = instrument.tick
    raw = mark - side.sign * max(distance, tick)
    return round_to_tick(raw, tick, side.rounding_to_gain)  # towards the mark
