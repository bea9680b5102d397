"""The embedded venue's engine: it moves market time and places and cancels orders.

Each operation is at most one transaction of the store, ``catch_up`` one per day. Market time moves
only in ``advance`` and ``catch_up``. Per symbol the engine knows the nearest price below and above
the market at which an order or a liquidation would act. So time in which no such price is reached
costs one vector comparison. Ended orders are read from the store on demand.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import TypeVar

import numpy as np

from kamou.clock import next_ms
from kamou.core.arrays import Floats
from kamou.core.book.updates import VenueEvent
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.instruments import FUNDING_JITTER_MS
from kamou.core.model import (
    ZERO,
    Account,
    FillReport,
    Income,
    OrderReport,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionReport,
    Quote,
)
from kamou.errors import DiskFullError, RejectedError
from kamou.venue.account import VenueAccount
from kamou.venue.ended_markets import next_stop_ms, settle_ended
from kamou.venue.market.market import MarketSource
from kamou.venue.matching import Matcher
from kamou.venue.models import VenueModels
from kamou.venue.next_event import PriceWatch
from kamou.venue.order_checks import CONDITIONAL, check_attached
from kamou.venue.spots import Spots
from kamou.venue.state import AuditRecord, OrderRequest, VenueState, WorkingOrder
from kamou.venue.store import StaleVenueError, VenueStore

REDO_MAX = 8  # attempts of one operation; if another process writes before each, it is a defect

T = TypeVar("T")


class Engine:
    """The venue of one account. All methods are synchronous."""

    def __init__(
        self,
        source: MarketSource,
        models: VenueModels,
        store: VenueStore,
        *,
        start_ms: int,
        wallet_balance: Decimal,
    ) -> None:
        """Load the stored venue, or open an account if none is stored.

        The new account opens at ``start_ms`` with ``wallet_balance`` (USDT).
        """
        self.source = source
        self.models = models
        # The instruments have the account's own fee rates, because sizing reads the rates there.
        source.instruments = tuple(models.fee.with_rates(each) for each in source.instruments)
        self.instruments = {i.symbol: i for i in source.instruments}
        self.reloads = 0  # reloads after another process wrote the venue's file
        self._spots = Spots(source, self.instruments, models, lambda: self._state.market_ms)
        self._store = store
        state = store.load()
        self._bind(state or VenueState.opening(start_ms=start_ms, wallet_balance=wallet_balance))
        if state is None:
            self._commit()

    def _bind(self, state: VenueState) -> None:
        """Use ``state`` from now on, and compute everything that is derived from it again."""
        self._state = state
        self._stored_ms = state.market_ms
        self._account = VenueAccount(state, self.instruments, self.models, self._spots.mark)
        self._matcher = Matcher(self._account, self.models)
        self._watch = PriceWatch(len(self.source.symbols), self.source.step_ms)
        self._open_orders: tuple[OrderReport, ...] | None = None
        self._reported: tuple[PositionReport, ...] | None = None  # as of ``_reported_ms``
        self._reported_ms = -1
        for symbol in {
            **state.positions,
            **{state.orders[c].request.symbol: 0 for c in state.live},
        }:
            self._set_watch(symbol)

    @property
    def market_ms(self) -> int:
        """The market time (ms UTC)."""
        return self._state.market_ms

    @property
    def audit_log(self) -> tuple[AuditRecord, ...]:
        """All audit records, oldest first."""
        return tuple(self.audit_log_since(0))

    @property
    def audit_log_count(self) -> int:
        """The number of audit records."""
        return self._state.audit_log_before + len(self._state.audit_log)

    def audit_log_since(self, count: int) -> Iterator[AuditRecord]:
        """Yield the audit records after the first ``count`` ones, oldest first."""
        stored = self._state.audit_log_before
        if count < stored:
            yield from self._store.audit_log(stored, count)
        yield from self._state.audit_log[max(0, count - stored) :]

    # --- commands --------------------------------------------------------------

    def advance(self, to_ms: int) -> list[VenueEvent]:
        """Move market time forward to ``to_ms`` and return the new events.

        Applies triggers, fills, funding, liquidations and settlements. If ``to_ms`` is not after
        the market time, nothing moves. If the disk is full, the changes stay in memory until a
        later commit stores them.
        """
        if to_ms > self._state.market_ms:
            with suppress(DiskFullError):  # the next commit stores the changes
                self._run(lambda: self._move_market(to_ms))
        return self.take_events()

    def catch_up(self, to_ms: int, stop_requested: Callable[[], bool]) -> None:
        """Move market time to ``to_ms`` in one commit per day.

        It ends early if ``stop_requested()`` is True before a day. Called in the thread that opens
        the venue. The next ``advance`` returns the events.
        """
        while self._state.market_ms < to_ms and not stop_requested():
            until_ms = min(to_ms, next_ms(self._state.market_ms, DAY_MS))
            with suppress(DiskFullError):
                self._run(partial(self._move_market, until_ms))

    def take_events(self) -> list[VenueEvent]:
        """Return the events that no earlier call has returned, oldest first."""
        events, self._account.events = self._account.events, []
        return events

    def place(self, request: OrderRequest, attached: tuple[OrderRequest, ...] = ()) -> OrderReport:
        """Place an order now. Attached orders become live at its first fill.

        Raises:
            RejectedError: the venue rejects the order. Only the audit log has a record of it.
            DiskFullError, StoreError: the order is in memory and not stored: unknown outcome.
        """

        def arrive() -> WorkingOrder | RejectedError:
            try:
                self._reject_duplicates(request, attached)
                spot = self._spots.spot(request.symbol)
                check_attached(request, attached)
                return self._matcher.arrive(request, attached, spot)
            except RejectedError as rejection:
                self._account.record_rejection(request, rejection.code, self._state.market_ms)
                return rejection

        result = self._run(arrive)
        if isinstance(result, RejectedError):
            raise result
        return result.make_report()

    def cancel(self, client_order_id: str) -> None:
        """Cancel a live order. Canceling a terminal order succeeds and does nothing.

        Raises:
            RejectedError: ``ORDER_UNKNOWN``, the venue has no order of this client order id.
            DiskFullError, StoreError: the cancel is in memory and not stored: unknown outcome.
        """

        def end() -> None:
            order = self._find(client_order_id)
            if order is None:
                raise RejectedError("ORDER_UNKNOWN", client_order_id)
            if not order.status.terminal:
                if client_order_id not in self._state.live:  # another process has just placed it
                    raise StaleVenueError(client_order_id)
                order.dormant = False
                self._account.finish(order, OrderStatus.CANCELED, self._state.market_ms)

        self._run(end)

    def close(self) -> None:
        """Store the unsaved changes and the market time, and close the store.

        If the disk is full or another process wrote the file, the changes are lost.
        """
        with suppress(DiskFullError, StaleVenueError):
            self._commit()
            self._store.touch(self._state.market_ms)
        self._store.close()

    # --- reads -----------------------------------------------------------------

    def order(self, client_order_id: str) -> OrderReport | None:
        """Return the order of this client order id, live or ended; None if there is none."""
        found = self._find(client_order_id)
        return found.make_report() if found else None

    def _find(self, client_order_id: str) -> WorkingOrder | None:
        return self._state.orders.get(client_order_id) or self._store.order(client_order_id)

    def open_orders(self) -> tuple[OrderReport, ...]:
        """Return the live orders. Attached orders are live from their entry's first fill."""
        if self._open_orders is None:
            live = (self._state.orders[c] for c in self._state.live)
            self._open_orders = tuple(o.make_report() for o in live if o.live)
        return self._open_orders

    def positions(self) -> tuple[PositionReport, ...]:
        """Return the open positions at the marks of the market time, by symbol."""
        if self._reported_ms != self._state.market_ms or self._reported is None:
            self._reported = tuple(
                self._account.report_position(held)
                for _, held in sorted(self._state.positions.items())
            )
            self._reported_ms = self._state.market_ms
        return self._reported

    def account(self) -> Account:
        """Return balance, equity and margin at the marks of the market time, in USDT."""
        unrealized_pnl = sum((held.unrealized_pnl for held in self.positions()), ZERO)
        used = self._account.margin_used()
        balance = self._state.wallet_balance
        equity = balance + unrealized_pnl
        return Account(
            equity=equity,
            wallet_balance=balance,
            unrealized_pnl=unrealized_pnl,
            margin_used=used,
            available=min(balance, equity) - used,
            at_ms=self._state.market_ms,
        )

    def fills(self, since_ms: int) -> tuple[FillReport, ...]:
        """Return the fills with ``at_ms >= since_ms``, oldest first."""
        new = self._state.fills
        first = bisect_left(new, since_ms, key=lambda f: f.at_ms)
        return (*self._store.fills(since_ms), *new[first:])

    def income(self, since_ms: int) -> tuple[Income, ...]:
        """Return the income with ``at_ms >= since_ms``, oldest first."""
        new = self._state.income
        first = bisect_left(new, since_ms, key=lambda i: i.at_ms)
        return (*self._store.income(since_ms), *new[first:])

    def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        """Return the best quotes at the market time; a symbol without a market is absent.

        Bid and ask are on the tick. Their quantities are the contracts that one order may take.
        """
        return self._spots.quotes(symbols)

    def marks_of(self, mids: Floats, symbols: tuple[str, ...]) -> dict[str, Decimal]:
        """Return the mark prices for ``mids``, the source's prices at any instant."""
        return self._spots.marks_of(mids, symbols)

    def _reject_duplicates(self, request: OrderRequest, attached: tuple[OrderRequest, ...]) -> None:
        ids = [request.client_order_id, *(child.client_order_id for child in attached)]
        for client_order_id in ids:
            used = ids.count(client_order_id) > 1 or self._find(client_order_id) is not None
            if not client_order_id or used:
                raise RejectedError("DUPLICATE_CLIENT_ID", client_order_id)

    # --- market time -----------------------------------------------------------

    def _move_market(self, to_ms: int) -> None:
        """Move market time to ``to_ms`` by hours, and by bars where an order may act."""
        state = self._state
        while state.market_ms < to_ms:
            if not state.live and not state.positions:
                state.market_ms = to_ms
                break
            end_ms = next_stop_ms(self.source, state.positions, state.market_ms, to_ms)
            if not self._watch.is_quiet(state.market_ms, end_ms, self.source.segment):
                self._move_through_bars(end_ms)
            state.market_ms = end_ms
            settle_ended(self.source, self._account, end_ms)
            if end_ms % HOUR_MS == 0 and state.positions:
                self._close_hour(end_ms)

    def _move_through_bars(self, end_ms: int) -> None:
        """Move market time to ``end_ms`` bar by bar, and match the orders that it reaches."""
        state = self._state
        while state.market_ms < end_ms:
            until_ms = min(end_ms, next_ms(state.market_ms, self.source.step_ms))
            path = self.source.segment(state.market_ms, until_ms)
            state.market_ms = until_ms
            for column in self._watch.find_reached(path):
                self._matcher.pass_through(
                    self.source.symbols[column], self._spots.path_of(path, int(column))
                )
            self._refresh_watch()

    def _close_hour(self, hour_ms: int) -> None:
        """Store the marks and settle the funding due at this hour."""
        rates = self._settled_rates(hour_ms)
        for _, held in sorted(self._state.positions.items()):
            self._account.store_mark(held, hour_ms)
            interval_h = self.instruments[held.symbol].funding_interval_h
            rate = float(rates[self._spots.column[held.symbol]])
            if rate == rate or hour_ms % (interval_h * HOUR_MS) == 0:
                self._account.pay_funding(held, rate, interval_h, hour_ms)

    def _settled_rates(self, hour_ms: int) -> Floats:
        """Return the funding rates settled at this hour, ``[symbols]``; NaN where unknown."""
        rows = self.source.funding_rates(
            hour_ms - FUNDING_JITTER_MS, hour_ms + FUNDING_JITTER_MS
        ).values
        rates = np.full(len(self.source.symbols), np.nan)
        for row in rows:
            rates = np.where(np.isnan(row), rates, row)
        return rates

    # --- watch levels and storage ----------------------------------------------

    def _refresh_watch(self) -> None:
        for symbol in self._account.touched:
            self._set_watch(symbol)
        self._account.touched.clear()

    def _set_watch(self, symbol: str) -> None:
        """Set the nearest prices at which an order or the liquidation of the symbol acts."""
        down, up = -np.inf, np.inf
        for order in self._state.live_orders(symbol):
            request = order.request
            stops = request.type is OrderType.STOP_MARKET
            level = request.trigger_price if request.type in CONDITIONAL else request.limit_price
            assert level is not None
            if stops == (request.side is OrderSide.SELL):
                down = max(down, float(level))
            else:
                up = min(up, float(level))
        liquidation = self._account.liquidation_price(symbol)
        if liquidation is not None:
            if self._state.positions[symbol].quantity > ZERO:
                down = max(down, float(liquidation))
            else:
                up = min(up, float(liquidation))
        self._watch.set(self._spots.column[symbol], down, up)

    def _run(self, operation: Callable[[], T]) -> T:
        """Run one operation and commit it; repeat it if another process wrote meanwhile."""
        for _ in range(REDO_MAX):
            if self._store.changed_elsewhere():
                self._reload()
            try:
                result = operation()
                self._commit()
            except StaleVenueError:
                self._reload()
            else:
                return result
        raise AssertionError(
            f"{self._store.path}: another process wrote it during each of {REDO_MAX} attempts of"
            " one operation; stop all other processes that use it"
        )

    def _commit(self) -> None:
        """Save the changes; without any, store the market time once per market hour."""
        self._refresh_watch()
        state = self._state
        if state.changed:
            self._open_orders = self._reported = None
            self._store.save(state)
            state.drop_saved()
            self._stored_ms = state.market_ms
        elif state.market_ms - self._stored_ms >= HOUR_MS:
            self._store.touch(state.market_ms)
            self._stored_ms = state.market_ms

    def _reload(self) -> None:
        """Load the state that another process stored."""
        state = self._store.load()
        assert state is not None
        self.reloads += 1
        self._bind(state)
