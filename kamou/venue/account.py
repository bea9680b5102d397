"""The embedded venue's account: orders, fills, funding, margin and liquidation.

``VenueAccount`` books in ``VenueState``, at the price of an ``Execution``. The engine moves the
market time. Every change of an order or of money has an audit record. Changes of orders and fills
also have an event of the private stream. A dormant order has neither until it becomes live or ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.core.book.updates import FillUpdate, OrderUpdate, VenueEvent
from kamou.core.kinds import FillReason, IncomeKind
from kamou.core.market.fill_prices import as_money
from kamou.core.model import (
    ZERO,
    FillReport,
    Income,
    Instrument,
    OrderSide,
    OrderStatus,
    OrderType,
    Side,
)
from kamou.venue.account_view import AccountView
from kamou.venue.models import VenueModels
from kamou.venue.prices import MarketPrices, PriceReader
from kamou.venue.state import (
    ContractAudit,
    Execution,
    FillAudit,
    HeldPosition,
    MoneyAudit,
    MoneyKind,
    OrderAudit,
    OrderRequest,
    OrderStep,
    VenueState,
    WorkingOrder,
    position_after,
)


class VenueAccount:
    """The only writer of a ``VenueState``.

    A method that changes the state books one change at the market time. If a client can read the
    change, the state's revision rises. ``view`` has the reads.
    """

    def __init__(
        self,
        state: VenueState,
        instruments: Mapping[str, Instrument],
        models: VenueModels,
        prices: PriceReader,
    ) -> None:
        self.state = state
        self.instruments = instruments  # replaced when one changes, never written
        self.models = models
        self.events: list[VenueEvent] = []
        self.view = AccountView(state, models, self.prices_now)
        self._prices = prices

    def prices_now(self) -> MarketPrices:
        """Return the prices of the market time, for the present contract specifications."""
        return self._prices.at(self.state.market_ms, self.instruments)

    def move_to(self, at_ms: int) -> None:
        """Set the market time."""
        self.state.market_ms = at_ms

    # --- orders ----------------------------------------------------------------

    def accept(self, request: OrderRequest, *, parent: str = "") -> WorkingOrder:
        """Accept an order; with a parent, it is dormant until the parent's first fill."""
        order = WorkingOrder(
            request=request,
            venue_order_id=self.state.new_id(),
            quantity=request.quantity,
            status=OrderStatus.ACCEPTED,
            created_at_ms=self.state.market_ms,
            updated_at_ms=self.state.market_ms,
            parent=parent,
            dormant=bool(parent),
        )
        self.state.orders[request.client_order_id] = order
        self.state.live[request.client_order_id] = None
        if parent:
            self._keep_order(order)
        else:
            self._record_change(order, OrderStep.ACCEPTED)
        return order

    def record_rejection(self, request: OrderRequest, code: str) -> None:
        """Record a rejected request in the audit log. No order is made of it."""
        self._audit_order(request, OrderStep.REJECTED, request.quantity, code)

    def cancel(self, order: WorkingOrder) -> None:
        """Cancel a live order, dormant or not."""
        order.dormant = False
        self.finish(order, OrderStatus.CANCELED)

    def finish(self, order: WorkingOrder, status: OrderStatus) -> None:
        """End an order, and cancel its attached orders that are still dormant."""
        order.status = status
        del self.state.live[order.request.client_order_id]
        self._record_change(order, OrderStep.CLOSED)
        for child in self._children(order):
            if child.dormant:
                self.cancel(child)

    def _children(self, order: WorkingOrder) -> list[WorkingOrder]:
        """Return the live orders that are attached to ``order``."""
        parent = order.request.client_order_id
        live = (self.state.orders[each] for each in self.state.live)
        return [child for child in live if child.parent == parent]

    def _record_change(self, order: WorkingOrder, event: OrderStep) -> None:
        """Add a changed order to the unsaved changes, the event stream and the audit log."""
        order.updated_at_ms = self.state.market_ms
        self._keep_order(order)
        self.events.append(OrderUpdate(order=order.make_report()))
        status = order.status if event is OrderStep.CLOSED else ""
        self._audit_order(order.request, event, order.remaining, status)

    def _keep_order(self, order: WorkingOrder) -> None:
        """Add a changed order to the unsaved changes, in a new revision."""
        self.state.changes.orders[order.request.client_order_id] = None
        self.state.revision += 1

    def _audit_order(
        self, request: OrderRequest, event: OrderStep, remaining: Decimal, detail: str
    ) -> None:
        self.state.audit_log.append(
            OrderAudit(
                at_ms=self.state.market_ms,
                event=event,
                client_order_id=request.client_order_id,
                symbol=request.symbol,
                side=request.side,
                type=request.type,
                reduce_only=request.reduce_only,
                remaining=remaining,
                trigger_price=request.trigger_price,
                detail=detail,
            )
        )

    # --- fills -----------------------------------------------------------------

    def reducible(self, symbol: str, side: OrderSide) -> Decimal:
        """Return the contracts that an order of ``side`` could close; 0 if none."""
        position = self.state.positions.get(symbol)
        if position is None or side is not Side.of(position.quantity).closing:
            return ZERO
        return abs(position.quantity)

    def clip(self, order: WorkingOrder) -> Decimal:
        """Shrink a reduce-only order to the position; return the contracts that may fill."""
        if not order.request.reduce_only:
            return order.remaining
        most = self.reducible(order.request.symbol, order.request.side)
        if ZERO < most < order.remaining:
            order.quantity = order.filled + most
            self._record_change(order, OrderStep.RESIZED)
        return min(order.remaining, most)

    def fill(self, order: WorkingOrder, execution: Execution) -> None:
        """Book a fill, end the order if filled, make attached orders live or resize them."""
        order.filled += execution.quantity
        order.cost += execution.quantity * execution.price
        order.updated_at_ms = self.state.market_ms
        order.status = OrderStatus.PARTIALLY_FILLED
        request = order.request
        self._keep_order(order)
        self._book(execution, request.symbol, request.side, request.leverage, order)
        for child in self._children(order):
            event = OrderStep.ACCEPTED if child.dormant else OrderStep.RESIZED
            child.dormant = False
            child.quantity = max(order.filled, child.filled)
            self._record_change(child, event)
        if order.remaining == ZERO:
            self.finish(order, OrderStatus.FILLED)
        else:
            self.events.append(OrderUpdate(order=order.make_report()))

    def liquidate(self, position: HeldPosition) -> None:
        """Close the position at its bankruptcy price, where its isolated margin is lost."""
        price = self.models.liquidation.bankruptcy(
            self.instruments[position.symbol],
            position.entry_price,
            position.leverage,
            position.quantity,
        )
        self.close_at(position, price, FillReason.LIQUIDATION)

    def close_at(
        self,
        position: HeldPosition,
        price: Decimal,
        reason: FillReason,
        quantity: Decimal | None = None,
        order_type: OrderType | None = None,  # of the audit record
    ) -> None:
        """Close ``quantity`` contracts, or all if None, at ``price`` without an order."""
        side = Side.of(position.quantity).closing
        execution = Execution(
            quantity=abs(position.quantity) if quantity is None else quantity,
            price=price,
            reference=price,
            maker=False,
            reason=reason,
        )
        self._book(execution, position.symbol, side, position.leverage, None, order_type)

    def close_by_force(self, symbol: str, share: Decimal, reason: FillReason) -> bool:
        """Close a share of a position at its mark price; round a part down to lots.

        Return False if the symbol has no position, or the share is less than one lot.
        """
        held = self.state.positions.get(symbol)
        if held is None:
            return False
        lot, quantity = self.instruments[symbol].lot, abs(held.quantity)
        if share < 1:
            quantity = (quantity * share // lot) * lot
        if quantity > ZERO:
            self.close_at(held, self.view.mark(held), reason, quantity, OrderType.MARKET)
        return quantity > ZERO

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
        state, instrument = self.state, self.instruments[symbol]
        size = instrument.contract_size
        position = state.positions.get(symbol)
        before = position.quantity if position else ZERO
        entry = position.entry_price if position else ZERO
        after, entry_after, difference = position_after(
            before, entry, side.sign * execution.quantity, execution.price
        )
        notional = execution.quantity * execution.price * size
        record = FillAudit(
            at_ms=state.market_ms,
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
            equity_before=self.view.equity(),
            balance_before=state.wallet_balance,
            reason=execution.reason,
        )
        state.audit_log.append(record)
        state.wallet_balance += record.realized - record.fee
        kept = position if before * after > ZERO else None
        self._set_position(record, kept.leverage if kept else leverage)
        self._report_fill(record, execution, order.venue_order_id if order else "")

    def _set_position(self, record: FillAudit, leverage: int) -> None:
        """Set the position to that after a fill, or remove it if it is 0."""
        if record.position_after == ZERO:
            del self.state.positions[record.symbol]
            self._keep_position(record.symbol)
            return
        self._hold(
            HeldPosition(
                symbol=record.symbol,
                quantity=record.position_after,
                entry_price=record.entry_after,
                leverage=leverage,
                mark=record.price,
                updated_at_ms=record.at_ms,
            )
        )

    def _hold(self, position: HeldPosition) -> None:
        """Replace the symbol's position."""
        self.state.positions[position.symbol] = position
        self._keep_position(position.symbol)

    def _keep_position(self, symbol: str) -> None:
        """Add a changed position to the unsaved changes, in a new revision."""
        self.state.changes.positions[symbol] = None
        self.state.revision += 1

    def _report_fill(self, record: FillAudit, execution: Execution, venue_order_id: str) -> None:
        """Add the fill to the account's history and to the private stream."""
        worse = record.side.extra_cost(execution.reference, execution.price)
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
            at_ms=record.at_ms,
        )
        self.state.fills.append(fill)
        self.events.append(FillUpdate(fill=fill))

    # --- payments and marks ----------------------------------------------------

    def pay_funding(self, symbol: str, rate: float, hours: int) -> None:
        """Settle funding at ``rate``, a fraction of notional per interval of ``hours``."""
        position, size = self.state.positions[symbol], self.instruments[symbol].contract_size
        notional = abs(position.quantity) * self.view.mark(position) * size
        amount = self.models.funding.amount(position.quantity, notional, rate, hours)
        if amount != ZERO:
            self._pay(
                f"funding.{symbol}.{self.state.market_ms}", IncomeKind.FUNDING, symbol, amount
            )

    def transfer(self, amount: Decimal) -> None:
        """Deposit (> 0) or withdraw (< 0) ``amount`` USDT."""
        state = self.state
        number = state.income_before + len(state.income)
        self._pay(f"transfer.{number}.{state.market_ms}", IncomeKind.TRANSFER, "", as_money(amount))

    def _pay(self, income_id: str, kind: IncomeKind, symbol: str, amount: Decimal) -> None:
        state = self.state
        state.wallet_balance += amount
        state.revision += 1
        state.income.append(
            Income(
                income_id=income_id,
                kind=kind,
                symbol=symbol,
                amount=amount,
                at_ms=state.market_ms,
            )
        )
        state.audit_log.append(
            MoneyAudit(at_ms=state.market_ms, kind=MoneyKind(kind), symbol=symbol, amount=amount)
        )

    def store_mark(self, symbol: str) -> None:
        """Store the position's present mark price, which values it while it has no market."""
        position, mark = self.state.positions[symbol], self.prices_now().mark(symbol)
        if mark is not None and mark != position.mark:
            self._hold(attrs.evolve(position, mark=mark, updated_at_ms=self.state.market_ms))

    # --- contract specifications -----------------------------------------------

    def change_instrument(self, instrument: Instrument) -> None:
        """Replace an instrument, for example by one with another tick size or margin rate."""
        self.instruments = {**self.instruments, instrument.symbol: instrument}
        self.state.revision += 1

    def resize(self, instrument: Instrument, factor: Decimal) -> None:
        """Replace an instrument by one of ``factor`` times its contract size.

        The position and the reduce-only orders keep their amount of base currency. Resting entries
        are canceled.
        """
        state, symbol = self.state, instrument.symbol
        for order in state.live_orders(symbol):
            if not order.request.reduce_only and order.live:
                self.finish(order, OrderStatus.CANCELED)
        held = state.positions.get(symbol)
        if held is not None:
            self._hold(attrs.evolve(held, quantity=held.quantity / factor))
        state.audit_log.append(
            ContractAudit(
                at_ms=state.market_ms, symbol=symbol, contract_size=instrument.contract_size
            )
        )
        for order in state.live_orders(symbol):
            order.quantity = order.filled + order.remaining / factor
            self._record_change(order, OrderStep.RESIZED)
        self.change_instrument(instrument)
