"""The reconciler: compares the position book with the venue, once per cycle.

It also reconciles at a start, on request, and again soon after a failed pass or a mismatch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import attrs
import numpy as np

from kamou.actors.base import Actor
from kamou.actors.followers import BookFollower
from kamou.actors.journal import Journal
from kamou.actors.midnight_reader import MidnightReader
from kamou.actors.transfers import TransferValuer
from kamou.clock import floor_ms, next_ms
from kamou.core.book.events import EquityRecorded, Event
from kamou.core.book.position_book import PositionBook
from kamou.core.indicators.atr import atr
from kamou.core.kinds import IncomeKind
from kamou.core.market.bars import ATR_PERIOD
from kamou.core.market.instruments import find_faults
from kamou.core.model import Instrument, Quote, TradingState
from kamou.core.reconciliation.reconciliation import (
    ReconcileInputs,
    Reconciliation,
    VenueView,
    reconcile,
)
from kamou.core.reconciliation.venue_view import (
    PendingMismatch,
    certain_offset_ms,
    instrument_changes,
)
from kamou.core.risk.limits import TradingParameters
from kamou.core.risk.midnight_equity import MidnightMarks
from kamou.errors import DiskFullError, DuplicateEventError, RateLimitedError, UnreachableError
from kamou.exchange.base import ExchangePort
from kamou.messages.orders import (
    CancelOrphanOrder,
    ProtectPosition,
    ReconcileNow,
    ReconcilerCommand,
    ResolveOrder,
    VenueObserved,
)
from kamou.runtime.mailbox_sides import Outbox

ATR_HISTORY_BARS = 5 * ATR_PERIOD  # enough for Wilder's mean to forget its first value
CYCLE_OFFSET_MS = 1_000  # after the boundary, before the feed, so that reviews see fresh figures
RECONCILE_RETRY_MS = 5_000  # after a pass that failed or left a mismatch
SPACING_MS = 1_000  # between passes on request: an overflow may be followed by more
INSTRUMENTS_AT_ONCE = 200  # in one transaction: about 10 ms of encoding


@attrs.define(kw_only=True, eq=False, slots=False)
class Reconciler(Actor[ReconcileNow]):
    """The actor that compares book and venue, journals repairs and reports the result.

    If a read fails or the disk is full, the pass ends without a result and is repeated. Quotes,
    past marks and the values of transfers may be missing: the next pass reads them again. After
    each complete pass ``on_reconciled`` is called with True if book and venue agreed and the listed
    instruments are valid.
    """

    name: str = attrs.field(init=False, default="reconciler")
    _journal: Journal
    _port: ExchangePort
    _governor: Outbox[VenueObserved]
    _orders: Outbox[ReconcilerCommand]
    _parameters: TradingParameters
    _cycle_period_ms: int
    _period_ms: int
    _on_reconciled: Callable[[bool], None] = lambda _agreed: None
    _follower: BookFollower = attrs.field(init=False)
    _midnights: MidnightReader = attrs.field(init=False)
    _transfers: TransferValuer = attrs.field(init=False)
    _listed: tuple[Instrument, ...] = attrs.field(init=False, default=())  # as the venue last did
    _sound: bool = attrs.field(init=False, default=True)  # that list has no faults
    _again_ms: int = attrs.field(init=False, default=0)
    _passed_ms: int = attrs.field(init=False, default=0)  # start of the last pass
    _requested: bool = attrs.field(init=False, default=False)  # a pass before the next cycle
    # The last pass left a mismatch pending or deferred.
    _unsettled: bool = attrs.field(init=False, default=False)
    # Of each open position: time of its last mark.
    _marked_ms: dict[str, int] = attrs.field(init=False, factory=dict)
    _marks_at_ms: int | None = attrs.field(init=False, default=None)
    # True if positions were open at the last equity snapshot; None: no snapshot yet.
    _open_at_snapshot: bool | None = attrs.field(init=False, default=None)
    # Of the last reconciliation.
    _pending_mismatches: Mapping[PendingMismatch, int] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._follower = BookFollower(self._journal)
        self._midnights = MidnightReader(port=self._port, period_ms=self._period_ms)
        self._transfers = TransferValuer(
            port=self._port,
            period_ms=self._period_ms,
            tolerance=self._parameters.limits.equity_tolerance,
        )

    async def recover(self) -> None:
        """Fold the journal and reconcile. If the pass fails, ``tick`` repeats it."""
        await self._follower.recover()
        await self.tick()

    def next_due_ms(self) -> int | None:
        if self._requested:
            return min(self._again_ms, self._passed_ms + SPACING_MS)
        return self._again_ms

    async def handle(self, message: ReconcileNow) -> None:
        assert isinstance(message, ReconcileNow), message
        self._requested = True

    async def tick(self) -> None:
        now = self._passed_ms = self.clock.now_ms()
        self._requested = False
        self._again_ms = next_ms(now - CYCLE_OFFSET_MS, self._cycle_period_ms) + CYCLE_OFFSET_MS
        try:
            await self._reconcile(floor_ms(now, self._cycle_period_ms))
        except (UnreachableError, RateLimitedError, DiskFullError):
            self._pending_mismatches = {}  # only consecutive passes confirm one
            self._again_ms = self.clock.now_ms() + RECONCILE_RETRY_MS

    async def _reconcile(self, cycle_at_ms: int) -> None:
        if self._snapshot_due(self._follower.catch_up()):
            # The snapshot must be later than the fill that made it due: a page shows only events
            # from before its snapshot. tests/web/test_recomputation.py shows it ("flattened").
            await self.clock.sleep_until(self.clock.now_ms() + 1)
        view, atrs = await self._read_venue(self._follower.catch_up())
        book = self._follower.catch_up()  # with events that were committed during the reads
        due = self._snapshot_due(book)
        inputs = ReconcileInputs(
            parameters=self._parameters,
            atrs=atrs,
            pending_mismatches=self._pending_mismatches,
            mark_due=due,
        )
        found = reconcile(book, view, inputs, cycle_at_ms=cycle_at_ms, now_ms=self.clock.now_ms())
        self._pending_mismatches = found.pending_mismatches
        await self._commit_new(found.repairs)
        self._journal.cast(*found.marks)
        if any(isinstance(mark, EquityRecorded) for mark in found.marks):
            self._open_at_snapshot = bool(view.positions)
        book = self._follower.catch_up()
        if found.agreed and found.money_explained and book.transfers.unvalued:
            await self._commit_new(await self._transfers.value(book.fork(), view))
            book = self._follower.catch_up()
        self._report(found, view, await self._midnights.read(book, view))
        book = self._follower.catch_up()
        if self._journal.snapshot_due(book.seq):
            self._journal.save_snapshot(book.seq, book.fork().dump, at_ms=self.clock.now_ms())
        was, self._unsettled = self._unsettled, bool(found.deferred or found.pending_mismatches)
        if self._unsettled or was:  # one more pass after a mismatch ends: lists may be incomplete
            self._again_ms = self.clock.now_ms() + RECONCILE_RETRY_MS

    async def _commit_new(self, events: Iterable[Event]) -> None:
        for event in events:
            try:
                await self._journal.commit(event)
            except DuplicateEventError:
                continue  # the order manager committed it from the stream meanwhile

    def _snapshot_due(self, book: PositionBook) -> bool:
        """Return True if an equity snapshot is due: after a flatten or a start in a halt.

        The cause of such a halt may be a flatten between two runs.
        """
        if self._open_at_snapshot is None:
            return not book.trading.state.entries_allowed
        return book.trading.state is TradingState.FLATTENING and self._open_at_snapshot

    async def _read_venue(self, book: PositionBook) -> tuple[VenueView, dict[str, Decimal]]:
        """Return the venue's state, and the ATRs of positions that the book does not have.

        The ATRs are prices by symbol. On the way changed contract specifications are committed, and
        the age of the marks is stored.

        Raises:
            UnreachableError, RateLimitedError: as the port; quotes may be missing instead.
            DiskFullError, CallUnavailableError, CallTimeoutError: as ``Journal.commit``.
        """
        at_ms = self.clock.now_ms()
        port = self._port
        # The shared book goes on during the reads.
        since_ms, known = book.fills_since_ms(), frozenset(book.trades.open)
        offset_ms = certain_offset_ms(at_ms, await port.server_time_ms(), self.clock.now_ms())
        account = await port.account()
        positions = await port.positions()
        open_orders = await port.open_orders()
        # After the positions, which then never have a newer contract specification.
        await self._record_instruments(await port.instruments())
        fills = await port.fills(since_ms)  # after the positions, which they explain
        income = await port.income(since_ms)
        if any(i.kind is IncomeKind.TRANSFER and i.at_ms >= account.at_ms for i in income):
            account = await port.account()  # again: its equity must include the transfer
        view = VenueView(
            account=account,
            positions=positions,
            open_orders=open_orders,
            fills=fills,
            income=income,
            at_ms=at_ms,
            clock_offset_ms=offset_ms,
        )
        await self._read_marks(view)
        unknown = {p.symbol for p in positions} - known
        return view, await self._read_atrs(unknown) if unknown else {}

    async def _read_marks(self, view: VenueView) -> None:
        """Read the marks of open positions and find the time of the oldest one.

        A missing or unsound mark counts with the time of the symbol's last sound one, or of this
        pass if there was none.
        """
        symbols = tuple(sorted(p.symbol for p in view.positions if p.quantity != 0))
        quotes: Mapping[str, Quote] | None = {}
        if symbols:
            try:
                quotes = await self._port.quotes(symbols)
            except (UnreachableError, RateLimitedError):
                quotes = None
        sound = {s: quote for s, quote in (quotes or {}).items() if quote.sound}
        self._marked_ms = {
            symbol: sound[symbol].at_ms
            if symbol in sound
            else self._marked_ms.get(symbol, view.at_ms)
            for symbol in symbols
        }
        self._marks_at_ms = min(self._marked_ms.values(), default=None)

    async def _record_instruments(self, listed: tuple[Instrument, ...]) -> None:
        """Commit the contract specifications that differ from the book's.

        If the list has faults, the old specifications stay in use, the run is not ready and the
        governor denies entries.
        """
        if listed is self._listed:
            return
        self._sound = not find_faults((), listed)
        if self._sound:
            known = self._follower.catch_up().instruments
            changes = instrument_changes(known, listed, self.clock.now_ms())
            for first in range(0, len(changes), INSTRUMENTS_AT_ONCE):
                await self._journal.commit(*changes[first : first + INSTRUMENTS_AT_ONCE])
        self._listed = listed

    async def _read_atrs(self, symbols: set[str]) -> dict[str, Decimal]:
        """Return by symbol the ATR of the trade timeframe; too few bars give none."""
        now = self.clock.now_ms()
        bars = await self._port.bars(self._period_ms, now - ATR_HISTORY_BARS * self._period_ms, now)
        found: dict[str, Decimal] = {}
        for symbol in symbols & set(bars.symbols):
            column = bars.symbols.index(symbol)
            ranges = atr(
                bars.high[:, column], bars.low[:, column], bars.close[:, column], ATR_PERIOD
            )
            if len(ranges) and np.isfinite(ranges[-1]):
                found[symbol] = Decimal(repr(float(ranges[-1])))
        return found

    def _report(
        self, found: Reconciliation, view: VenueView, midnights: tuple[MidnightMarks, ...]
    ) -> None:
        agreed = found.agreed and self._sound
        self._on_reconciled(agreed)
        self._governor.put_nowait(
            VenueObserved(
                account=view.account,
                positions=view.positions,
                reconciled=agreed,
                explained=found.money_explained,
                marks_at_ms=self._marks_at_ms,
                midnights=midnights,
                clock_offset_ms=view.clock_offset_ms,
            )
        )
        orders = self._orders
        for symbol in found.protect:
            orders.put_nowait(ProtectPosition(symbol=symbol, reason="reconciliation"))
        for order in found.orphan_orders:
            orders.put_nowait(
                CancelOrphanOrder(
                    symbol=order.symbol, client_order_id=order.client_order_id, reason=order.reason
                )
            )
        for client_order_id in found.resolve:
            orders.put_nowait(ResolveOrder(client_order_id=client_order_id))
