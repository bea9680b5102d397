"""``AccountView``: the orders, positions and money that a client can read."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import attrs

from kamou.core.market.fill_prices import as_money
from kamou.core.model import ZERO, Account, OrderReport, PositionReport
from kamou.venue.computed import Computed
from kamou.venue.models import VenueModels
from kamou.venue.prices import MarketPrices
from kamou.venue.state import HeldPosition, VenueState


@attrs.frozen
class _Margin:
    """Margin and liquidation price of a position; market prices change neither."""

    amount: Decimal  # USDT
    liquidation_price: Decimal | None  # None if the formula gives 0 or less


class AccountView:
    """The reads of one ``VenueState`` at the prices of its market time.

    The result of a read depends on the state's revision and the market time only. So a value is
    computed once for each pair of them, or once for each revision if it needs no market price.
    """

    def __init__(
        self, state: VenueState, models: VenueModels, prices_now: Callable[[], MarketPrices]
    ) -> None:
        self._state = state
        self._models = models
        self._prices_now = prices_now
        self._margins: Computed[dict[str, _Margin]] = Computed()
        self._open_orders: Computed[tuple[OrderReport, ...]] = Computed()
        self._reports: Computed[tuple[PositionReport, ...]] = Computed()

    # --- positions -------------------------------------------------------------

    def mark(self, position: HeldPosition) -> Decimal:
        """Return the mark price now; ``position.mark`` if there is no market now."""
        mark = self._prices_now().mark(position.symbol)
        return position.mark if mark is None else mark

    def unrealized_pnl(self, position: HeldPosition) -> Decimal:
        """Return the position's unrealized PnL at its mark price, in USDT."""
        size = self._prices_now().instruments[position.symbol].contract_size
        return as_money((self.mark(position) - position.entry_price) * position.quantity * size)

    def liquidation_price(self, symbol: str) -> Decimal | None:
        """Return the liquidation price; None without a position or if the price is <= 0."""
        margin = self._margins_now().get(symbol)
        return None if margin is None else margin.liquidation_price

    def _margins_now(self) -> dict[str, _Margin]:
        return self._margins.get(
            self._state.revision,
            lambda: {held.symbol: self._margin(held) for held in self._state.positions.values()},
        )

    def _margin(self, position: HeldPosition) -> _Margin:
        """Return a position's isolated margin, in USDT, and its liquidation price.

        The margin is entry notional / leverage. The price is None if it would be 0 or less.
        """
        instrument = self._prices_now().instruments[position.symbol]
        notional = abs(position.quantity) * position.entry_price * instrument.contract_size
        price = self._models.liquidation.price(
            instrument, position.entry_price, position.leverage, position.quantity
        )
        return _Margin(as_money(notional / position.leverage), price if price > ZERO else None)

    def positions(self) -> tuple[PositionReport, ...]:
        """Return the open positions at the mark prices of the market time, by symbol."""
        state = self._state
        return self._reports.get(
            (state.revision, state.market_ms),
            lambda: tuple(self._report(held) for _, held in sorted(state.positions.items())),
        )

    def _report(self, position: HeldPosition) -> PositionReport:
        margin = self._margins_now()[position.symbol]
        return PositionReport(
            symbol=position.symbol,
            quantity=position.quantity,
            entry_price=position.entry_price,
            mark_price=self.mark(position),
            liquidation_price=margin.liquidation_price,
            margin=margin.amount,
            leverage=position.leverage,
            unrealized_pnl=self.unrealized_pnl(position),
            updated_at_ms=position.updated_at_ms,
        )

    # --- orders ----------------------------------------------------------------

    def open_orders(self) -> tuple[OrderReport, ...]:
        """Return the live orders. Attached orders are live from their entry's first fill."""
        state = self._state
        return self._open_orders.get(
            state.revision,
            lambda: tuple(o.make_report() for c in state.live if (o := state.orders[c]).live),
        )

    # --- money -----------------------------------------------------------------

    def equity(self) -> Decimal:
        """Return wallet balance + unrealized PnL at the mark prices, in USDT."""
        held = self._state.positions.values()
        return self._state.wallet_balance + sum((self.unrealized_pnl(p) for p in held), ZERO)

    def margin_used(self) -> Decimal:
        """Return the margin of positions and of orders that may add exposure, in USDT."""
        total = sum((margin.amount for margin in self._margins_now().values()), ZERO)
        for client_order_id in self._state.live:
            order = self._state.orders[client_order_id]
            if not order.request.reduce_only:
                price = order.request.limit_price or order.request.trigger_price or ZERO
                size = self._prices_now().instruments[order.request.symbol].contract_size
                total += as_money(order.remaining * price * size / order.request.leverage)
        return total

    def available(self) -> Decimal:
        """Return the USDT free for new margin.

        An unrealized loss reduces it; an unrealized profit does not raise it.
        """
        return min(self._state.wallet_balance, self.equity()) - self.margin_used()

    def account(self) -> Account:
        """Return wallet balance, equity and margin at the market time, in USDT."""
        state = self._state
        unrealized_pnl = sum((held.unrealized_pnl for held in self.positions()), ZERO)
        used = self.margin_used()
        equity = state.wallet_balance + unrealized_pnl
        return Account(
            equity=equity,
            wallet_balance=state.wallet_balance,
            unrealized_pnl=unrealized_pnl,
            margin_used=used,
            available=min(state.wallet_balance, equity) - used,
            at_ms=state.market_ms,
        )
