"""Status of open positions at their marks, and of pending entries.

``kamou status`` and the site show it. ``net_pnl_at`` returns only the net PnL at a mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.core.book.orders import OrderState
from kamou.core.book.position_book import PositionBook
from kamou.core.book.trades import OpenTrade, r_multiple
from kamou.core.model import OrderRole, OrderSide, OrderStatus, OrderType, Side


@attrs.frozen(kw_only=True)
class MarkRead:
    """Mark price, and the time of the read that had it."""

    price: Decimal
    at_ms: int


@attrs.frozen(kw_only=True)
class PositionStatus:
    """Status of one open position. Money is in the account currency.

    A field is None if its value is unknown, unless its comment says otherwise.
    """

    symbol: str
    side: Side
    strategy: str
    quantity: Decimal  # contracts, > 0
    quantity_base: Decimal  # contracts x contract size
    entry_price: Decimal  # average price of the open contracts
    mark_price: Decimal | None
    mark_at_ms: int | None
    stop_price: Decimal | None  # trigger price of the closing stop; None: no stop
    stop_quantity: Decimal | None  # contracts of the confirmed stop; None: no confirmed stop
    stop_status: OrderStatus | None  # order state of the stop; None: the book has no such order
    stop_confirmed: bool  # True: a confirmed stop covers all open contracts
    stop_distance: Decimal | None  # fraction of the mark; negative: the mark is beyond the stop
    unprotected_since_ms: int | None  # None while a confirmed stop covers the position
    target_price: Decimal | None  # None: no take-profit is planned
    unrealized_pnl: Decimal | None  # money at the mark, before exit costs
    net_pnl: Decimal | None  # money: unrealized and realized PnL, less fees, with funding
    r: Decimal | None  # net_pnl / planned risk; None also if some contracts had no plan
    opened_at_ms: int


@attrs.frozen(kw_only=True)
class PendingEntry:
    """Status of an entry order that may still fill, or has unrecorded fills."""

    symbol: str
    side: OrderSide
    strategy: str  # empty: unknown
    type: OrderType
    quantity: Decimal  # contracts
    filled: Decimal  # contracts
    limit_price: Decimal | None
    status: OrderStatus
    intended_at_ms: int


def describe_positions(
    book: PositionBook, marks: Mapping[str, MarkRead]
) -> tuple[PositionStatus, ...]:
    """Return the status of every open position, the most urgent first.

    Unprotected positions come first. Among these, and among the protected ones, the position
    nearest to its stop comes first and unknown distances come last.

    Args:
        marks: mark prices by symbol; a missing one is unknown.
    """
    found = [
        describe_position(trade, _stop_order(book, trade), marks.get(trade.symbol))
        for trade in book.trades.open.values()
        if trade.quantity
    ]
    return tuple(sorted(found, key=_urgency))


def describe_position(
    trade: OpenTrade, stop_order: OrderState | None, mark: MarkRead | None
) -> PositionStatus:
    """Return the status of a trade with open contracts: its PnL and its protection.

    Args:
        stop_order: the order of its stop; None if the book has none.
        mark: None if the mark price is unknown.
    """
    stop = trade.confirmed.trigger_price if trade.confirmed else None
    if stop is None and stop_order is not None:
        stop = stop_order.intent.trigger_price
    price = mark.price if mark else None
    net = None if price is None else net_pnl_at(trade, price)
    # If more contracts were closed than opened, the position is on the other side.
    side = trade.side if trade.quantity > 0 else trade.side.opposite
    distance = None
    if price and stop is not None:
        distance = side.loss(price, stop) / price
    return PositionStatus(
        symbol=trade.symbol,
        side=side,
        strategy=trade.strategy,
        quantity=abs(trade.quantity),
        quantity_base=abs(trade.quantity) * trade.contract_size,
        entry_price=trade.open_cost / trade.quantity,
        mark_price=price,
        mark_at_ms=mark.at_ms if mark else None,
        stop_price=stop,
        stop_quantity=trade.confirmed.quantity if trade.confirmed else None,
        stop_status=stop_order.status if stop_order else None,
        stop_confirmed=trade.protected,
        stop_distance=distance,
        unprotected_since_ms=None if trade.protected else trade.unprotected_since_ms or None,
        target_price=trade.target_price,
        unrealized_pnl=None if price is None else trade.unrealized_pnl(price),
        net_pnl=net,
        r=None if net is None else r_multiple(net, trade.planned_risk),
        opened_at_ms=trade.opened_at_ms,
    )


def net_pnl_at(trade: OpenTrade, mark: Decimal) -> Decimal:
    """Return the net PnL, money, that the trade would have if it ended at the mark.

    Closed contracts count at their prices, open ones at the mark. Fees and funding so far are
    included, exit costs are not.
    """
    value = trade.exited_value + trade.quantity * mark
    gross = trade.side.gain(trade.entered_value, value) * trade.contract_size
    return gross - trade.fees + trade.funding


def pending_entries(book: PositionBook) -> tuple[PendingEntry, ...]:
    """Return the entry orders that may fill or have unrecorded fills, oldest first."""
    entries = (
        o for o in book.orders.unsettled.values() if o.role is OrderRole.ENTRY and o.remaining > 0
    )
    return tuple(
        PendingEntry(
            symbol=order.intent.symbol,
            side=order.intent.side,
            strategy=order.plan.strategy if order.plan else "",
            type=order.intent.type,
            quantity=order.intent.quantity,
            filled=order.filled,
            limit_price=order.intent.limit_price,
            status=order.status,
            intended_at_ms=order.intent.intended_at_ms,
        )
        for order in sorted(entries, key=lambda o: o.intent.intended_at_ms)
    )


def _stop_order(book: PositionBook, trade: OpenTrade) -> OrderState | None:
    """Return the order of the confirmed stop, or of the newest stop that may fill.

    A stop with unrecorded fills counts too. None if the book has no such order.
    """
    if trade.confirmed is not None:
        return book.orders.find(trade.confirmed.client_order_id)
    stops = [
        o
        for o in book.orders.of_symbol(trade.symbol)
        if o.role is OrderRole.STOP_LOSS and o.remaining > 0
    ]
    return max(stops, key=lambda o: (o.intent.intended_at_ms, o.client_order_id), default=None)


def _urgency(row: PositionStatus) -> tuple[bool, bool, Decimal, str]:
    distance = row.stop_distance
    known = distance is not None
    return (row.stop_confirmed, not known, Decimal(0) if distance is None else distance, row.symbol)
