"""The embedded exchange's matching engine: a synchronous state machine over a market source.

Time is what ``advance`` was told. Quiet stretches cost one vector comparison: per symbol the
engine keeps the nearest price below and above at which anything of ours would happen.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import TypeVar

import numpy as np

from kamou.clock import HOUR_MS, floor_ms, next_ms
from kamou.core.model import (
    ZERO,
    Account,
    Fill,
    Income,
    OrderSide,
    OrderStatus,
    OrderType,
    Quote,
    VenueOrder,
    VenuePosition,
)
from kamou.errors import DiskFullError, RejectedError
from kamou.exchange.admission import CONDITIONAL, check_attached
from kamou.exchange.base import Floats, VenueEvent
from kamou.exchange.market import MarketSource, Segment
from kamou.exchange.matching import Matcher, Spot, Stretch
from kamou.exchange.models import BPS, VenueModels, on_tick, on_tick_against
from kamou.exchange.venue_account import VenueAccount
from kamou.exchange.venue_state import Evidence, OrderRequest, VenueState, WorkingOrder
from kamou.exchange.venue_store import StaleVenueError, VenueStore
from kamou.exchange.watch import Watch

FUNDING_JITTER_MS = 60_000  # venues stamp a settlement a little before or after its hour
REDO_MAX = 8  # another process writing more often than this in a row is a defect

T = TypeVar("T")


class Engine:
    """One account's venue. All methods are synchronous."""

    def __init__(
        self,
        source: MarketSource,
        models: VenueModels,
        store: VenueStore,
        *,
        start_ms: int,
        balance: Decimal,
    ) -> None:
        """``start_ms`` and ``balance`` open a new venue; a stored one goes on as it was."""
        self.source = source
        self.models = models
        self.instruments = {i.symbol: i for i in source.instruments}
        self.reloads = 0  # times another process was found to have traded here
        self._column = {symbol: i for i, symbol in enumerate(source.symbols)}
        self._half_spread = source.half_spread_bps()
        self._store = store
        state = store.load()
        self._bind(state or VenueState.opening(start_ms=start_ms, balance=balance))
        if state is None:
            self._commit()

    def _bind(self, state: VenueState) -> None:
        """Take up a state: rebuild everything that is derived from it."""
        self._state = state
        self._stored_ms = state.market_ms
        self._account = VenueAccount(state, self.instruments, self.models, self._mark)
        self._matcher = Matcher(self._account, self.models)
        self._watch = Watch(len(self.source.symbols), self.source.step_ms)
        self._open_orders: tuple[VenueOrder, ...] | None = None
        self._told: tuple[VenuePosition, ...] | None = None  # the positions at ``_told_ms``
        self._told_ms = -1
        self._priced_ms = -1
        self._volume_ms = -1
        for symbol in {
            **state.positions,
            **{state.orders[c].request.symbol: 0 for c in state.live},
        }:
            self._rewatch(symbol)

    @property
    def market_ms(self) -> int:
        return self._state.market_ms

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The append-only record that ``checker.check`` reads."""
        state = self._state
        return (*self._store.evidence(state.evidence_before), *state.evidence)

    # --- commands --------------------------------------------------------------

    def advance(self, to_ms: int) -> list[VenueEvent]:
        """Move market time, bar by bar: triggers, fills, funding, liquidations. Drains events.

        Going back is no error and does nothing. When the disk is full the market goes on in
        memory and is stored as soon as there is room.
        """
        if to_ms > self._state.market_ms:
            with suppress(DiskFullError):  # the changes stay pending: the next commit has them
                self._run(lambda: self._walk(to_ms))
        return self.take_events()

    def take_events(self) -> list[VenueEvent]:
        """Events of ``place`` and ``cancel`` since the last drain."""
        drained, self._account.events = self._account.events, []
        return drained

    def place(self, request: OrderRequest, attached: tuple[OrderRequest, ...] = ()) -> VenueOrder:
        """Act on an order that arrives now; attached orders act once it fills.

        Raises:
            RejectedError: the venue said no, with its code; nothing was done.
            DiskFullError: done in memory, not yet durable: the outcome is unknown.
        """

        def arrive() -> WorkingOrder | RejectedError:
            try:
                self._refuse_duplicates(request, attached)
                spot = self._spot(request.symbol)
                check_attached(request, attached)
                return self._matcher.arrive(request, attached, spot)
            except RejectedError as refused:
                self._account.refuse(request, refused.code, self._state.market_ms)
                return refused

        answer = self._run(arrive)
        if isinstance(answer, RejectedError):
            raise answer
        return answer.told()

    def cancel(self, client_id: str) -> None:
        """Cancel a live order; one that is already terminal stays as it is.

        Raises:
            RejectedError: ORDER_UNKNOWN.
        """

        def end() -> None:
            order = self._state.orders.get(client_id)
            if order is None:
                raise RejectedError("ORDER_UNKNOWN", client_id)
            if not order.status.terminal:
                order.dormant = False
                self._account.finish(order, OrderStatus.CANCELED, self._state.market_ms)

        self._run(end)

    def close(self) -> None:
        """Write what is pending and how far the market went, and close the store."""
        with suppress(DiskFullError, StaleVenueError):
            self._commit()
            self._store.touch(self._state.market_ms)
        self._store.close()

    # --- reads -----------------------------------------------------------------

    def order(self, client_id: str) -> VenueOrder | None:
        found = self._state.orders.get(client_id)
        return found.told() if found else None

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """Resting and untriggered orders; attached ones once their entry filled."""
        if self._open_orders is None:
            live = (self._state.orders[c] for c in self._state.live)
            self._open_orders = tuple(o.told() for o in live if o.live)
        return self._open_orders

    def positions(self) -> tuple[VenuePosition, ...]:
        if self._told_ms != self._state.market_ms or self._told is None:
            self._told = tuple(
                self._account.told(held) for _, held in sorted(self._state.positions.items())
            )
            self._told_ms = self._state.market_ms
        return self._told

    def account(self) -> Account:
        unrealised = sum((held.unrealised for held in self.positions()), ZERO)
        used = self._account.margin_used()
        balance = self._state.balance
        equity = balance + unrealised
        return Account(
            equity=equity,
            balance=balance,
            unrealised=unrealised,
            margin_used=used,
            available=min(balance, equity) - used,
            at_ms=self._state.market_ms,
        )

    def fills(self, since_ms: int) -> tuple[Fill, ...]:
        rows = self._state.fills
        return tuple(rows[bisect_left(rows, since_ms, key=lambda f: f.at_ms) :])

    def income(self, since_ms: int) -> tuple[Income, ...]:
        rows = self._state.income
        return tuple(rows[bisect_left(rows, since_ms, key=lambda i: i.at_ms) :])

    def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        """Best quotes now, on the tick; the sizes are what one order may take."""
        made: dict[str, Quote] = {}
        for symbol in symbols:
            mark = self._mark(symbol) if symbol in self._column else None
            if mark is None:
                continue
            spot = self._spot(symbol)
            half = spot.half_spread_bps * BPS
            tick = spot.instrument.tick
            depth = self.models.fill.depth(spot.instrument, spot.volume)
            made[symbol] = Quote(
                symbol=symbol,
                bid=on_tick_against(spot.mid * (1.0 - half), tick, OrderSide.SELL),
                ask=on_tick_against(spot.mid * (1.0 + half), tick, OrderSide.BUY),
                bid_qty=depth,
                ask_qty=depth,
                mark=mark,
                at_ms=spot.at_ms,
            )
        return made

    # --- the market now --------------------------------------------------------

    def _mids(self) -> Floats:
        """Mid per symbol at market time, NaN without a market."""
        if self._priced_ms != self._state.market_ms:
            self._prices: Floats = self.source.prices(self._state.market_ms)
            self._priced_ms = self._state.market_ms
            self._marks: dict[str, Decimal | None] = {}  # asked for at these prices
        return self._prices

    def _mark(self, symbol: str) -> Decimal | None:
        mids = self._mids()
        if symbol not in self._marks:
            mid = float(mids[self._column[symbol]])
            tick = self.instruments[symbol].tick
            self._marks[symbol] = None if mid != mid else on_tick(mid, tick)
        return self._marks[symbol]

    def _bar_volumes(self) -> Floats:
        """Base units traded per symbol in the last whole bar."""
        end = floor_ms(self._state.market_ms, self.source.step_ms)
        if self._volume_ms != end:
            self._volumes: Floats = self.source.segment(end - self.source.step_ms, end).volume
            self._volume_ms = end
        return self._volumes

    def _spot(self, symbol: str) -> Spot:
        column = self._column.get(symbol)
        if column is None:
            raise RejectedError("INSTRUMENT_UNKNOWN", symbol)
        mid = float(self._mids()[column])
        if mid != mid:
            raise RejectedError("MARKET_UNAVAILABLE", symbol)
        return Spot(
            instrument=self.instruments[symbol],
            mid=mid,
            half_spread_bps=float(self._half_spread[column]),
            volume=float(self._bar_volumes()[column]),
            at_ms=self._state.market_ms,
        )

    def _refuse_duplicates(self, request: OrderRequest, attached: tuple[OrderRequest, ...]) -> None:
        names = [request.client_id, *(child.client_id for child in attached)]
        for name in names:
            if not name or name in self._state.orders or names.count(name) > 1:
                raise RejectedError("DUPLICATE_CLIENT_ID", name)

    # --- the market moving -----------------------------------------------------

    def _walk(self, to_ms: int) -> None:
        """From market time to ``to_ms``, hour by hour; finer only where something happens."""
        state = self._state
        while state.market_ms < to_ms:
            if not state.live and not state.positions:
                state.market_ms = to_ms
                break
            end_ms = min(to_ms, next_ms(state.market_ms, HOUR_MS))
            if not self._watch.quiet(state.market_ms, end_ms, self.source.segment):
                self._walk_bars(end_ms)
            state.market_ms = end_ms
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
                    self.source.symbols[column], self._stretch(path, int(column), until_ms)
                )
            self._refresh_watch()

    def _stretch(self, path: Segment, column: int, at_ms: int) -> Stretch:
        return Stretch(
            instrument=self.instruments[self.source.symbols[column]],
            open=float(path.open[column]),
            high=float(path.high[column]),
            low=float(path.low[column]),
            volume=float(path.volume[column]),
            bar_volume=float(self._bar_volumes()[column]),
            range_atr=float(path.range_atr[column]),
            half_spread_bps=float(self._half_spread[column]),
            at_ms=at_ms,
        )

    def _close_hour(self, hour_ms: int) -> None:
        """Settle funding that is due and remember the marks."""
        rates = self._settled_rates(hour_ms)
        for _, held in sorted(self._state.positions.items()):
            self._account.remark(held, hour_ms)
            interval_h = self.instruments[held.symbol].funding_interval_h
            rate = float(rates[self._column[held.symbol]])
            if rate == rate or hour_ms % (interval_h * HOUR_MS) == 0:
                self._account.pay_funding(held, rate, interval_h, hour_ms)

    def _settled_rates(self, hour_ms: int) -> Floats:
        """The rate settled at this hour per symbol, NaN where none is known."""
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
        """The nearest levels under and over the market at which something of ours happens."""
        down, up = -np.inf, np.inf
        for order in self._state.live_orders(symbol):
            asked = order.request
            stops = asked.type is OrderType.STOP_MARKET
            level = asked.trigger_price if asked.type in CONDITIONAL else order.target_limit
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
        self._watch.set(self._column[symbol], down, up)

    def _run(self, operation: Callable[[], T]) -> T:
        """One operation, one transaction; done anew when another process wrote in between."""
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
        raise AssertionError("the venue's file is written faster than it can be read")

    def _commit(self) -> None:
        self._refresh_watch()
        state = self._state
        if state.changed:
            self._open_orders = self._told = None
            self._store.save(state)
            state.saved()
            self._stored_ms = state.market_ms
        elif state.market_ms - self._stored_ms >= HOUR_MS:
            self._store.touch(state.market_ms)
            self._stored_ms = state.market_ms

    def _reload(self) -> None:
        """Another process traded here: what it stored is the truth."""
        state = self._store.load()
        assert state is not None
        self.reloads += 1
        self._bind(state)
