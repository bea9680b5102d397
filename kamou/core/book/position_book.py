"""Position book: trades, orders, reservations and money, folded from events.

Every actor that decides keeps its own ``PositionBook``. It applies the journal's newest events
before it decides, so all actors decide on the same facts. ``apply`` accepts late and repeated
events, and asserts against errors of Kamou. Values inside are frozen; treat the containers as
read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from kamou.core.book import events as e
from kamou.core.book import orders as order_fold
from kamou.core.book import snapshot, strategy_events
from kamou.core.book import trades as portfolio
from kamou.core.book.account_state import CLOSED_KEPT, SEEN_KEPT, AccountState, forget_oldest
from kamou.core.book.book_state import OVERLAP_MS, Reservation, Unassigned
from kamou.core.book.instrument_events import InstrumentChanged
from kamou.core.book.late_events import DayCorrected, ResultCorrected, TransferValued
from kamou.core.book.orders import OrderState
from kamou.core.book.recent_activity import Entry, Overshoot
from kamou.core.book.trades import ConfirmedStop, OpenTrade
from kamou.core.model import ZERO, FillReport, OrderRole, OrderStatus

__all__ = ["OVERLAP_MS", "PositionBook", "Reservation"]

ADOPTED_AFTER_MS = 5_000  # clock tolerance: fills have the venue's time, adoptions this machine's
PERMITS_KEPT = 1_000  # released permits kept against reuse; the store keeps all


@attrs.define(kw_only=True)
class PositionBook(AccountState):
    """The folded state of the journal. Only ``apply`` changes it."""

    # --- snapshots ---------------------------------------------------------------

    def dump(self) -> bytes:
        """Return canonical bytes. Books with the same history give the same bytes."""
        return snapshot.dump_value(self)

    @staticmethod
    def load(data: bytes) -> PositionBook:
        """Return the book that ``dump`` wrote.

        Raises:
            ValueError, KeyError, TypeError, ArithmeticError: the bytes are not a dumped book.
        """
        loaded: PositionBook = snapshot.load_value(PositionBook, data)
        return loaded

    def fork(self) -> PositionBook:
        """Return an independent copy, to which events can be applied as a trial."""
        copied: dict[str, Any] = {}
        for name in _FIELDS:
            value = getattr(self, name)
            copied[name] = dict(value) if isinstance(value, dict) else value
        copied["recent_activity"] = self.recent_activity.copy()
        return PositionBook(**copied)

    # --- the fold ----------------------------------------------------------------

    def apply(self, seq: int, event: e.Event) -> None:
        """Apply one committed event. Events come in order; repeated ones are ignored."""
        if seq <= self.seq:
            return
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
        self.seq = seq

    def apply_all(self, committed: Iterable[tuple[int, e.Event]]) -> None:
        """Apply committed events, given as (seq, event) in order."""
        for seq, event in committed:
            self.apply(seq, event)

    # --- the system, permits -----------------------------------------------------

    def _apply_run_started(self, event: e.RunStarted) -> None:
        self.run_number = event.run_number
        self.mode = event.mode
        self.started_at_ms = self.started_at_ms or event.at_ms

    def _apply_permit_granted(self, event: e.PermitGranted) -> None:
        self.reservations[event.permit_id] = Reservation(
            plan=event.plan, expires_at_ms=event.expires_at_ms, remaining=event.plan.quantity
        )

    def _apply_permit_consumed(self, event: e.PermitConsumed) -> None:
        reservation = self.reservations.get(event.permit_id)
        if reservation is not None:
            self.reservations[event.permit_id] = attrs.evolve(
                reservation, client_order_id=event.client_order_id
            )

    def _apply_permit_released(self, event: e.PermitReleased) -> None:
        self.reservations.pop(event.permit_id, None)
        self.released[event.permit_id] = event.at_ms
        forget_oldest(self.released, PERMITS_KEPT)

    # --- orders ------------------------------------------------------------------

    def _apply_intent_recorded(self, event: e.IntentRecorded) -> None:
        intent = event.intent
        reservation = self.reservations.get(intent.permit_id) if intent.permit_id else None
        plan = None
        if reservation is not None:
            plan = reservation.plan
            self.reservations[intent.permit_id] = attrs.evolve(
                reservation, client_order_id=intent.client_order_id
            )
        self.orders[intent.client_order_id] = order_fold.open_order(intent, event.at_ms, plan)

    def _apply_order_event(self, event: Any) -> None:
        before = self.order(event.client_order_id)
        if before is None:
            return
        order = order_fold.apply_order_event(before, event)
        self._keep(before, order)
        trade = self.trades.get(order.intent.symbol)
        if (
            trade is None
            or trade.confirmed is None
            or trade.confirmed.client_order_id != order.client_order_id
        ):
            return
        if order.status.terminal and order.status is not OrderStatus.FILLED:
            self.trades[trade.symbol] = portfolio.lose_stop(trade, event.at_ms)

    def _keep(self, before: OrderState, order: OrderState) -> None:
        """Store a changed order; update its reservation, and settle its flat trade."""
        if order is before:
            return
        name = order.client_order_id
        if order.settled:
            self.orders.pop(name, None)
            self.closed[name] = order
            forget_oldest(self.closed, CLOSED_KEPT)
        else:
            self.closed.pop(name, None)
            self.orders[name] = order
        if order.role is not OrderRole.ENTRY:
            return
        reservation = self.reservations.get(order.intent.permit_id)
        if reservation is not None and reservation.remaining != order.remaining:
            self.reservations[order.intent.permit_id] = attrs.evolve(
                reservation, remaining=min(reservation.plan.quantity, order.remaining)
            )
        if order.settled:
            trade = self.trades.get(order.intent.symbol)
            if trade is not None:
                self._settle(trade)

    # --- fills -------------------------------------------------------------------

    def _apply_fill_recorded(self, event: e.FillRecorded) -> None:
        fill = event.fill
        if fill.key in self.fills_seen:
            return
        self.fills_seen[fill.key] = fill.at_ms
        forget_oldest(self.fills_seen, SEEN_KEPT)
        order = self.order(fill.client_order_id) if fill.client_order_id else None
        trade = self._trade_for(fill, order)
        if trade is None:
            self.unexplained_ms = max(self.unexplained_ms, fill.at_ms)
            self._leave_unassigned(fill, event.at_ms)
            self._pay_fill(fill, self.trades.get(fill.symbol))
        else:
            self._change_balance(
                fill.key, fill.at_ms, portfolio.realized_gain(trade, fill) - fill.fee
            )
            self._pay_fill(fill, trade)
            role = order.role if order else None
            intended_at_ms = order.intent.intended_at_ms if order else 0
            self._record_stop(trade, fill, order)
            trade = portfolio.apply_fill(trade, fill, role, intended_at_ms, event.at_ms)
            self.finished.pop(trade.trade_id, None)
            self.trades[fill.symbol] = trade
            self.unassigned.pop(fill.symbol, None)
        if order is not None:
            self._keep(order, order_fold.apply_order_event(order, event))
        if trade is not None and self.trades.get(fill.symbol) is trade:
            self._settle(trade)
        self._attribute_late(fill.symbol)

    def _leave_unassigned(self, fill: FillReport, known_ms: int) -> None:
        """Keep the contracts that a fill without a trade opened at the venue."""
        symbol = fill.symbol
        if symbol in self.trades:
            return  # listed late: a trade that was adopted since includes this fill
        before = self.unassigned.pop(symbol, None)
        quantity = fill.signed
        if before is not None and known_ms - before.known_ms < OVERLAP_MS:
            quantity += before.quantity
        self.unassigned[symbol] = Unassigned(quantity=quantity, known_ms=known_ms)
        forget_oldest(self.unassigned, CLOSED_KEPT)

    def _trade_for(self, fill: FillReport, order: OrderState | None) -> OpenTrade | None:
        """Return the trade of a fill, or None; a fill of an entry may open one."""
        trade = self.trades.get(fill.symbol)
        if (
            trade is not None
            and trade.adopted
            and fill.at_ms < trade.opened_at_ms - ADOPTED_AFTER_MS
        ):
            return None  # listed late: the adopted position includes this fill
        if trade is not None or order is None:
            return trade  # one position per symbol, so every fill there changes it
        finished = self.finished.get(order.intent.trade_id)
        if finished is not None:
            return finished  # a late fill of a trade not yet published
        if order.plan is None:
            return None  # not an entry with a permit: reconciliation will find the position
        plan, trade_id = order.plan, order.intent.trade_id
        part = 1
        while portfolio.result_id(trade_id, part) in self.published:
            part += 1
        if part == 1:  # a late fill after the published result does not count as an entry
            self.recent_activity.record_entry(
                Entry(at_ms=fill.at_ms, strategy=plan.strategy, symbol=plan.symbol)
            )
        return portfolio.open_trade(plan, trade_id, fill.at_ms, part)

    def _record_stop(self, trade: OpenTrade, fill: FillReport, order: OrderState | None) -> None:
        """Record a stop or liquidation fill, and its overshoot if the trade had a plan."""
        stopped = order is not None and order.role is OrderRole.STOP_LOSS
        if not stopped and fill.reason != "liquidation":
            return
        self.recent_activity.record_stop_out(fill.symbol, fill.at_ms)
        trigger = order.intent.trigger_price if order is not None and stopped else None
        if distance := trade.planned_distance:
            stop = trade.stop_price if trigger is None else trigger
            beyond = max(ZERO, trade.side.loss(stop, fill.price))
            self.recent_activity.record_overshoot(
                Overshoot(at_ms=fill.at_ms, symbol=fill.symbol, multiple=beyond / distance)
            )

    def _settle(self, trade: OpenTrade) -> None:
        """Move a flat trade whose entry cannot fill any more to ``finished``."""
        if trade.quantity == 0 and trade.entered > 0 and not self.has_live_entry(trade.symbol):
            self.trades.pop(trade.symbol, None)
            self.finished[trade.trade_id] = trade

    # --- protection --------------------------------------------------------------

    def _apply_stop_confirmed(self, event: e.StopConfirmed) -> None:
        trade = self.trades.get(event.symbol)
        if trade is not None:
            stop = ConfirmedStop(
                client_order_id=event.client_order_id,
                quantity=event.quantity,
                trigger_price=event.trigger_price,
                at_ms=event.at_ms,
            )
            self.trades[event.symbol] = portfolio.confirm_stop(trade, stop)

    def _apply_protection_lost(self, event: e.ProtectionLost) -> None:
        trade = self.trades.get(event.symbol)
        if trade is not None:
            self.trades[event.symbol] = portfolio.lose_stop(trade, event.at_ms)

    # --- reconciliation, state ---------------------------------------------------

    def _apply_position_adopted(self, event: e.PositionAdopted) -> None:
        adopted = portfolio.adopt_trade(event)
        if event.unless_held and self.position(event.symbol) == adopted.signed:
            return  # fills committed during the venue read explain the position (seed 930009)
        self.trades[event.symbol] = adopted
        self.unassigned.pop(event.symbol, None)

    def _apply_position_corrected(self, event: e.PositionCorrected) -> None:
        for order in self.orders_of(event.symbol):
            if order.status.terminal:  # the correction replaces its missing fills
                self._keep(order, attrs.evolve(order, reported=order.filled))
        self.unexplained_ms = max(self.unexplained_ms, event.at_ms)
        trade = self.trades.get(event.symbol)
        if trade is None:
            return
        quantity = event.quantity * trade.side.sign
        trade = portfolio.correct_trade(trade, quantity, event.price, event.at_ms)
        self.trades[event.symbol] = trade
        if quantity == 0:
            self.trades.pop(event.symbol)
            self.finished[trade.trade_id] = trade

    def _apply_cycle_closed(self, event: e.CycleClosed) -> None:
        self.cycle_at_ms = event.cycle_at_ms
        if event.drift == 0:
            self.reconciled_before_ms = self.reconciled_ms
            self.reconciled_ms = event.cycle_at_ms
            since_ms = self.fills_since_ms()
            for seen in (self.fills_seen, self.incomes_seen):
                for key in [k for k, at_ms in seen.items() if at_ms < since_ms]:
                    del seen[key]
            for key in [k for k, paid in self.unattributed.items() if paid.at_ms < since_ms]:
                del self.unattributed[key]

    def _apply_instrument_changed(self, event: InstrumentChanged) -> None:
        self.instruments[event.instrument.symbol] = event.instrument

    def _apply_trade_restated(self, event: e.TradeRestated) -> None:
        trade = self.trades.get(event.symbol)
        if trade is not None and trade.trade_id == event.trade_id:
            self.trades[event.symbol] = portfolio.restate_trade(trade, event)

    def _apply_drift_found(self, event: e.DriftFound) -> None:
        self.drift[event.symbol] = event.kind

    def _apply_drift_explained(self, event: e.DriftExplained) -> None:
        self.drift.clear()

    def _apply_state_changed(self, event: e.StateChanged) -> None:
        self.state = event.after
        self.state_reason = event.reason
        self.state_since_ms = event.at_ms

    def _apply_strategy_disabled(self, event: strategy_events.StrategyDisabled) -> None:
        self.disabled[event.strategy] = event.at_ms

    def _apply_strategy_resumed(self, event: strategy_events.StrategyResumed) -> None:
        self.disabled.pop(event.strategy, None)
        self.resumed[event.strategy] = event.at_ms


_FIELDS = tuple(field.name for field in attrs.fields(PositionBook))

_HANDLERS: dict[type[e.Event], Callable[[PositionBook, Any], None]] = {
    e.RunStarted: PositionBook._apply_run_started,
    e.CycleClosed: PositionBook._apply_cycle_closed,
    e.PermitGranted: PositionBook._apply_permit_granted,
    e.PermitConsumed: PositionBook._apply_permit_consumed,
    e.PermitReleased: PositionBook._apply_permit_released,
    e.IntentRecorded: PositionBook._apply_intent_recorded,
    e.OrderAccepted: PositionBook._apply_order_event,
    e.OrderUnknown: PositionBook._apply_order_event,
    e.OrderRejected: PositionBook._apply_order_event,
    e.CancelRequested: PositionBook._apply_order_event,
    e.OrderClosed: PositionBook._apply_order_event,
    e.FillRecorded: PositionBook._apply_fill_recorded,
    e.StopConfirmed: PositionBook._apply_stop_confirmed,
    e.ProtectionLost: PositionBook._apply_protection_lost,
    e.IncomeRecorded: PositionBook._apply_income_recorded,
    e.TradeClosed: PositionBook._apply_trade_closed,
    ResultCorrected: PositionBook._apply_result_corrected,
    e.EquityRecorded: PositionBook._apply_equity_recorded,
    e.DayOpened: PositionBook._apply_day_opened,
    DayCorrected: PositionBook._apply_day_corrected,
    TransferValued: PositionBook._apply_transfer_valued,
    e.PositionAdopted: PositionBook._apply_position_adopted,
    e.PositionCorrected: PositionBook._apply_position_corrected,
    InstrumentChanged: PositionBook._apply_instrument_changed,
    e.TradeRestated: PositionBook._apply_trade_restated,
    e.DriftFound: PositionBook._apply_drift_found,
    e.DriftExplained: PositionBook._apply_drift_explained,
    e.StateChanged: PositionBook._apply_state_changed,
    strategy_events.StrategyDisabled: PositionBook._apply_strategy_disabled,
    strategy_events.StrategyResumed: PositionBook._apply_strategy_resumed,
}
"""Method that applies each kind of event. Absent kinds change no book."""
