"""Booking at the embedded venue: order status, positions and money.

``VenueAccount`` books orders, fills and funding in ``VenueState``; the engine moves its market
time, and prices are passed in. Every change of an order or of money has an audit record; orders
and fills have an event of the private stream, too.
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
    """One fill before it is booked. ``reference`` is the price that slippage is measured from."""

    quantity: Decimal  # contracts, > 0
    price: Decimal
    reference: Decimal
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
        # symbol -> position, its margin and its liquidation price, which the market does not change
        self._fixed: dict[str, tuple[HeldPosition, Decimal, Decimal | None]] = {}

    # --- money -----------------------------------------------------------------

    def mark(self, position: HeldPosition) -> Decimal:
        """Return the mark now; the last mark if the market has ended."""
        mark = self._mark_of(position.symbol)
        return position.mark if mark is None else mark

    def unrealized_pnl(self, position: HeldPosition) -> Decimal:
        size = self._instruments[position.symbol].contract_size
        return as_money((self.mark(position) - position.entry_price) * position.quantity * size)

    def margin(self, position: HeldPosition) -> Decimal:
        """Return the isolated margin: entry notional / leverage, in USDT."""
        return self._fixed_of(position)[0]

    def _fixed_of(self, position: HeldPosition) -> tuple[Decimal, Decimal | None]:
        """Return a position's margin (USDT) and liquidation price, computed once per fill."""
        known = self._fixed.get(position.symbol)
        if known is None or known[0] is not position:  # every fill makes another position
            size = self._instruments[position.symbol].contract_size
            notional = abs(position.quantity) * position.entry_price * size
            margin = as_money(notional / position.leverage)
            known = (position, margin, self.liquidation_price(position.symbol))
            self._fixed[position.symbol] = known
        return known[1:]

    def reported(self, position: HeldPosition) -> PositionReport:
        """Return the position as a client reads it now."""
        margin, liquidation = self._fixed_of(position)
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
        held = self.state.positions.values()
        return self.state.wallet_balance + sum((self.unrealized_pnl(p) for p in held), ZERO)

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
        """Return the USDT free for new margin; unrealized profit does not count, a loss does."""
        return min(self.state.wallet_balance, self.equity()) - self.margin_used()

    # --- orders ----------------------------------------------------------------

    def accept(self, request: OrderRequest, at_ms: int, *, parent: str = "") -> WorkingOrder:
        """Accept an order; one with a parent is dormant until the parent's first fill."""
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
            self._changed(order, "accepted", at_ms)
        return order

    def record_rejection(self, request: OrderRequest, code: str, at_ms: int) -> None:
        """Record a rejected request in the audit log; it becomes no order."""
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
        self._changed(order, "closed", at_ms)
        for child in self._children(order):
            if child.dormant:
                child.dormant = False
                self.finish(child, OrderStatus.CANCELED, at_ms)

    def _children(self, order: WorkingOrder) -> list[WorkingOrder]:
        name = order.request.client_order_id
        found = (self.state.orders[c] for c in self.state.live)
        return [child for child in found if child.parent == name]

    def _changed(self, order: WorkingOrder, event: str, at_ms: int) -> None:
        asked = order.request
        order.updated_at_ms = at_ms
        self.touched[asked.symbol] = None
        self.state.changes.orders[asked.client_order_id] = None
        self.events.append(OrderUpdate(order=order.reported()))
        self.state.audit_log.append(
            OrderAudit(
                at_ms=at_ms,
                event=event,
                client_order_id=asked.client_order_id,
                symbol=asked.symbol,
                side=asked.side,
                type=asked.type,
                reduce_only=asked.reduce_only,
                remaining=order.remaining,
                trigger_price=asked.trigger_price,
                detail=order.status.value if event == "closed" else "",
            )
        )

    # --- fills -----------------------------------------------------------------

    def reducible(self, symbol: str, side: OrderSide) -> Decimal:
        """Return the contracts that an order of ``side`` could close; 0 if none."""
        held = self.state.positions.get(symbol)
        if held is None or (held.quantity > ZERO) == (side is OrderSide.BUY):
            return ZERO
        return abs(held.quantity)

    def clip(self, order: WorkingOrder, at_ms: int) -> Decimal:
        """Return the contracts that may fill; shrink a reduce-only order to the position."""
        if not order.request.reduce_only:
            return order.remaining
        most = self.reducible(order.request.symbol, order.request.side)
        if ZERO < most < order.remaining:
            order.quantity = order.filled + most
            self._changed(order, "resized", at_ms)
        return min(order.remaining, most)

    def fill(self, order: WorkingOrder, done: Execution) -> None:
        """Book a fill of ``order``; make its attached orders live or resize them."""
        order.filled += done.quantity
        order.cost += done.quantity * done.price
        order.updated_at_ms = done.at_ms
        order.status = OrderStatus.PARTIALLY_FILLED
        asked = order.request
        self.state.changes.orders[asked.client_order_id] = None
        self._book(
            done, asked.symbol, asked.side, leverage=asked.leverage, order=order, of=asked.type
        )
        for child in self._children(order):
            woke = child.dormant
            child.dormant = False
            child.quantity = max(order.filled, child.filled)
            self._changed(child, "accepted" if woke else "resized", done.at_ms)
        if order.remaining == ZERO:
            self.finish(order, OrderStatus.FILLED, done.at_ms)
        else:
            self.events.append(OrderUpdate(order=order.reported()))

    def liquidation_price(self, symbol: str) -> Decimal | None:
        """Return the liquidation price; None without a position or if it is <= 0."""
        held = self.state.positions.get(symbol)
        if held is None:
            return None
        price = self.models.liquidation.price(
            self._instruments[symbol], held.entry_price, held.leverage, held.quantity
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
        """Close the position at ``price`` without an order, as liquidation and settlement do."""
        side = OrderSide.SELL if position.quantity > ZERO else OrderSide.BUY
        done = Execution(
            quantity=abs(position.quantity),
            price=price,
            reference=price,
            maker=False,
            at_ms=at_ms,
            reason=reason,
        )
        self._book(done, position.symbol, side, leverage=position.leverage, order=None, of=None)

    def _book(
        self,
        done: Execution,
        symbol: str,
        side: OrderSide,
        *,
        leverage: int,
        order: WorkingOrder | None,
        of: OrderType | None,
    ) -> None:
        """Book one execution: position, balance, audit record, fill and event."""
        state, instrument = self.state, self._instruments[symbol]
        size = instrument.contract_size
        held = state.positions.get(symbol)
        before = held.quantity if held else ZERO
        entry = held.entry_price if held else ZERO
        after, entry_after, difference = position_after(
            before, entry, side.sign * done.quantity, done.price
        )
        notional = done.quantity * done.price * size
        record = FillAudit(
            at_ms=done.at_ms,
            client_order_id=order.request.client_order_id if order else "",
            symbol=symbol,
            side=side,
            type=of,
            reduce_only=order.request.reduce_only if order else True,
            quantity=done.quantity,
            price=done.price,
            fee=self.models.fee.fee(instrument, notional, maker=done.maker),
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
            reason=done.reason,
        )
        state.audit_log.append(record)
        state.wallet_balance += record.realized - record.fee
        self._hold(record, held.leverage if held and before * after > ZERO else leverage)
        self._report_fill(record, done, order.venue_order_id if order else "")

    def _hold(self, record: FillAudit, leverage: int) -> None:
        """Store the position that a fill leaves."""
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

    def _report_fill(self, record: FillAudit, done: Execution, venue_order_id: str) -> None:
        """Add the fill to the account's history and to the private stream."""
        worse = (done.price - done.reference) * record.side.sign
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
            maker=done.maker,
            reason=done.reason,
            at_ms=done.at_ms,
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
        self.state.income.append(
            Income(
                income_id=f"funding.{position.symbol}.{at_ms}",
                kind="funding",
                symbol=position.symbol,
                amount=amount,
                at_ms=at_ms,
            )
        )
        self.state.audit_log.append(
            MoneyAudit(at_ms=at_ms, kind="funding", symbol=position.symbol, amount=amount)
        )

    def remark(self, position: HeldPosition, at_ms: int) -> None:
        """Store the mark, which stays the price of the position if its market ends."""
        mark = self._mark_of(position.symbol)
        if mark is not None and mark != position.mark:
            position.mark = mark
            position.updated_at_ms = at_ms
            self.state.changes.positions[position.symbol] = None
