"""Changes of the account by venue, transfers or external orders, at drawn times.

The changes happen at the venue, with or without a running process. If the venue rejects a change,
or there is no position, stop or market for it, it is tried again after ``CHANGE_RETRY_MS``.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random

import attrs

from kamou.core.kinds import FillReason
from kamou.core.model import OrderReport, OrderSide, OrderType
from kamou.errors import RejectedError
from kamou.ids import is_kamou_id
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.market import SimulatedMarket
from kamou.simulator.venue import Venue
from kamou.venue.engine import Engine
from kamou.venue.state import OrderRequest

CHANGE_RETRY_MS = 20_000
SETTLED_AFTER_MS = 10_000  # from the end of a market to its settlement
D = Decimal

Act = Callable[[int, Random], bool]
"""(at_ms, random stream) -> True if the change has happened."""


@attrs.define(eq=False)
class AccountChanges:
    """The changes of one simulation, scheduled at the venue.

    ``touched`` has, by symbol, the time in ms of the last change that may have removed protection.
    The system can restore the protection only after it has read the change.
    """

    venue: Venue
    engine: Engine
    market: SimulatedMarket
    chaos: Chaos
    touched: dict[str, int] = attrs.Factory(dict)
    _manual: int = 0  # external orders so far

    def mark_all(self, at_ms: int) -> None:
        """Mark all positions as changed, because a restored journal may not have them."""
        self.touched.update({position.symbol: at_ms for position in self.engine.positions()})

    def schedule(self) -> None:
        """Schedule all changes of the simulation."""
        acts: dict[FaultName, Act] = {
            FaultName.DELISTING: self._delist,
            FaultName.INSTRUMENT_CHANGE: self._change,
            FaultName.ADL: self._deleverage,
            FaultName.LIQUIDATION: self._gap,
            FaultName.INSUFFICIENT_MARGIN: self._withdraw,
            FaultName.EXTERNAL_ORDER: self._trade_externally,
            FaultName.EXTERNAL_CANCEL: self._cancel_externally,
        }
        for name, act in acts.items():
            for at_ms in self.chaos.moments(name):
                self._at(at_ms, name, act)

    def _at(self, at_ms: int, name: FaultName, act: Act) -> None:
        def happen() -> None:
            if at_ms >= self.chaos.convergence_ms:
                return
            if act(at_ms, self.chaos.draw(name)):
                self.chaos.note(name)
            else:
                self._at(at_ms + CHANGE_RETRY_MS, name, act)

        self.venue.at(at_ms, happen)

    # --- the venue -------------------------------------------------------------------

    def _held(self, draw: Random) -> str | None:
        """Return a drawn symbol with a position; None if there is no position."""
        held = [p.symbol for p in self.engine.positions()]
        return held[draw.randrange(len(held))] if held else None

    def _delist(self, at_ms: int, draw: Random) -> bool:
        # BTC, the first symbol, is never delisted, because other symbols are measured against it.
        symbol = self.market.symbols[1 + draw.randrange(len(self.market.symbols) - 1)]
        self.market.delist(symbol, at_ms)

        def settle() -> None:
            self.engine.close_by_force(symbol, D(1), FillReason.SETTLEMENT)
            for order in self._live(lambda order: order.symbol == symbol):
                self.engine.cancel(order.client_order_id)

        self.venue.at(at_ms + SETTLED_AFTER_MS, settle)
        self.touched[symbol] = at_ms
        return True

    def _change(self, at_ms: int, draw: Random) -> bool:
        symbol = self.market.symbols[draw.randrange(len(self.market.symbols))]
        if draw.random() < 0.7:  # more often a symbol with a position
            symbol = self._held(draw) or symbol
        before = self.engine.instruments[symbol]
        match draw.randrange(6):
            case 0:
                after = attrs.evolve(before, tick=before.tick * 10)
            case 1:
                after = attrs.evolve(before, lot=before.lot * 2, qty_min=before.qty_min * 2)
            case 2 | 3:
                rate = min(D("0.2"), before.maintenance_margin_rate * 3)
                most = max(1, before.leverage_max // 4)
                after = attrs.evolve(before, maintenance_margin_rate=rate, leverage_max=most)
            case _:
                factors = (D(10), D(2), D("0.5"), D("0.1"))
                self.engine.resize(symbol, factors[draw.randrange(4)])
                self.touched[symbol] = at_ms
                return True
        self.engine.change_instrument(after)
        return True

    def _deleverage(self, at_ms: int, draw: Random) -> bool:
        symbol = self._held(draw)
        if symbol is None:
            return False
        share = D(1) if draw.random() < 0.3 else D("0.5")
        return self.engine.close_by_force(symbol, share, FillReason.ADL)

    def _gap(self, at_ms: int, draw: Random) -> bool:
        held = self.engine.positions()
        if not held:
            return False
        position = held[draw.randrange(len(held))]
        self.market.jump(position.symbol, at_ms + 1000, 0.45 if position.quantity > 0 else 2.2)
        return True

    # --- external ----------------------------------------------------------------------

    def _withdraw(self, at_ms: int, draw: Random) -> bool:
        account = self.engine.account()
        self.engine.transfer(-(account.available * D(str(round(draw.uniform(0.5, 0.95), 2)))))

        def return_it() -> None:
            self.engine.transfer(D(2000))

        self.venue.at(min(at_ms + 600_000, self.chaos.convergence_ms - 1), return_it)
        return True

    def _trade_externally(self, at_ms: int, draw: Random) -> bool:
        symbol = self.market.symbols[draw.randrange(len(self.market.symbols))]
        held = {p.symbol: p.quantity for p in self.engine.positions()}.get(symbol, D(0))
        instrument = self.engine.instruments[symbol]
        quotes = self.engine.quotes((symbol,))
        if symbol not in quotes:
            return False
        each = quotes[symbol].mark * instrument.contract_size
        quantity = D(draw.randrange(50, 600)) / each // instrument.lot * instrument.lot
        side = OrderSide.BUY if draw.random() < 0.5 else OrderSide.SELL
        if held and draw.random() < 0.3:  # closes the position externally
            side = OrderSide.SELL if held > 0 else OrderSide.BUY
            quantity = abs(held)
        self._manual += 1
        request = OrderRequest(
            client_order_id=f"manual-{self._manual}",
            symbol=symbol,
            side=side,
            type=OrderType.MARKET,
            quantity=quantity,
            leverage=3,
        )
        try:
            self.engine.place(request)
        except RejectedError:
            return False
        self.touched[symbol] = at_ms
        return True

    def _cancel_externally(self, at_ms: int, draw: Random) -> bool:
        held = {p.symbol for p in self.engine.positions()}
        stops = self._live(
            lambda order: (
                order.type is OrderType.STOP_MARKET
                and is_kamou_id(order.client_order_id)
                and order.symbol in held
            )
        )
        if not stops:
            return False
        stop = stops[draw.randrange(len(stops))]
        self.engine.cancel(stop.client_order_id)
        self.touched[stop.symbol] = at_ms
        return True

    def _live(self, which: Callable[[OrderReport], bool]) -> list[OrderReport]:
        return [order for order in self.engine.open_orders() if which(order)]
