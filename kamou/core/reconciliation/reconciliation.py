"""Reconciliation: the events that make the book agree with one view of the venue.

``reconcile`` is a pure function. After its events are applied, a second call with the same view and
time repairs nothing, except the quantities of restated trades.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from kamou.core.book.events import (
    CycleClosed,
    DriftExplained,
    DriftFound,
    Event,
    FillRecorded,
    IncomeRecorded,
    OrderAccepted,
    OrderClosed,
    PositionCorrected,
    ProtectionLost,
    StopConfirmed,
)
from kamou.core.book.orders import IN_FLIGHT, OrderState
from kamou.core.book.position_book import PositionBook
from kamou.core.book.trades import OpenTrade
from kamou.core.kinds import DriftKind, FillSource
from kamou.core.model import (
    ZERO,
    Figure,
    Instrument,
    OrderReport,
    OrderRole,
    PositionReport,
)
from kamou.core.reconciliation.adoption import adopt_position, adopted_stop
from kamou.core.reconciliation.equity_snapshot import equity_snapshot
from kamou.core.reconciliation.orphan_orders import find_orphan_orders
from kamou.core.reconciliation.protection import Action, ConfirmStop, is_covered, protect
from kamou.core.reconciliation.restatement import restate_trades
from kamou.core.reconciliation.unexplained import NO_SYMBOL, unexplained_money, unlisted_positions
from kamou.core.reconciliation.unresolved_orders import unresolved_orders
from kamou.core.reconciliation.venue_view import (
    PendingMismatch,
    ReconcileInputs,
    ReconcileSettings,
    Reconciliation,
    VenueView,
)

__all__ = ["ReconcileInputs", "ReconcileSettings", "Reconciliation", "VenueView", "reconcile"]


def reconcile(
    book: PositionBook, view: VenueView, inputs: ReconcileInputs, *, cycle_at_ms: int, now_ms: int
) -> Reconciliation:
    """Compare all symbols of book and view; return events and further actions.

    Args:
        book: the position book with all events of the journal; it is not changed.
        cycle_at_ms: time of the cycle. Its end is due if it is newer than the last closed one.
        now_ms: time of the reconciliation, by this machine's clock.
    """
    work = _Work(book, view, inputs, now_ms)
    work.fills_and_income()
    work.money()
    work.orders()
    work.restate()
    mismatches, deferred = work.positions()
    needy = work.protection()
    orphan_orders = find_orphan_orders(work.book, view, inputs, work.pending_mismatches, now_ms)
    marks = work.marks(cycle_at_ms, len(mismatches) + len(deferred) or len(work.pending_mismatches))
    return Reconciliation(
        repairs=tuple(work.repairs),
        marks=marks,
        protect=needy,
        orphan_orders=orphan_orders,
        resolve=unresolved_orders(work.book, view, inputs.settings.in_flight_ms, now_ms),
        mismatches=mismatches,
        deferred=deferred,
        pending_mismatches=work.pending_mismatches,
    )


class _Work:
    """A reconciliation in progress. ``book`` is forked before the first repair."""

    def __init__(
        self, book: PositionBook, view: VenueView, inputs: ReconcileInputs, now_ms: int
    ) -> None:
        self.before = book
        self.book = book
        self.view = view
        self.inputs = inputs
        self.now_ms = now_ms
        self.repairs: list[Event] = []
        self.pending_mismatches: dict[PendingMismatch, int] = {}
        self.restated: set[str] = set()
        self.unexplained = False  # True: the balance changed, and a later list may explain it
        self.believed = False  # True: such a change lasted for ``pending_mismatch_ms``
        self.resting: dict[str, list[OrderReport]] = {}
        for order in view.open_orders:
            self.resting.setdefault(order.symbol, []).append(order)
        self._orders_by_symbol: dict[str, list[OrderState]] | None = None  # None: no cache

    def repair(self, event: Event) -> None:
        """Add the event to the repairs and apply it to the fork."""
        if self.book is self.before:
            self.book = self.before.fork()
        self.repairs.append(event)
        self.book.apply(self.book.seq + 1, event)
        self._orders_by_symbol = None

    def orders_of(self, symbol: str) -> Sequence[OrderState]:
        """Return the unsettled orders of a symbol, from a cache of all symbols."""
        if self._orders_by_symbol is None:
            self._orders_by_symbol = {}
            for order in self.book.orders.unsettled.values():
                self._orders_by_symbol.setdefault(order.intent.symbol, []).append(order)
        return self._orders_by_symbol.get(symbol, ())

    def fills_and_income(self) -> None:
        """Record the fills and income of the view that the book does not have."""
        since_ms, at_ms, source = self.before.fills_since_ms(), self.now_ms, FillSource.RECONCILE
        for fill in sorted(self.view.fills, key=lambda f: f.at_ms):
            if fill.key not in self.book.reconciliation.fills_seen and fill.at_ms >= since_ms:
                cause = fill.client_order_id or fill.venue_order_id
                found = FillRecorded(at_ms=at_ms, cause_id=cause, fill=fill, source=source)
                self.repair(found)
        for income in self.view.income:
            known = income.income_id in self.book.reconciliation.incomes_seen
            if not known and income.at_ms >= since_ms:
                self.repair(IncomeRecorded(at_ms=at_ms, cause_id=income.symbol, income=income))

    def money(self) -> None:
        """Make an unexplained change of the wallet balance pending; accept it later.

        It is accepted (``believed``) once it has been pending for ``pending_mismatch_ms``.
        """
        settings = self.inputs.settings
        left = unexplained_money(self.book, self.view.account, settings.balance_tolerance)
        if not left:
            return
        mismatch = NO_SYMBOL, left
        since_ms = self.inputs.pending_mismatches.get(mismatch, self.now_ms)
        self.believed = self.now_ms - since_ms >= settings.pending_mismatch_ms
        if not self.believed:
            self.unexplained, self.pending_mismatches[mismatch] = True, since_ms

    # --- orders ------------------------------------------------------------------

    def orders(self) -> None:
        """Record that orders rest at the venue or have ended, as the venue reports."""
        for reported in (*self.view.open_orders, *self.view.queried):
            known = self.book.orders.unsettled.get(reported.client_order_id)
            if known is None or known.status.terminal:
                continue
            name = reported.client_order_id
            if reported.status.terminal:
                self.repair(
                    OrderClosed(
                        at_ms=self.now_ms,
                        cause_id=name,
                        client_order_id=name,
                        status=reported.status,
                        filled=reported.filled,
                        reason="reconciled",
                    )
                )
            elif known.status in IN_FLIGHT:
                self.repair(
                    OrderAccepted(
                        at_ms=self.now_ms,
                        cause_id=name,
                        client_order_id=name,
                        venue_order_id=reported.venue_order_id,
                    )
                )

    def restate(self) -> None:
        """Restate trades. The next reconciliation checks the quantities of their symbols."""
        for event in tuple(restate_trades(self.book, self.view, self.inputs, self.now_ms)):
            self.repair(event)
            self.restated.add(event.symbol)

    # --- positions ---------------------------------------------------------------

    def positions(self) -> tuple[tuple[DriftFound, ...], tuple[str, ...]]:
        """Repair positions; return mismatches, and symbols for the next reconciliation.

        Differences that a later list may explain are stored as pending mismatches.
        """
        reported = {p.symbol: p for p in self.view.positions if p.quantity != 0}
        mismatches: list[DriftFound] = []
        deferred: list[str] = []
        for symbol in sorted(self.book.trades.open.keys() | reported.keys()):
            trade, position = self.book.trades.open.get(symbol), reported.get(symbol)
            held = position.quantity if position else ZERO
            inverted = trade is not None and trade.quantity < 0
            if self.book.trades.position(symbol) == held and not inverted:
                continue
            # Checked first, so that a late fill or order does not restart the waiting time.
            if self._is_pending(symbol, held):
                deferred.append(symbol)
                continue
            if self._in_motion(symbol) or self._has_just_filled(symbol, held):
                deferred.append(symbol)
                continue
            mismatches.append(self._mismatch(symbol, held, position))
        left_out = unlisted_positions(self.book, reported, self.inputs.settings, self.now_ms)
        for symbol, quantity in left_out.items():
            self.pending_mismatches[symbol, quantity] = self.now_ms
            deferred.append(symbol)
        return tuple(mismatches), tuple(deferred)

    def _in_motion(self, symbol: str) -> bool:
        """Return True if a restatement, a late fill or an order may explain a difference."""
        if symbol in self.restated:
            return True
        settings = self.inputs.settings
        moved_ms = self.view.at_ms - settings.in_flight_ms
        if any(f.symbol == symbol and f.at_ms > moved_ms for f in self.view.fills):
            return True
        # If the book recorded a fill after the view was read, the view is late.
        trades = (*self.book.trades.open.values(), *self.book.trades.finished.values())
        if any(t.symbol == symbol and t.changed_at_ms > moved_ms for t in trades):
            return True
        settled = self.before.orders.settled.values()
        if any(o.intent.symbol == symbol and o.changed_at_ms > moved_ms for o in settled):
            return True
        for order in self.orders_of(symbol):
            age_ms = self.now_ms - order.changed_at_ms
            if order.status.terminal:  # it waits for fills that the venue has not listed yet
                if age_ms < settings.pending_mismatch_ms:
                    return True
            elif order.role in (OrderRole.ENTRY, OrderRole.EXIT) and age_ms < settings.in_flight_ms:
                return True
        return False

    def _has_just_filled(self, symbol: str, held: Decimal) -> bool:
        """Return True if fills of a resting entry that no list has yet explain ``held``."""
        more = held - self.book.trades.position(symbol)
        return any(
            o.intent.post_only
            and not o.status.terminal
            and ZERO < more * o.intent.side.sign <= o.remaining
            for o in self.orders_of(symbol)
        )

    def _is_pending(self, symbol: str, held: Decimal) -> bool:
        """Return True if the venue lists fewer contracts than the book, and may be late.

        It may be late until the difference has lasted for ``pending_mismatch_ms``. The difference
        is stored as a pending mismatch.
        """
        trade = self.book.trades.open.get(symbol)
        if trade is None or not ZERO <= held * trade.side.sign < trade.quantity:
            return False
        since_ms = self.inputs.pending_mismatches.get((symbol, held), self.now_ms)
        if self.now_ms - since_ms >= self.inputs.settings.pending_mismatch_ms:
            return False
        self.pending_mismatches[symbol, held] = since_ms
        return True

    def _mismatch(self, symbol: str, held: Decimal, position: PositionReport | None) -> DriftFound:
        trade, own = self.book.trades.open.get(symbol), self.book.trades.position(symbol)
        instrument = self.book.instruments.get(symbol)
        same_way = trade is not None and held * trade.side.sign > 0
        adopting = position is not None and not same_way
        kind = DriftKind.POSITION_UNKNOWN if trade is None else DriftKind.QUANTITY_DIFFERS
        if adopting and instrument is None:
            kind = DriftKind.INSTRUMENT_UNKNOWN
        drift = DriftFound(
            at_ms=self.now_ms,
            cause_id=symbol,
            symbol=symbol,
            kind=kind,
            figures=(Figure(name="book", value=str(own)), Figure(name="venue", value=str(held))),
        )
        if self.book.reconciliation.drift.get(symbol) != kind:
            self.repair(drift)
        if trade is not None:
            mark = position.mark_price if position else self.inputs.marks.get(symbol)
            self.repair(
                PositionCorrected(
                    at_ms=self.now_ms,
                    cause_id=symbol,
                    symbol=symbol,
                    quantity=held if same_way else ZERO,
                    price=mark if mark is not None else trade.entry_price,
                    reason="inferred",
                )
            )
        if adopting and instrument is not None:
            assert position is not None
            self._adopt(position, instrument)
        return drift

    def _adopt(self, position: PositionReport, instrument: Instrument) -> None:
        inputs, account = self.inputs, self.view.account
        gap = self.book.recent_activity.gap_buffer(inputs.limits, self.now_ms)
        self.repair(
            adopt_position(
                position,
                instrument=instrument,
                stop_price=adopted_stop(
                    position,
                    instrument=instrument,
                    sizing_equity=min(account.equity, account.wallet_balance),
                    parameters=inputs.parameters,
                    gap=gap.value,
                    atr=inputs.atrs.get(position.symbol),
                ),
                at_ms=self.view.at_ms,
            )
        )

    # --- protection, the cycle's end ----------------------------------------------

    def protection(self) -> tuple[str, ...]:
        """Record confirmed and lost stops; return the symbols that need further actions."""
        needy: list[str] = []
        for symbol in list(self.book.trades.open):
            trade = self.book.trades.open[symbol]
            if trade.quantity <= 0:
                continue
            orders, resting = self.orders_of(symbol), self.resting.get(symbol, [])
            actions = self._needs(trade, orders, resting)
            if not actions:
                continue  # the usual case: one confirmed stop of the right size rests
            if trade.confirmed is not None and not is_covered(trade, orders, resting):
                self.repair(
                    ProtectionLost(
                        at_ms=self.now_ms,
                        cause_id=trade.trade_id,
                        symbol=symbol,
                        reason="no stop that covers the position was read back",
                    )
                )
                trade = self.book.trades.open[symbol]
                actions = self._needs(trade, orders, resting)
            for action in actions:
                if isinstance(action, ConfirmStop):
                    self.repair(
                        StopConfirmed(
                            at_ms=self.now_ms,
                            cause_id=trade.trade_id,
                            symbol=symbol,
                            client_order_id=action.client_order_id,
                            quantity=action.quantity,
                            trigger_price=action.trigger_price,
                        )
                    )
                elif symbol not in needy:
                    needy.append(symbol)
        return tuple(needy)

    def _needs(
        self, trade: OpenTrade, orders: Sequence[OrderState], resting: Sequence[OrderReport]
    ) -> tuple[Action, ...]:
        return protect(trade, orders, resting, limits=self.inputs.limits, now_ms=self.now_ms)

    def marks(self, cycle_at_ms: int, differences: int) -> tuple[Event, ...]:
        """Return the due events of explained drift, equity snapshot and cycle's end.

        There are none while a change of the wallet balance is pending, so that the next
        reconciliation compares with the last explained balance. Between the ends of cycles,
        ``mark_due`` and an accepted balance ask for a snapshot.
        """
        closing = cycle_at_ms > self.before.reconciliation.cycle_at_ms
        if self.unexplained or not (closing or self.believed or self.inputs.mark_due):
            return ()
        marks: list[Event] = []
        account = self.view.account
        if closing and self.before.reconciliation.drifting and not differences:
            marks.append(DriftExplained(at_ms=self.now_ms, reason="book and venue agree again"))
        money = (
            account.equity,
            account.wallet_balance,
            account.unrealized_pnl,
            account.margin_used,
        )
        if all(amount.is_finite() for amount in money):
            positions, parameters = self.view.positions, self.inputs.parameters
            marks.append(equity_snapshot(self.book, account, positions, parameters, self.now_ms))
        if not closing:
            return tuple(marks)
        marks.append(
            CycleClosed(
                at_ms=self.now_ms,
                cause_id=str(cycle_at_ms),
                cycle_at_ms=cycle_at_ms,
                positions=len(self.view.positions),
                open_orders=len(self.view.open_orders),
                drift=differences,
                repaired=len(self.repairs),
            )
        )
        return tuple(marks)
