"""The embedded venue's account: orders, fills, funding, margin and liquidation.

``VenueAccount`` books in ``VenueState``, at the price of an ``Execution``. The engine moves the
market time. Every change of an order or of money has an audit record. Changes of orders and fills
also have an event of the private stream. A dormant order has neither until it becomes live or ends.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import attrs

from kamou.core.book.updates import FillUpdate, OrderUpdate, VenueEvent
from kamou.core.model import (
    ZERO,
    FillReport,
    Income,
    Instrument,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionReport,
)
from kamou.venue.models import VenueModels
from kamou.venue.state import (
    FillAudit,
    HeldPosition,
    MoneyAudit,
    OrderAudit,
    OrderRequest,
    VenueState,
    WorkingOrder,
    as_money,
    position_after,
)

MarkOf = Callable[[str], Decimal | None]
"""symbol -> its mark price now; None if it has no market."""


@attrs.frozen(kw_only=True)
class Execution:
    """One fill before it is booked."""

    quantity: Decimal  # contracts, > 0
    price: Decimal
    reference: Decimal  # slippage is the distance of ``price`` from this price
    maker: bool
    at_ms: int
    reason: str = "order"


class VenueAccount:
    """The orders, positions and money of one account."""

    def __init__(
        self,
        state: VenueState,
        instruments: dict[str, Instrument],
        models: VenueModels,
        mark_of: MarkOf,
    ) -> None:
        self.state = state
        self.models = models
        self.events: list[VenueEvent] = []
        self.touched: dict[str, None] = {}  # symbols whose watch levels may have changed
        self._instruments = instruments
        self._mark_of = mark_of
        # symbol -> position, its margin and liquidation price; price moves change neither
        self._fixed: dict[str, tuple[HeldPosition, Decimal, Decimal | None]] = {}

    # --- money -----------------------------------------------------------------

    def mark(self, position: HeldPosition) -> Decimal:
        """Return the mark now; ``position.mark`` if there is no market now."""
        mark = self._mark_of(position.symbol)
        return position.mark if mark is None else mark

    def unrealized_pnl(self, position: HeldPosition) -> Decimal:
        """Return the position's unrealized PnL at the mark, in USDT."""
        size = self._instruments[position.symbol].contract_size
        return as_money((self.mark(position) - position.entry_price) * position.quantity * size)

    def margin(self, position: HeldPosition) -> Decimal:
        """Return the isolated margin: entry notional / leverage, in USDT."""
        return self._margin_and_liquidation(position)[0]

    def _margin_and_liquidation(self, position: HeldPosition) -> tuple[Decimal, Decimal | None]:
        """Return a position's margin (USDT) and liquidation price, computed once per fill."""
        cached = self._fixed.get(position.symbol)
        if cached is None or cached[0] is not position:  # every fill makes another object
            size = self._instruments[position.symbol].contract_size
            notional = abs(position.quantity) * position.entry_price * size
            margin = as_money(notional / position.leverage)
            cached = (position, margin, self.liquidation_price(position.symbol))
            self._fixed[position.symbol] = cached
        return cached[1:]

    def report_position(self, position: HeldPosition) -> PositionReport:
        """Return the position as a client reads it now."""
        margin, liquidation = self._margin_and_liquidation(position)
        return PositionReport(
            symbol=position.symbol,
            quantity=position.quantity,
            entry_price=position.entry_price,
            mark_price=self.mark(position),
            liquidation_price=liquidation,
            margin=margin,
            leverage=position.leverage,
            unrealized_pnl=self.unrealized_pnl(position),
            updated_at_ms=position.updated_at_ms,
        )

    def equity(self) -> Decimal:
        """Return wallet balance + unrealized PnL at the marks, in USDT."""
        positions = self.state.positions.values()
        return self.state.wallet_balance + sum((self.unrealized_pnl(p) for p in positions), ZERO)

    def margin_used(self) -> Decimal:
        """Return the margin of positions and of orders that may add exposure, in USDT."""
        total = sum((self.margin(p) for p in self.state.positions.values()), ZERO)
        for client_order_id in self.state.live:
            order = self.state.orders[client_order_id]
            if not order.request.reduce_only:
                price = order.request.limit_price or order.request.trigger_price or ZERO
                size = self._instruments[order.request.symbol].contract_size
                total += as_money(order.remaining * price * size / order.request.leverage)
        return total

    def available(self) -> Decimal:
        """Return the USDT free for new margin.

        An unrealized loss reduces it; an unrealized profit does not raise it.
        """
        return min(self.state.wallet_balance, self.equity()) - self.margin_used()

    # --- orders ----------------------------------------------------------------

    def accept(self, request: OrderRequest, at_ms: int, *, parent: str = "") -> WorkingOrder:
        """Accept an order; with a parent, it is dormant until the parent's first fill."""
        order = WorkingOrder(
            request=request,
            venue_order_id=self.state.new_id(),
            quantity=request.quantity,
            status=OrderStatus.ACCEPTED,
            created_at_ms=at_ms,
            updated_at_ms=at_ms,
            parent=parent,
            dormant=bool(parent),
        )
        self.state.orders[request.client_order_id] = order
        self.state.live[request.client_order_id] = None
        if parent:
            self.state.changes.orders[request.client_order_id] = None
        else:
            self._record_change(order, "accepted", at_ms)
        return order

    def record_rejection(self, request: OrderRequest, code: str, at_ms: int) -> None:
        """Record a rejected request in the audit log. No order is made of it."""
        self.state.audit_log.append(
            OrderAudit(
                at_ms=at_ms,
                event="rejected",
                client_order_id=request.client_order_id,
                symbol=request.symbol,
                side=request.side,
                type=request.type,
                reduce_only=request.reduce_only,
                remaining=request.quantity,
                trigger_price=request.trigger_price,
                detail=code,
            )
        )

    def finish(self, order: WorkingOrder, status: OrderStatus, at_ms: int) -> None:
        """End an order, and cancel its attached orders that are still dormant."""
        order.status = status
        del self.state.live[order.request.client_order_id]
        self._record_change(order, "closed", at_ms)
        for child in self._children(order):
            if child.dormant:
                child.dormant = False
                self.finish(child, OrderStatus.CANCELED, at_ms)

    def _children(self, order: WorkingOrder) -> list[WorkingOrder]:
        """Return the live orders that are attached to ``order``."""
        parent = order.request.client_order_id
        live = (self.state.orders[each] for each in self.state.live)
        return [child for child in live if child.parent == parent]

    def _record_change(self, order: WorkingOrder, event: str, at_ms: int) -> None:
        """Add a changed order to the unsaved changes, the event stream and the audit log."""
        request = order.request
        order.updated_at_ms = at_ms
        self.touched[request.symbol] = None
        self.state.changes.orders[request.client_order_id] = None
        self.events.append(OrderUpdate(order=order.make_report()))
        self.state.audit_log.append(
            OrderAudit(
                at_ms=at_ms,
                event=event,
                client_order_id=request.client_order_id,
                symbol=request.symbol,
                side=request.side,
                type=request.type,
                reduce_only=request.reduce_only,
                remaining=order.remaining,
                trigger_price=request.trigger_price,
                detail=order.status.value if event == "closed" else "",
            )
        )

    # --- fills -----------------------------------------------------------------

    def reducible(self, symbol: str, side: OrderSide) -> Decimal:
        """Return the contracts that an order of ``side`` could close; 0 if none."""
        position = self.state.positions.get(symbol)
        if position is None or (position.quantity > ZERO) == (side is OrderSide.BUY):
            return ZERO
        return abs(position.quantity)

    def clip(self, order: WorkingOrder, at_ms: int) -> Decimal:
        """Shrink a reduce-only order to the position; return the contracts that may fill."""
        if not order.request.reduce_only:
            return order.remaining
        most = self.reducible(order.request.symbol, order.request.side)
        if ZERO < most < order.remaining:
            order.quantity = order.filled + most
            self._record_change(order, "resized", at_ms)
        return min(order.remaining, most)

    def fill(self, order: WorkingOrder, execution: Execution) -> None:
        """Book a fill of ``order``, and make its attached orders live or resize them."""
        order.filled += execution.quantity
        order.cost += execution.quantity * execution.price
        order.updated_at_ms = execution.at_ms
        order.status = OrderStatus.PARTIALLY_FILLED
        request = order.request
        self.state.changes.orders[request.client_order_id] = None
        self._book(execution, request.symbol, request.side, request.leverage, order)
        for child in self._children(order):
            was_dormant = child.dormant
            child.dormant = False
            child.quantity = max(order.filled, child.filled)
            event = "accepted" if was_dormant else "resized"
            self._record_change(child, event, execution.at_ms)
        if order.remaining == ZERO:
            self.finish(order, OrderStatus.FILLED, execution.at_ms)
        else:
            self.events.append(OrderUpdate(order=order.make_report()))

    def liquidation_price(self, symbol: str) -> Decimal | None:
        """Return the liquidation price; None without a position or if the price is <= 0."""
        position = self.state.positions.get(symbol)
        if position is None:
            return None
        price = self.models.liquidation.price(
            self._instruments[symbol], position.entry_price, position.leverage, position.quantity
        )
        return price if price > ZERO else None

    def liquidate(self, position: HeldPosition, at_ms: int) -> None:
        """Close the position at its bankruptcy price, where its isolated margin is lost."""
        price = self.models.liquidation.bankruptcy(
            self._instruments[position.symbol],
            position.entry_price,
            position.leverage,
            position.quantity,
        )
        self.close_at(position, price, "liquidation", at_ms)

    def close_at(self, position: HeldPosition, price: Decimal, reason: str, at_ms: int) -> None:
        """Close the position at ``price`` without an order, for ``reason``."""
        side = OrderSide.SELL if position.quantity > ZERO else OrderSide.BUY
        execution = Execution(
            quantity=abs(position.quantity),
            price=price,
            reference=price,
            maker=False,
            at_ms=at_ms,
            reason=reason,
        )
        self._book(execution, position.symbol, side, position.leverage, None)

    def _book(
        self,
        execution: Execution,
        symbol: str,
        side: OrderSide,
        leverage: int,
        order: WorkingOrder | None,
        order_type: OrderType | None = None,
    ) -> None:
        """Book one execution: position, balance, audit record, fill and event."""
        state, instrument = self.state, self._instruments[symbol]
        size = instrument.contract_size
        position = state.positions.get(symbol)
        before = position.quantity if position else ZERO
        entry = position.entry_price if position else ZERO
        after, entry_after, difference = position_after(
            before, entry, side.sign * execution.quantity, execution.price
        )
        notional = execution.quantity * execution.price * size
        record = FillAudit(
            at_ms=execution.at_ms,
            client_order_id=order.request.client_order_id if order else "",
            symbol=symbol,
            side=side,
            type=order.request.type if order else order_type,
            reduce_only=order.request.reduce_only if order else True,
            quantity=execution.quantity,
            price=execution.price,
            fee=self.models.fee.fee(instrument, notional, maker=execution.maker),
            realized=as_money(difference * size),
            position_before=before,
            position_after=after,
            entry_before=entry,
            entry_after=entry_after,
            trigger_price=order.request.trigger_price if order else None,
            contract_size=size,
            taker_fee=instrument.taker_fee,
            equity_before=self.equity(),
            balance_before=state.wallet_balance,
            reason=execution.reason,
        )
        state.audit_log.append(record)
        state.wallet_balance += record.realized - record.fee
        kept = position if before * after > ZERO else None
        self._set_position(record, kept.leverage if kept else leverage)
        self._report_fill(record, execution, order.venue_order_id if order else "")

    def _set_position(self, record: FillAudit, leverage: int) -> None:
        """Set the position that a fill leaves."""
        self.state.changes.positions[record.symbol] = None
        self.touched[record.symbol] = None
        if record.position_after == ZERO:
            del self.state.positions[record.symbol]
            return
        self.state.positions[record.symbol] = HeldPosition(
            symbol=record.symbol,
            quantity=record.position_after,
            entry_price=record.entry_after,
            leverage=leverage,
            mark=record.price,
            updated_at_ms=record.at_ms,
        )

    def _report_fill(self, record: FillAudit, execution: Execution, venue_order_id: str) -> None:
        """Add the fill to the account's history and to the private stream."""
        worse = (execution.price - execution.reference) * record.side.sign
        fill = FillReport(
            symbol=record.symbol,
            execution_id=self.state.new_id(),
            client_order_id=record.client_order_id,
            venue_order_id=venue_order_id,
            side=record.side,
            quantity=record.quantity,
            price=record.price,
            fee=record.fee,
            slippage=as_money(worse * record.quantity * record.contract_size),
            maker=execution.maker,
            reason=execution.reason,
            at_ms=execution.at_ms,
        )
        self.state.fills.append(fill)
        self.events.append(FillUpdate(fill=fill))

    # --- funding ---------------------------------------------------------------

    def pay_funding(self, position: HeldPosition, rate: float, hours: int, at_ms: int) -> None:
        """Settle one funding interval of ``hours`` on the notional at the mark."""
        size = self._instruments[position.symbol].contract_size
        notional = abs(position.quantity) * self.mark(position) * size
        amount = self.models.funding.amount(position.quantity, notional, rate, hours)
        if amount == ZERO:
            return
        self.state.wallet_balance += amount
        symbol = position.symbol
        income_id = f"funding.{symbol}.{at_ms}"
        self.state.income.append(
            Income(income_id=income_id, kind="funding", symbol=symbol, amount=amount, at_ms=at_ms)
        )
        self.state.audit_log.append(
            MoneyAudit(at_ms=at_ms, kind="funding", symbol=symbol, amount=amount)
        )

    def store_mark(self, position: HeldPosition, at_ms: int) -> None:
        """Store the mark price now, if the symbol has a market.

        ``mark`` uses the stored one while the symbol has no market.
        """
        mark = self._mark_of(position.symbol)
        if mark is not None and mark != position.mark:
            position.mark = mark
            position.updated_at_ms = at_ms
            self.state.changes.positions[position.symbol] = None
