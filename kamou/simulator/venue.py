"""``Venue``, to which requests take time, and ``SimulatedEngine``, its engine.

``Venue`` has the requests on their way to the engine. They outlive the processes, so a request
arrives at its time even if its sender was killed. The engine makes transfers and the changes of a
venue: auto-deleveraging, settlement and contract specifications.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs

from kamou.core.book.updates import VenueEvent
from kamou.core.model import (
    ZERO,
    Income,
    Instrument,
    OrderReport,
    OrderSide,
    OrderStatus,
    OrderType,
)
from kamou.errors import RejectedError
from kamou.venue.account import Execution
from kamou.venue.engine import Engine
from kamou.venue.state import ContractAudit, MoneyAudit, OrderRequest, as_money


@attrs.define(eq=False)
class OnTheWire:
    """A request that was sent. ``answer`` is set when the request arrives."""

    arrives_ms: int
    act: Callable[[], OrderReport | None]
    answer: OrderReport | RejectedError | None = None
    arrived: bool = False


class Venue:
    """The engine with the requests on the wire and the pushed events.

    Times are true times.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pushed: list[VenueEvent] = []  # since the stream was last read
        self._wire: list[tuple[int, int, OnTheWire]] = []
        self._sent = 0

    def advance(self, to_ms: int) -> None:
        """Move the market to ``to_ms``; due requests arrive on the way."""
        while self._wire and self._wire[0][0] <= to_ms:
            at_ms, _, sent = heapq.heappop(self._wire)
            self.pushed += self.engine.advance(max(at_ms, self.engine.market_ms))
            sent.arrived = True
            try:
                sent.answer = sent.act()
            except RejectedError as rejected:
                sent.answer = rejected
            self.pushed += self.engine.take_events()
        self.pushed += self.engine.advance(to_ms)

    def place(
        self, request: OrderRequest, attached: tuple[OrderRequest, ...], arrives_ms: int
    ) -> OnTheWire:
        """Send an order that arrives at ``arrives_ms``."""
        return self._send(arrives_ms, lambda: self.engine.place(request, attached))

    def at(self, at_ms: int, happen: Callable[[], None]) -> None:
        """Schedule a change at the venue for ``at_ms``."""
        self._send(at_ms, happen)

    def cancel(self, client_order_id: str, arrives_ms: int) -> OnTheWire:
        """Send a cancel that arrives at ``arrives_ms``."""
        return self._send(arrives_ms, lambda: self.engine.cancel(client_order_id))

    def _send(self, arrives_ms: int, act: Callable[[], OrderReport | None]) -> OnTheWire:
        sent = OnTheWire(arrives_ms, act)
        self._sent += 1
        heapq.heappush(self._wire, (arrives_ms, self._sent, sent))
        return sent


PAUSE_MS = 120_000
"""Pause of a market after a change of its contract size, two cycles.

The market rejects entries in it, so the system reads the new size before its next entry."""


class SimulatedEngine(Engine):
    """The engine with changes that venues and external users make to an account."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._paused: dict[str, int] = {}  # symbol -> end of its pause

    def place(self, request: OrderRequest, attached: tuple[OrderRequest, ...] = ()) -> OrderReport:
        now_ms = self.market_ms
        if not request.reduce_only and now_ms < self._paused.get(request.symbol, 0):
            self._run(lambda: self._account.record_rejection(request, "MARKET_PAUSED", now_ms))
            raise RejectedError("MARKET_PAUSED", request.symbol)
        return super().place(request, attached)

    def transfer(self, amount: Decimal) -> None:
        """Deposit (> 0) or withdraw (< 0) ``amount`` USDT."""

        def move() -> None:
            state = self._state
            moved = as_money(amount)
            state.wallet_balance += moved
            number = state.income_before + len(state.income)
            name = f"transfer.{number}.{state.market_ms}"
            state.income.append(
                Income(
                    income_id=name, kind="transfer", symbol="", amount=moved, at_ms=state.market_ms
                )
            )
            state.audit_log.append(
                MoneyAudit(at_ms=state.market_ms, kind="transfer", symbol="", amount=moved)
            )

        self._run(move)

    def close_by_force(self, symbol: str, share: Decimal, reason: str) -> bool:
        """Close a share of a position at the mark price.

        Return False if the symbol has no position, or the share is below one lot.
        """
        held = self._state.positions.get(symbol)
        if held is None:
            return False
        instrument = self.instruments[symbol]
        quantity = abs(held.quantity)
        if share < 1:
            quantity = (quantity * share // instrument.lot) * instrument.lot
        if quantity <= ZERO:
            return False
        price = self._account.mark(held)
        side = OrderSide.SELL if held.quantity > ZERO else OrderSide.BUY
        done = Execution(
            quantity=quantity,
            price=price,
            reference=price,
            maker=False,
            at_ms=self._state.market_ms,
            reason=reason,
        )
        leverage = held.leverage
        self._run(lambda: self._account._book(done, symbol, side, leverage, None, OrderType.MARKET))
        return True

    def change(self, instrument: Instrument) -> None:
        """Replace an instrument, for example by one with another tick size or margin rate."""
        self.instruments[instrument.symbol] = instrument
        self.source.instruments = tuple(
            self.instruments[each.symbol] for each in self.source.instruments
        )
        self._recompute()

    def resize(self, symbol: str, factor: Decimal) -> None:
        """Multiply a contract size by ``factor``.

        Positions and reduce-only orders keep their amount of base currency. Resting entries are
        canceled, and the market rejects new ones for ``PAUSE_MS``.
        """
        old = self.instruments[symbol]
        state, now_ms = self._state, self.market_ms
        self._paused[symbol] = now_ms + PAUSE_MS
        new = attrs.evolve(
            old,
            contract_size=old.contract_size * factor,
            lot=old.lot / factor,
            qty_min=old.qty_min / factor,
            qty_max=old.qty_max / factor,
        )

        def act() -> None:
            for order in state.live_orders(symbol):
                if not order.request.reduce_only and order.live:
                    self._account.finish(order, OrderStatus.CANCELED, now_ms)
            held = state.positions.get(symbol)
            if held is not None:
                state.positions[symbol] = attrs.evolve(held, quantity=held.quantity / factor)
                state.changes.positions[symbol] = None
            state.audit_log.append(
                ContractAudit(at_ms=now_ms, symbol=symbol, contract_size=new.contract_size)
            )
            for order in state.live_orders(symbol):
                order.quantity = order.filled + order.remaining / factor
                self._account._record_change(order, "resized", now_ms)
            self.change(new)

        self._run(act)

    def _recompute(self) -> None:
        self._account._instruments.update(self.instruments)
        self._account._fixed.clear()
        self._reported = None
        self._spots.forget()
        for symbol in self._state.positions:
            self._set_watch(symbol)
