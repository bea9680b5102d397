"""Fold of the position book: the changes by each kind of event.

A method of one part of the book applies an event that changes only that part. The functions here
apply events that change several parts, or fields of the book itself. ``HANDLERS`` has the function
of each kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from kamou.core.book import events as e
from kamou.core.book import orders as order_fold
from kamou.core.book import trades as portfolio
from kamou.core.book.balance_changes import BalanceChange, group_by_symbol
from kamou.core.book.book_state import BookState
from kamou.core.book.gate_events import GateChanged
from kamou.core.book.instrument_events import InstrumentChanged
from kamou.core.book.late_events import DayCorrected, ResultCorrected, TransferValued
from kamou.core.book.orders import OrderState
from kamou.core.book.recent_activity import Entry, Overshoot
from kamou.core.book.retention import OVERLAP_MS, SEEN_KEPT, forget_oldest
from kamou.core.book.shadow_events import ShadowTradesClosed, ShadowTradesOpened
from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.core.book.trades import OpenTrade
from kamou.core.day import DAY_MS, day_start_ms
from kamou.core.kinds import FillReason, IncomeKind
from kamou.core.model import ZERO, FillReport, OrderRole, OrderStatus

OrderEvent = e.OrderAccepted | e.OrderUnknown | e.OrderRejected | e.CancelRequested | e.OrderClosed


def _start_run(book: BookState, event: e.RunStarted) -> None:
    book.started_at_ms = book.started_at_ms or event.at_ms


def _change_instrument(book: BookState, event: InstrumentChanged) -> None:
    book.instruments[event.instrument.symbol] = event.instrument


# --- orders ----------------------------------------------------------------------


def _record_intent(book: BookState, event: e.IntentRecorded) -> None:
    plan = book.permits.assign(event.intent)
    book.orders.add(order_fold.open_order(event.intent, event.at_ms, plan))


def _change_order(book: BookState, event: OrderEvent) -> None:
    before = book.orders.find(event.client_order_id)
    if before is None:
        return
    order = order_fold.apply_order_event(before, event)
    _keep_order(book, before, order)
    trade = book.trades.open.get(order.intent.symbol)
    if (
        trade is None
        or trade.confirmed is None
        or trade.confirmed.client_order_id != order.client_order_id
    ):
        return
    if order.status.terminal and order.status is not OrderStatus.FILLED:
        book.trades.lose_stop(trade.symbol, event.at_ms)


def _keep_order(book: BookState, before: OrderState, order: OrderState) -> None:
    """Store a changed order; if it is an entry, update its reservation and its trade.

    A flat trade is finished once its entry is settled.
    """
    if order is before:
        return
    book.orders.keep(order)
    if order.role is not OrderRole.ENTRY:
        return
    book.permits.shrink(order)
    if order.settled:
        trade = book.trades.open.get(order.intent.symbol)
        if trade is not None:
            _settle(book, trade)


def _settle(book: BookState, trade: OpenTrade) -> None:
    """Finish the trade if it is flat, unless an entry in its symbol may add to it.

    Such an entry may fill, or has unrecorded fills. A trade without a fill stays.
    """
    if trade.quantity == 0 and trade.entered > 0 and not book.orders.has_live_entry(trade.symbol):
        book.trades.finish(trade)


# --- fills -----------------------------------------------------------------------


def _record_fill(book: BookState, event: e.FillRecorded) -> None:
    fill = event.fill
    if not book.reconciliation.note_fill(fill):
        return
    order = book.orders.find(fill.client_order_id) if fill.client_order_id else None
    trade = _trade_for(book, fill, order)
    if trade is None:
        book.account.note_unexplained(fill.at_ms)
        book.trades.leave_unassigned(fill, event.at_ms)
        _count_fill(book, fill, book.trades.open.get(fill.symbol))
    else:
        gain = portfolio.realized_gain(trade, fill) - fill.fee
        book.account.change_balance(fill.key, fill.at_ms, gain)
        _count_fill(book, fill, trade)
        role = order.role if order else None
        intended_at_ms = order.intent.intended_at_ms if order else 0
        _record_stop(book, trade, fill, order)
        trade = portfolio.apply_fill(trade, fill, role, intended_at_ms, event.at_ms)
        book.trades.reopen(trade)
    if order is not None:
        _keep_order(book, order, order_fold.apply_order_event(order, event))
    if trade is not None and book.trades.open.get(fill.symbol) is trade:
        _settle(book, trade)
    book.trades.attribute_late(fill.symbol)


def _trade_for(book: BookState, fill: FillReport, order: OrderState | None) -> OpenTrade | None:
    """Return the trade of a fill, or None. The first fill of an entry opens a trade.

    The opening is recorded as an entry in the recent activity, unless a part of the trade is
    published.
    """
    trade = book.trades.find_owner(fill, order)
    if trade is not None or fill.symbol in book.trades.open:
        return trade
    if order is None or order.plan is None:
        return None  # not an entry with a permit: reconciliation will find the position
    plan, trade_id = order.plan, order.intent.trade_id
    part = book.trades.next_part(trade_id)
    if part == 1:  # a late fill after the published result does not count as an entry
        book.recent_activity.record_entry(
            Entry(at_ms=fill.at_ms, strategy=plan.strategy, symbol=plan.symbol)
        )
    return portfolio.open_trade(plan, trade_id, fill.at_ms, part)


def _record_stop(
    book: BookState, trade: OpenTrade, fill: FillReport, order: OrderState | None
) -> None:
    """Record a stop-loss or liquidation fill, and its overshoot if there is a plan."""
    stopped = order is not None and order.role is OrderRole.STOP_LOSS
    if not stopped and fill.reason is not FillReason.LIQUIDATION:
        return
    book.recent_activity.record_stop_out(fill.symbol, fill.at_ms)
    trigger = order.intent.trigger_price if order is not None and stopped else None
    if distance := trade.planned_distance:
        stop = trade.stop_price if trigger is None else trigger
        beyond = max(ZERO, trade.side.loss(stop, fill.price))
        book.recent_activity.record_overshoot(
            Overshoot(at_ms=fill.at_ms, symbol=fill.symbol, multiple=beyond / distance)
        )


# --- money -----------------------------------------------------------------------


def _count_fill(book: BookState, fill: FillReport, trade: OpenTrade | None) -> None:
    """Count a fill as ``_count`` does.

    Args:
        trade: the trade of the fill, or one adopted since; None if the symbol has no trade.
    """
    bought = fill.signed
    paid = BalanceChange(
        at_ms=fill.at_ms,
        amount=-fill.fee,
        symbol=fill.symbol,
        units=bought * trade.contract_size if trade else ZERO,
        price=fill.price,
        contracts=ZERO if trade else bought,
    )
    _count(book, fill.key, paid)


def _count(book: BookState, key: str, paid: BalanceChange) -> None:
    """Store a fill or a payment; one of the open UTC day counts on that day.

    If its time lies between a midnight or a transfer and the account read from which the equity at
    that midnight or transfer was computed, that equity changes too.
    """
    book.payments[key] = paid
    forget_oldest(book.payments, SEEN_KEPT)
    book.day.count(paid)
    book.midnights.count(key, paid)
    book.transfers.count(key, paid)


def _record_income(book: BookState, event: e.IncomeRecorded) -> None:
    income = event.income
    if not book.reconciliation.note_income(income):
        return
    book.account.change_balance(income.income_id, income.at_ms, income.amount)
    transfer = income.kind is IncomeKind.TRANSFER
    paid = BalanceChange(at_ms=income.at_ms, amount=income.amount, transfer=transfer)
    _count(book, income.income_id, paid)
    if transfer:
        # A transfer recorded before the first equity snapshot needs no valuation, because that
        # equity includes it. One from before the payments that the book has cannot be valued.
        if book.account.marked_ms and income.at_ms >= book.day.from_ms - OVERLAP_MS:
            book.transfers.await_value(income)
        book.transfers.net_deposits += income.amount
    elif income.kind is IncomeKind.FUNDING:
        book.trades.add_funding(income)
    else:
        assert income.kind is IncomeKind.INSURANCE, income  # it belongs to no trade


def _publish(book: BookState, event: e.TradeClosed) -> None:
    book.trades.publish(event)
    book.gate.close_trade(event)


def _correct_result(book: BookState, event: ResultCorrected) -> None:
    book.trades.apply_correction(event)
    book.gate.correct_result(event)


def _record_equity(book: BookState, event: e.EquityRecorded) -> None:
    book.account.record_snapshot(event)
    book.day.record_snapshot(event)


def _open_day(book: BookState, event: e.DayOpened) -> None:
    opening = event.opening
    if opening is None:
        marks = group_by_symbol(event.marks)
        opening = book.equity_at_midnight(event.equity, event.at_ms, marks)
    else:
        book.midnights.keep(event, opening)
    book.day.open(event, opening, book.payments.values())
    from_ms = event.midnight_at_ms or day_start_ms(event.at_ms)
    # A transfer whose bars have not come within a day stays without a valuation.
    book.transfers.forget_unvalued(from_ms - DAY_MS)
    kept_ms = min((from_ms - OVERLAP_MS, *book.transfers.unvalued))
    book.payments = {k: p for k, p in book.payments.items() if p.at_ms >= kept_ms}


# --- reconciliation --------------------------------------------------------------


def _correct_position(book: BookState, event: e.PositionCorrected) -> None:
    for order in book.orders.of_symbol(event.symbol):
        if order.status.terminal:  # the correction replaces its missing fills
            _keep_order(book, order, attrs.evolve(order, reported=order.filled))
    book.account.note_unexplained(event.at_ms)
    book.trades.correct(event)


def _close_cycle(book: BookState, event: e.CycleClosed) -> None:
    book.reconciliation.close_cycle(event)
    if event.drift == 0:
        since_ms = book.fills_since_ms()
        book.reconciliation.forget_seen(since_ms)
        book.trades.forget_unattributed(since_ms)


HANDLERS: dict[type[e.Event], Callable[[BookState, Any], None]] = {
    e.RunStarted: _start_run,
    e.CycleClosed: _close_cycle,
    e.PermitGranted: lambda book, event: book.permits.grant(event),
    e.PermitConsumed: lambda book, event: book.permits.consume(event),
    e.PermitReleased: lambda book, event: book.permits.release(event),
    e.IntentRecorded: _record_intent,
    e.OrderAccepted: _change_order,
    e.OrderUnknown: _change_order,
    e.OrderRejected: _change_order,
    e.CancelRequested: _change_order,
    e.OrderClosed: _change_order,
    e.FillRecorded: _record_fill,
    e.StopConfirmed: lambda book, event: book.trades.confirm_stop(event),
    e.ProtectionLost: lambda book, event: book.trades.lose_stop(event.symbol, event.at_ms),
    e.IncomeRecorded: _record_income,
    e.TradeClosed: _publish,
    ResultCorrected: _correct_result,
    e.EquityRecorded: _record_equity,
    e.DayOpened: _open_day,
    DayCorrected: lambda book, event: book.midnights.apply_correction(event),
    TransferValued: lambda book, event: book.transfers.record_value(event),
    e.PositionAdopted: lambda book, event: book.trades.adopt(event),
    e.PositionCorrected: _correct_position,
    InstrumentChanged: _change_instrument,
    e.TradeRestated: lambda book, event: book.trades.restate(event),
    e.DriftFound: lambda book, event: book.reconciliation.find_drift(event),
    e.DriftExplained: lambda book, _: book.reconciliation.explain_drift(),
    e.StateChanged: lambda book, event: book.trading.change_state(event),
    StrategyDisabled: lambda book, event: book.trading.disable_strategy(event),
    StrategyResumed: lambda book, event: book.trading.resume_strategy(event),
    ShadowTradesOpened: lambda book, event: book.shadows.record_opened(event),
    ShadowTradesClosed: lambda book, event: book.shadows.record_closed(event),
    GateChanged: lambda book, event: book.gate.change(event),
}
"""Function that applies each kind of event. Kinds that are absent change no book."""
