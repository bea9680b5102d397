"""Restatement of open trades whose contract size, tick or stop must change.

If a venue changes a contract size, it changes the contracts of positions and resting orders so that
their base units stay. A new tick size applies to orders placed after the change. A higher
maintenance margin rate moves liquidation nearer, and a stop beyond liquidation would never trigger.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from kamou.core.book.events import TradeRestated
from kamou.core.book.position_book import PositionBook
from kamou.core.book.trades import OpenTrade
from kamou.core.model import Instrument, PositionReport
from kamou.core.reconciliation.adoption import adopted_stop
from kamou.core.reconciliation.venue_view import ReconcileInputs, VenueView


def restate_trades(
    book: PositionBook, view: VenueView, inputs: ReconcileInputs, now_ms: int
) -> Iterator[TradeRestated]:
    """Yield an event for each trade whose contract size, tick or stop must change.

    After these events are applied, a second call yields none.
    """
    held = {p.symbol: p for p in view.positions}
    for symbol, trade in book.trades.open.items():
        instrument = book.instruments.get(symbol)
        if instrument is None:
            continue
        position = held.get(symbol)
        stop = trade.stop_price
        if position is not None and is_liquidated_first(trade, position):
            stop = _nearer_stop(book, view, inputs, position, instrument, now_ms)
        off_tick = stop % instrument.tick != 0 and instrument.tick != trade.tick
        resized = instrument.contract_size != trade.contract_size
        if off_tick or resized or stop != trade.stop_price:
            yield TradeRestated(
                at_ms=now_ms,
                cause_id=trade.trade_id,
                trade_id=trade.trade_id,
                symbol=symbol,
                contract_size=instrument.contract_size,
                tick=instrument.tick,
                stop_price=stop,
            )


def is_liquidated_first(trade: OpenTrade, position: PositionReport) -> bool:
    """Return True if liquidation is at the trade's stop price or nearer to the mark.

    False if the venue reports no liquidation price, or no position on the trade's side.
    """
    end, side = position.liquidation_price, trade.side
    if end is None or position.quantity * side.sign <= 0:
        return False
    return side.has_reached(trade.stop_price, end)


def _nearer_stop(
    book: PositionBook,
    view: VenueView,
    inputs: ReconcileInputs,
    position: PositionReport,
    instrument: Instrument,
    now_ms: int,
) -> Decimal:
    """Return the stop price of this position if it were adopted now, without an ATR."""
    return adopted_stop(
        position,
        instrument=instrument,
        sizing_equity=min(view.account.equity, view.account.wallet_balance),
        parameters=inputs.parameters,
        gap=book.recent_activity.gap_buffer(inputs.limits, now_ms).value,
        atr=None,
    )
