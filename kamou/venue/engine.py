"""The embedded venue's engine: the commands and reads of one account.

Each operation is at most one transaction of the store; ``catch_up`` is one for each day. Market
time moves only in ``advance`` and ``catch_up``. Ended orders are read from the store on demand.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import TypeVar

import attrs

from kamou.clock import next_ms
from kamou.core.arrays import Floats
from kamou.core.book.updates import VenueEvent
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import FillReason
from kamou.core.model import (
    Account,
    FillReport,
    Income,
    Instrument,
    OrderReport,
    PositionReport,
    Quote,
)
from kamou.errors import DiskFullError, RejectedError
from kamou.venue.account import VenueAccount
from kamou.venue.market.market import ContractSource, MarketSource
from kamou.venue.matching import Matcher
from kamou.venue.models import VenueModels
from kamou.venue.order_checks import check_attached
from kamou.venue.passage import Passage
from kamou.venue.prices import PriceReader
from kamou.venue.state import AuditRecord, OrderRequest, VenueState, WorkingOrder
from kamou.venue.store import StaleVenueError, VenueStore

REDO_MAX = 8  # attempts of one operation; if another process writes before each, it is a defect

RESIZE_PAUSE_MS = 120_000
"""Time after a change of a contract size in which the venue rejects entries.

It is two cycles of one minute, so that a client reads the new size before its next entry."""

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
        self.reloads = 0  # reloads after another process wrote the venue's file
        self._store = store
        self._prices = PriceReader(source, models.fill)
        self._paused: dict[str, int] = {}  # symbol -> end (ms) of its pause
        stored = store.load()
        # The instruments have the account's own fee rates, because sizing reads the rates there.
        listed = {each.symbol: models.fee.with_rates(each) for each in source.instruments}
        self._bind(
            stored or VenueState.opening(start_ms=start_ms, wallet_balance=wallet_balance), listed
        )
        self._contracts = source if isinstance(source, ContractSource) else None
        self._list_instruments()
        self._change_contracts(-1, self._state.market_ms)
        if stored is None:
            self._commit()

    def _bind(self, state: VenueState, instruments: Mapping[str, Instrument]) -> None:
        """Use ``state`` and ``instruments`` from now on."""
        self._state = state
        self._stored_ms = state.market_ms
        self._account = VenueAccount(state, instruments, self.models, self._prices)
        self._matcher = Matcher(self._account, self.models)
        self._passage = Passage(self.source, self._account, self._matcher, self._prices.column)

    def _list_instruments(self) -> None:
        """Let the source list the present contract specifications."""
        listed = self.instruments
        self.source.instruments = tuple(listed[each.symbol] for each in self.source.instruments)

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """The present contract specifications, by symbol."""
        return self._account.instruments

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

        The move applies triggers, fills, funding, changed contract specifications, liquidations and
        settlements. If ``to_ms`` is not after the market time, nothing changes. If the disk is
        full, the changes stay in memory until a later commit stores them.
        """
        if to_ms > self._state.market_ms:
            with suppress(DiskFullError):  # the next commit stores the changes
                self._run(partial(self._pass_to, to_ms))
        return self.take_events()

    def catch_up(self, to_ms: int, stop_requested: Callable[[], bool]) -> None:
        """Move market time to ``to_ms`` in one commit per day.

        The move ends early if ``stop_requested()`` is True before a day. The thread that opens the
        venue calls it. The next ``advance`` returns the events. If the disk is full, the changes
        stay in memory as in ``advance``.
        """
        while self._state.market_ms < to_ms and not stop_requested():
            until_ms = min(to_ms, next_ms(self._state.market_ms, DAY_MS))
            with suppress(DiskFullError):
                self._run(partial(self._pass_to, until_ms))

    def _pass_to(self, to_ms: int) -> None:
        since_ms = self._state.market_ms
        self._passage.move_to(to_ms)
        self._change_contracts(since_ms, to_ms)

    def _change_contracts(self, since_ms: int, until_ms: int) -> None:
        """List the contract specifications that became known in ``(since_ms, until_ms]``."""
        if self._contracts is None:
            return
        changes = self._contracts.contract_changes(since_ms, until_ms)
        for each in changes:
            listed = self.instruments[each.symbol]
            self._account.change_instrument(each.apply_to(listed))
        if changes:
            self._list_instruments()

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
                self._reject_paused(request)
                self._reject_duplicates(request, attached)
                spot = self._account.prices_now().spot(request.symbol)
                check_attached(request, attached)
                return self._matcher.arrive(request, attached, spot)
            except RejectedError as rejection:
                self._account.record_rejection(request, rejection.code)
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
                self._account.cancel(order)

        self._run(end)

    # --- actions of the venue and of the account's owner ---------------------------

    def transfer(self, amount: Decimal) -> None:
        """Deposit (> 0) or withdraw (< 0) ``amount`` USDT."""
        self._run(lambda: self._account.transfer(amount))

    def close_by_force(self, symbol: str, share: Decimal, reason: FillReason) -> bool:
        """Close a share of a position at the mark price, for example by auto-deleveraging.

        Return False if the symbol has no position, or the share is below one lot.
        """
        return self._run(lambda: self._account.close_by_force(symbol, share, reason))

    def change_instrument(self, instrument: Instrument) -> None:
        """Replace an instrument, for example by one with another tick size or margin rate."""
        self._run(lambda: self._account.change_instrument(instrument))
        self._list_instruments()

    def resize(self, symbol: str, factor: Decimal) -> None:
        """Multiply a contract size by ``factor``.

        Positions and reduce-only orders keep their amount of base currency. Resting entries are
        canceled, and the venue rejects new ones for ``RESIZE_PAUSE_MS``.
        """
        old = self.instruments[symbol]
        new = attrs.evolve(
            old,
            contract_size=old.contract_size * factor,
            lot=old.lot / factor,
            qty_min=old.qty_min / factor,
            qty_max=old.qty_max / factor,
        )
        self._paused[symbol] = self.market_ms + RESIZE_PAUSE_MS
        self._run(lambda: self._account.resize(new, factor))
        self._list_instruments()

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

    def order_request(self, client_order_id: str) -> OrderRequest | None:
        """Return the order as it was sent, live or ended; None if there is none."""
        found = self._find(client_order_id)
        return found.request if found else None

    def open_orders(self) -> tuple[OrderReport, ...]:
        """Return the live orders. Attached orders are live from their entry's first fill."""
        return self._account.view.open_orders()

    def positions(self) -> tuple[PositionReport, ...]:
        """Return the open positions at the mark prices of the market time, by symbol."""
        return self._account.view.positions()

    def account(self) -> Account:
        """Return wallet balance, equity and margin at the market time, in USDT."""
        return self._account.view.account()

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
        return self._account.prices_now().quotes(symbols)

    def marks_of(self, mids: Floats, symbols: tuple[str, ...]) -> dict[str, Decimal]:
        """Return the mark prices of ``symbols``, USDT, for mids of the source.

        The mids, ``[symbols of the source]``, may be of any instant. A symbol that the source
        lacks, or whose mid is NaN, is left out.
        """
        return self._prices.make_prices(mids, self.market_ms, self.instruments).marks(symbols)

    def _reject_duplicates(self, request: OrderRequest, attached: tuple[OrderRequest, ...]) -> None:
        ids = [request.client_order_id, *(child.client_order_id for child in attached)]
        for client_order_id in ids:
            used = ids.count(client_order_id) > 1 or self._find(client_order_id) is not None
            if not client_order_id or used:
                raise RejectedError("DUPLICATE_CLIENT_ID", client_order_id)

    def _reject_paused(self, request: OrderRequest) -> None:
        if not request.reduce_only and self.market_ms < self._paused.get(request.symbol, 0):
            raise RejectedError("MARKET_PAUSED", request.symbol)

    # --- storage ---------------------------------------------------------------

    def _run(self, operation: Callable[[], T]) -> T:
        """Run one operation and commit it; repeat it if another process wrote the file.

        Raises:
            RejectedError: as ``operation``.
            DiskFullError, StoreError: the commit failed; the changes are in memory.
            AssertionError: another process wrote the file in each of ``REDO_MAX`` attempts.
        """
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
        state = self._state
        if state.changed:
            self._store.save(state)
            state.drop_saved()
            self._stored_ms = state.market_ms
        elif state.market_ms - self._stored_ms >= HOUR_MS:
            self._store.touch(state.market_ms)
            self._stored_ms = state.market_ms

    def _reload(self) -> None:
        """Replace the state by the one that another process stored.

        Unsaved changes and events that were not taken are lost.
        """
        state = self._store.load()
        assert state is not None
        self.reloads += 1
        self._bind(state, self.instruments)
