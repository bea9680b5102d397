"""The embedded exchange's matching engine: a synchronous state machine over a market source.

Market time moves only in ``advance`` and ``catch_up``. Time in which no order or position is
touched costs one vector comparison: per symbol the engine keeps the nearest price below and above
the market at which an order or a liquidation would act. Ended orders are read from the store on
demand.
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

REDO_MAX = 8  # another process writing more often than this in a row is a defect

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
        """Load the stored venue, or open one at ``start_ms`` with ``wallet_balance`` (USDT)."""
        self.source = source
        self.models = models
        # The instruments carry the account's own fee rates, so sizing reads the rates that it pays.
        source.instruments = tuple(models.fee.stated(each) for each in source.instruments)
        self.instruments = {i.symbol: i for i in source.instruments}
        self.reloads = 0  # reloads after another process wrote the venue's file
        self._spots = Spots(source, self.instruments, models, lambda: self._state.market_ms)
        self._store = store
        state = store.load()
        self._bind(state or VenueState.opening(start_ms=start_ms, wallet_balance=wallet_balance))
        if state is None:
            self._commit()

    def _bind(self, state: VenueState) -> None:
        """Use ``state`` from now on and rebuild everything derived from it."""
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
            self._rewatch(symbol)

    @property
    def market_ms(self) -> int:
        return self._state.market_ms

    @property
    def audit_log(self) -> tuple[AuditRecord, ...]:
        """The whole append-only audit log, which ``checker.check`` reads."""
        return tuple(self.audit_log_since(0))

    @property
    def audit_log_count(self) -> int:
        """Return the number of audit records."""
        return self._state.audit_log_before + len(self._state.audit_log)

    def audit_log_since(self, seen: int) -> Iterator[AuditRecord]:
        """Yield the audit records after the first ``seen`` ones."""
        stored = self._state.audit_log_before
        if seen < stored:
            yield from self._store.audit_log(stored, seen)
        yield from self._state.audit_log[max(0, seen - stored) :]

    # --- commands --------------------------------------------------------------

    def advance(self, to_ms: int) -> list[VenueEvent]:
        """Move market time forward to ``to_ms`` and return the events since the last drain.

        Applies triggers, fills, funding and liquidations. A time in the past changes nothing.
        If the disk is full, the changes stay in memory until a later commit stores them.
        """
        if to_ms > self._state.market_ms:
            with suppress(DiskFullError):  # the changes stay pending: the next commit has them
                self._run(lambda: self._walk(to_ms))
        return self.take_events()

    def catch_up(self, to_ms: int, stop_requested: Callable[[], bool]) -> None:
        """Move market time to ``to_ms`` one day at a time, until ``stop_requested()`` is True.

        Called in the thread that opens the venue. The events wait for the next ``advance``.
        """
        while self._state.market_ms < to_ms and not stop_requested():
            until_ms = min(to_ms, next_ms(self._state.market_ms, DAY_MS))
            with suppress(DiskFullError):
                self._run(partial(self._walk, until_ms))

    def take_events(self) -> list[VenueEvent]:
        """Return the events of ``place`` and ``cancel`` since the last drain."""
        drained, self._account.events = self._account.events, []
        return drained

    def place(self, request: OrderRequest, attached: tuple[OrderRequest, ...] = ()) -> OrderReport:
        """Place an order now; its attached orders become live at its first fill.

        Raises:
            RejectedError: the venue rejects the order, with its code; nothing has changed.
            DiskFullError: the order is in memory and not stored, so its outcome is unknown.
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

        answer = self._run(arrive)
        if isinstance(answer, RejectedError):
            raise answer
        return answer.reported()

    def cancel(self, client_order_id: str) -> None:
        """Cancel a live order. Canceling a terminal order succeeds and does nothing.

        Raises:
            RejectedError: ORDER_UNKNOWN, the venue has no order of this id.
        """

        def end() -> None:
            order = self._find(client_order_id)
            if order is None:
                raise RejectedError("ORDER_UNKNOWN", client_order_id)
            if not order.status.terminal:
                if client_order_id not in self._state.live:  # another process placed it just now
                    raise StaleVenueError(client_order_id)
                order.dormant = False
                self._account.finish(order, OrderStatus.CANCELED, self._state.market_ms)

        self._run(end)

    def close(self) -> None:
        """Store pending changes and the market time, then close the store."""
        with suppress(DiskFullError, StaleVenueError):
            self._commit()
            self._store.touch(self._state.market_ms)
        self._store.close()

    # --- reads -----------------------------------------------------------------

    def order(self, client_order_id: str) -> OrderReport | None:
        """Return the order, live or ended; None if the venue never accepted it."""
        found = self._find(client_order_id)
        return found.reported() if found else None

    def _find(self, client_order_id: str) -> WorkingOrder | None:
        return self._state.orders.get(client_order_id) or self._store.order(client_order_id)

    def open_orders(self) -> tuple[OrderReport, ...]:
        """Return the live orders; attached orders are live from their entry's first fill."""
        if self._open_orders is None:
            live = (self._state.orders[c] for c in self._state.live)
            self._open_orders = tuple(o.reported() for o in live if o.live)
        return self._open_orders

    def positions(self) -> tuple[PositionReport, ...]:
        if self._reported_ms != self._state.market_ms or self._reported is None:
            self._reported = tuple(
                self._account.reported(held) for _, held in sorted(self._state.positions.items())
            )
            self._reported_ms = self._state.market_ms
        return self._reported

    def account(self) -> Account:
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
        new = self._state.fills
        first = bisect_left(new, since_ms, key=lambda f: f.at_ms)
        return (*self._store.fills(since_ms), *new[first:])

    def income(self, since_ms: int) -> tuple[Income, ...]:
        new = self._state.income
        first = bisect_left(new, since_ms, key=lambda i: i.at_ms)
        return (*self._store.income(since_ms), *new[first:])

    def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        """Return the best quotes now, on the tick; sizes are what one order may take."""
        return self._spots.quotes(symbols)

    def marks_of(self, mids: Floats, symbols: tuple[str, ...]) -> dict[str, Decimal]:
        """Return the mark prices for ``mids``, the source's ``prices`` at any time."""
        return self._spots.marks_of(mids, symbols)

    def _reject_duplicates(self, request: OrderRequest, attached: tuple[OrderRequest, ...]) -> None:
        names = [request.client_order_id, *(child.client_order_id for child in attached)]
        for name in names:
            if not name or names.count(name) > 1 or self._find(name) is not None:
                raise RejectedError("DUPLICATE_CLIENT_ID", name)

    # --- the market moving -----------------------------------------------------

    def _walk(self, to_ms: int) -> None:
        """Move market time to ``to_ms`` hour by hour, and bar by bar where an order may act."""
        state = self._state
        while state.market_ms < to_ms:
            if not state.live and not state.positions:
                state.market_ms = to_ms
                break
            end_ms = next_stop_ms(self.source, state.positions, state.market_ms, to_ms)
            if not self._watch.quiet(state.market_ms, end_ms, self.source.segment):
                self._walk_bars(end_ms)
            state.market_ms = end_ms
            settle_ended(self.source, self._account, end_ms)
            if end_ms % HOUR_MS == 0 and state.positions:
                self._close_hour(end_ms)

    def _walk_bars(self, end_ms: int) -> None:
        state = self._state
        while state.market_ms < end_ms:
            until_ms = min(end_ms, next_ms(state.market_ms, self.source.step_ms))
            path = self.source.segment(state.market_ms, until_ms)
            state.market_ms = until_ms
            for column in self._watch.reached(path):
                self._matcher.pass_through(
                    self.source.symbols[column], self._spots.path_of(path, int(column))
                )
            self._refresh_watch()

    def _close_hour(self, hour_ms: int) -> None:
        """Store the marks and settle the funding due at this hour."""
        rates = self._settled_rates(hour_ms)
        for _, held in sorted(self._state.positions.items()):
            self._account.remark(held, hour_ms)
            interval_h = self.instruments[held.symbol].funding_interval_h
            rate = float(rates[self._spots.column[held.symbol]])
            if rate == rate or hour_ms % (interval_h * HOUR_MS) == 0:
                self._account.pay_funding(held, rate, interval_h, hour_ms)

    def _settled_rates(self, hour_ms: int) -> Floats:
        """Return the funding rate settled at this hour, ``[symbols]``; NaN where unknown."""
        rows = self.source.funding_rates(
            hour_ms - FUNDING_JITTER_MS, hour_ms + FUNDING_JITTER_MS
        ).values
        rates = np.full(len(self.source.symbols), np.nan)
        for row in rows:
            rates = np.where(np.isnan(row), rates, row)
        return rates

    # --- what is derived, and what is stored -----------------------------------

    def _refresh_watch(self) -> None:
        for symbol in self._account.touched:
            self._rewatch(symbol)
        self._account.touched.clear()

    def _rewatch(self, symbol: str) -> None:
        """Set the nearest prices at which an order or liquidation of the symbol acts."""
        down, up = -np.inf, np.inf
        for order in self._state.live_orders(symbol):
            asked = order.request
            stops = asked.type is OrderType.STOP_MARKET
            level = asked.trigger_price if asked.type in CONDITIONAL else asked.limit_price
            assert level is not None
            if stops == (asked.side is OrderSide.SELL):
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
        """Run one operation in one transaction; repeat it if another process wrote meanwhile."""
        for _ in range(REDO_MAX):
            if self._store.changed_elsewhere():
                self._reload()
            try:
                done = operation()
                self._commit()
            except StaleVenueError:
                self._reload()
            else:
                return done
        raise AssertionError(
            f"the venue's file changed during {REDO_MAX} attempts of one operation"
        )

    def _commit(self) -> None:
        self._refresh_watch()
        state = self._state
        if state.changed:
            self._open_orders = self._reported = None
            self._store.save(state)
            state.saved()
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
