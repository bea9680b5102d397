"""The reconciler: at start and every cycle, the exchange's truth wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs
import numpy as np

from kamou.actors.base import Actor
from kamou.actors.follower import BookFollower
from kamou.actors.journal import Journal
from kamou.actors.midnights import MidnightReader
from kamou.actors.transfers import TransferValuer
from kamou.clock import Clock, floor_ms, next_ms
from kamou.core.book.events import EquityRecorded, Event
from kamou.core.book.position_book import PositionBook
from kamou.core.indicators.atr import atr
from kamou.core.market.bars import ATR_PERIOD
from kamou.core.market.instruments import faults_of_all
from kamou.core.model import Instrument, Quote, TradingState
from kamou.core.reconciliation.reconciliation import Reconciliation, Terms, VenueView, reconcile
from kamou.core.reconciliation.venue_view import Doubt, certain_offset_ms, changes
from kamou.core.risk.limits import CostModel, RiskLimits
from kamou.core.risk.midnights import MidnightMarks
from kamou.errors import DiskFullError, DuplicateEventError, RateLimitedError, UnreachableError
from kamou.exchange.base import ExchangePort
from kamou.messages.orders import (
    CancelOrphanOrder,
    ProtectPosition,
    ReconcileNow,
    ResolveOrder,
    VenueObserved,
)
from kamou.runtime.mailboxes import Mailbox

ATR_HISTORY_BARS = 5 * ATR_PERIOD  # Wilder's mean has forgotten its seed by then
CYCLE_OFFSET_MS = 1_000  # after the boundary, before the feed: reviews then see fresh figures
RECONCILE_RETRY_MS = 5_000  # after a pass that the venue did not answer
SPACING_MS = 1_000  # between passes out of turn: what overflows may overflow again


@attrs.define
class Health:
    """What the operator's readiness rests on. Decides nothing."""

    agreed: bool = False  # the newest pass of this run agreed with the venue


class Reconciler(Actor):
    """Reads everything, journals the differences as what they are, and tells who must act.

    A read that fails abandons the pass: nothing is concluded from silence.
    """

    def __init__(
        self,
        *,
        inbox: Mailbox[object],
        clock: Clock,
        journal: Journal,
        port: ExchangePort,
        governor: Mailbox[object],
        orders: Mailbox[object],
        health: Health,
        instruments: dict[str, Instrument],
        limits: RiskLimits,
        costs: CostModel,
        cycle_period_ms: int,
        period_ms: int,
        handler_deadline_s: float,
    ) -> None:
        super().__init__(
            name="reconciler", inbox=inbox, clock=clock, handler_deadline_s=handler_deadline_s
        )
        self._journal = journal
        self._port = port
        self._governor = governor
        self._orders = orders
        self._health = health
        self._instruments = instruments  # everybody looks things up in it; only we write to it
        self._terms = Terms(instruments=instruments, limits=limits, costs=costs)
        self._period_ms = period_ms
        self._cycle_period_ms = cycle_period_ms
        self._follower = BookFollower(journal)
        self._listed: tuple[Instrument, ...] = ()  # as last told
        self._sound = True  # whether that makes sense
        self._again_ms = 0
        self._passed_ms = 0  # when the last pass began
        self._asked = False  # for one out of turn
        self._restless = False  # the last look left something open
        self._marked_ms: dict[str, int] = {}  # of what is held: when it last had a mark
        self._marks_at_ms: int | None = None
        self._midnights = MidnightReader(port=port, period_ms=period_ms, instruments=instruments)
        self._transfers = TransferValuer(
            port=port,
            period_ms=period_ms,
            instruments=instruments,
            tolerance=limits.equity_tolerance,
        )
        self._held_when_marked: bool | None = None  # positions; None: this incarnation made no mark
        self._doubts: Mapping[Doubt, int] = {}  # what the last look did not believe yet

    async def recover(self) -> None:
        """Fold the journal and reconcile before anything may trade. A silent venue is retried."""
        await self._follower.recover()
        await self.tick()

    def next_due_ms(self) -> int | None:
        if self._asked or self._orders.needs_reconcile:
            return min(self._again_ms, self._passed_ms + SPACING_MS)
        return self._again_ms

    async def handle(self, message: object) -> None:
        assert isinstance(message, ReconcileNow), message
        self._asked = True

    async def tick(self) -> None:
        now = self._passed_ms = self.clock.now_ms()
        self._asked = self._orders.needs_reconcile = False
        self._again_ms = next_ms(now - CYCLE_OFFSET_MS, self._cycle_period_ms) + CYCLE_OFFSET_MS
        try:
            await self._reconcile(floor_ms(now, self._cycle_period_ms))
        except (UnreachableError, RateLimitedError, DiskFullError):
            self._doubts = {}  # only looks that follow each other confirm one
            self._again_ms = self.clock.now_ms() + RECONCILE_RETRY_MS

    async def _reconcile(self, cycle_at_ms: int) -> None:
        if self._snapshot_due(self._follower.catch_up()):
            # After the fill that called for it, not in its millisecond: a page has what is stamped
            # before its snapshot. The history "flattened" in tests/web/test_recomputation.py.
            await self.clock.sleep_until(self.clock.now_ms() + 1)
        view, atrs = await self._view(self._follower.catch_up())
        book = self._follower.catch_up()  # with what the order manager learned while we read
        due = self._snapshot_due(book)
        terms = attrs.evolve(self._terms, atrs=atrs, doubts=self._doubts, mark_due=due)
        found = reconcile(book, view, terms, cycle_at_ms=cycle_at_ms, now_ms=self.clock.now_ms())
        self._doubts = found.doubts
        await self._commit_new(found.repairs)
        self._journal.cast(*found.marks)
        if any(isinstance(mark, EquityRecorded) for mark in found.marks):
            self._held_when_marked = bool(view.positions)
        book = self._follower.catch_up()
        if found.agreed and found.money_explained and book.unvalued:
            await self._commit_new(await self._transfers.value(book, view))
            book = self._follower.catch_up()
        self._tell(found, view, await self._midnights.read(book, view))
        book = self._follower.catch_up()
        if self._journal.snapshot_due(book.seq):
            self._journal.save_snapshot(book.seq, book.fork().dump, at_ms=self.clock.now_ms())
        was, self._restless = self._restless, bool(found.deferred or found.doubts)
        if self._restless or was:  # what came to rest is looked at once more: lists lie
            self._again_ms = self.clock.now_ms() + RECONCILE_RETRY_MS

    async def _commit_new(self, events: Iterable[Event]) -> None:
        for event in events:
            try:
                await self._journal.commit(event)
            except DuplicateEventError:
                continue  # the stream brought it in the meantime

    def _snapshot_due(self, book: PositionBook) -> bool:
        """A flatten is followed by a snapshot at once, not at the end of the cycle.

        So is a start into a halt: what was flattened while nothing ran may be the cause of it.
        """
        if self._held_when_marked is None:
            return not book.state.entries_allowed
        return book.state is TradingState.FLATTENING and self._held_when_marked

    async def _view(self, book: PositionBook) -> tuple[VenueView, dict[str, Decimal]]:
        """One read of everything, and the ATR of positions that we did not know."""
        at_ms = self.clock.now_ms()
        port = self._port
        offset_ms = certain_offset_ms(at_ms, await port.server_time_ms(), self.clock.now_ms())
        account = await port.account()
        positions = await port.positions()
        open_orders = await port.open_orders()
        self._take(await port.instruments())  # after what is held: it is never in newer terms
        since_ms = book.fills_since_ms()
        fills = await port.fills(since_ms)  # after the positions: it explains them
        income = await port.income(since_ms)
        if any(i.kind == "transfer" and i.at_ms >= account.at_ms for i in income):
            account = await port.account()  # money moved in between: equity must know of it too
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
        unknown = {p.symbol for p in positions} - book.trades.keys()
        return view, await self._atrs(unknown) if unknown else {}

    async def _read_marks(self, view: VenueView) -> None:
        """Read the marks of what is held.

        A mark that is missing or is no price is as old as the last one that was.
        """
        held = {p.symbol for p in view.positions if p.quantity != 0}
        quotes: Mapping[str, Quote] | None = {}
        if symbols := tuple(sorted(held)):
            try:
                quotes = await self._port.quotes(symbols)
            except (UnreachableError, RateLimitedError):
                quotes = None
        sound = {s: quote for s, quote in (quotes or {}).items() if quote.sound}
        self._marked_ms = {
            symbol: sound[symbol].at_ms
            if symbol in sound
            else self._marked_ms.get(symbol, view.at_ms)
            for symbol in held
        }
        self._marks_at_ms = min(self._marked_ms.values(), default=None)

    def _take(self, listed: tuple[Instrument, ...]) -> None:
        """What the venue tells of its instruments holds from now on, for whoever sizes or prices.

        If it makes no sense, what it told before still holds, and nothing new is risked.
        """
        if listed is self._listed:
            return
        self._listed, self._sound = listed, not faults_of_all((), listed)
        if self._sound:
            self._journal.cast(*changes(self._instruments, listed, self.clock.now_ms()))
            self._instruments.update({each.symbol: each for each in listed})

    async def _atrs(self, symbols: set[str]) -> dict[str, Decimal]:
        """ATR(14) of the trade timeframe, where the venue has the bars for it."""
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

    def _tell(
        self, found: Reconciliation, view: VenueView, midnights: tuple[MidnightMarks, ...]
    ) -> None:
        agreed = self._health.agreed = found.agreed and self._sound
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
