"""Account part of the position book: payments, UTC days and published results.

``core/book/position_book.py`` adds orders, fills and trades. ``forget_oldest`` bounds a dictionary.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs

from kamou.core.book import events as e
from kamou.core.book.attribution import attribute_funding, make_published_trade
from kamou.core.book.book_state import (
    OVERLAP_MS,
    BalanceChange,
    BookState,
    OpenedMidnight,
    ValuedTransfer,
    group_by_symbol,
)
from kamou.core.book.late_events import DayCorrected, ResultCorrected, TransferValued
from kamou.core.book.trades import OpenTrade
from kamou.core.day import DAY_MS, day_start_ms, utc_day
from kamou.core.model import ZERO, FillReport, Income

# Kept for late fills and payments, each: settled orders, results, funding payments without a trade,
# and symbols with fills without a trade.
CLOSED_KEPT = 1_000
TRANSFERS_KEPT = 100  # without a valuation, and as many whose valuation may still change
# Of each: keys of fills and of payments, so that none counts twice; balance changes; fills and
# payments of the day.
SEEN_KEPT = 20_000


@attrs.define(kw_only=True)
class AccountState(BookState):
    """``BookState`` that applies payments, account reads, days and published results."""

    def _change_balance(self, key: str, at_ms: int, amount: Decimal) -> None:
        """Keep a balance change unless it is older than the newest equity snapshot."""
        if at_ms >= self.marked_ms:
            self.balance_changes[key] = BalanceChange(at_ms=at_ms, amount=amount)
            forget_oldest(self.balance_changes, SEEN_KEPT)

    def _apply_income_recorded(self, event: e.IncomeRecorded) -> None:
        income = event.income
        if income.income_id in self.incomes_seen:
            return
        self.incomes_seen[income.income_id] = income.at_ms
        forget_oldest(self.incomes_seen, SEEN_KEPT)
        self._change_balance(income.income_id, income.at_ms, income.amount)
        transfer = income.kind == "transfer"
        paid = BalanceChange(at_ms=income.at_ms, amount=income.amount, transfer=transfer)
        self._pay(income.income_id, paid)
        if transfer:
            self._await_value(income)
            self.net_deposits += income.amount
        elif income.kind == "funding":
            self.unattributed[income.income_id] = income
            forget_oldest(self.unattributed, CLOSED_KEPT)
            self._attribute_late(income.symbol)

    def _await_value(self, transfer: Income) -> None:
        """Record that this transfer waits for a valuation, if one is needed and possible.

        A transfer recorded before the first equity snapshot needs none, because that equity
        includes it. Transfers of one millisecond share a valuation. A transfer from before the
        payments that the book still has cannot be valued.
        """
        known = transfer.at_ms >= self.day_from_ms - OVERLAP_MS
        if self.marked_ms and known and transfer.at_ms not in self.valued:
            self.unvalued[transfer.at_ms] = transfer.income_id
            forget_oldest(self.unvalued, TRANSFERS_KEPT)

    def _attribute_late(self, symbol: str) -> None:
        """Attribute waiting funding of ``symbol`` whose trade the book has now."""
        for key, income in tuple(self.unattributed.items()):
            if income.symbol == symbol and attribute_funding(
                income, self.trades, self.finished, self.published
            ):
                del self.unattributed[key]

    def _pay(self, key: str, paid: BalanceChange) -> None:
        """Count a fill or a payment on the UTC day of its own time.

        The known equity of a midnight or before a transfer changes too, if the payment lies between
        that time and the account read from which the equity was computed.
        """
        self.payments[key] = paid
        forget_oldest(self.payments, SEEN_KEPT)
        if self.day and paid.at_ms >= self.day_from_ms:
            # The payment belongs to today. The read that opened the day may have counted it.
            self.day_net_deposits += paid.amount if paid.transfer else ZERO
            if paid.at_ms <= self.day_opened_at_ms:
                self.day_equity -= paid.worth(self.day_marks)
        for day, opened in self.midnights.items():
            if opened.at_ms <= paid.at_ms <= opened.read_at_ms:
                equity = opened.equity - paid.worth(opened.marks)
                self.midnights[day] = attrs.evolve(opened, equity=equity, cause=key)
        for at_ms, valued in self.valued.items():
            if at_ms <= paid.at_ms <= valued.event.read_at_ms:
                equity = valued.equity - paid.worth(valued.marks)
                self.valued[at_ms] = attrs.evolve(valued, equity=equity, cause=key)

    def _pay_fill(self, fill: FillReport, trade: OpenTrade | None) -> None:
        """Count a fill as ``_pay`` does.

        ``trade`` owns the fill or was adopted since; None if the symbol has no trade.
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
        self._pay(fill.key, paid)

    def _apply_trade_closed(self, event: e.TradeClosed) -> None:
        for trade in tuple(self.finished.values()):
            if trade.result_id == event.trade_id:
                del self.finished[trade.trade_id]
                self.published[event.trade_id] = make_published_trade(trade, event)
                forget_oldest(self.published, CLOSED_KEPT)

    def _apply_result_corrected(self, event: ResultCorrected) -> None:
        trade = self.published.get(event.trade_id)
        if trade is not None:
            self.published[event.trade_id] = trade.apply_correction(event)

    def _apply_equity_recorded(self, event: e.EquityRecorded) -> None:
        self.equity = event.equity
        self.wallet_balance = event.wallet_balance
        self.unrealized_pnl = event.unrealized_pnl
        self.margin_used = event.margin_used
        self.open_risk = event.open_risk
        self.marked_ms = event.at_ms
        if utc_day(event.at_ms) == self.day:
            self.day_last_ms, self.day_last_equity = event.at_ms, event.equity
        old = [key for key, c in self.balance_changes.items() if c.at_ms < event.at_ms]
        for key in old:
            del self.balance_changes[key]

    def _apply_day_opened(self, event: e.DayOpened) -> None:
        self.day = event.day
        self.day_opened_at_ms = event.at_ms
        self.day_last_ms, self.day_last_equity = event.at_ms, event.equity
        counted_ms = from_ms = event.midnight_at_ms or day_start_ms(event.at_ms)
        self.day_marks = group_by_symbol(event.marks)
        if event.opening is None:
            self.day_equity = self.equity_at_midnight(event.equity, event.at_ms, self.day_marks)
        else:
            self.day_equity = event.opening
            self._keep_midnight(event, event.opening)
            if not event.at_midnight:  # ``opening`` includes all payments before the read
                counted_ms = event.at_ms + 1
        self.day_from_ms = from_ms if event.at_midnight else counted_ms
        if self.day_equity <= 0:  # all equity was deposited since: the day begins with this read
            self.day_equity, counted_ms = event.equity, event.at_ms + 1
        # A transfer whose bars have not come within a day stays without a valuation.
        self.unvalued = {at: of for at, of in self.unvalued.items() if at >= from_ms - DAY_MS}
        kept_ms = min((from_ms - OVERLAP_MS, *self.unvalued))
        self.payments = {k: p for k, p in self.payments.items() if p.at_ms >= kept_ms}
        later = (p for p in self.payments.values() if p.at_ms >= counted_ms)
        self.day_net_deposits = sum((p.amount for p in later if p.transfer), ZERO)

    def _keep_midnight(self, event: e.DayOpened, opening: Decimal) -> None:
        """Keep one account read's midnights, which late fills or payments may correct."""
        kept = {d: m for d, m in self.midnights.items() if m.read_at_ms == event.at_ms}
        if event.at_midnight:
            kept[event.day] = OpenedMidnight(
                at_ms=event.midnight_at_ms,
                read_at_ms=event.at_ms,
                equity=opening,
                published=opening,
                marks=group_by_symbol(event.marks),
            )
        self.midnights = kept

    def _apply_transfer_valued(self, event: TransferValued) -> None:
        self.unvalued.pop(event.transfer_at_ms, None)
        self.valued[event.transfer_at_ms] = ValuedTransfer(
            event=event, equity=event.equity, marks=group_by_symbol(event.marks)
        )
        forget_oldest(self.valued, TRANSFERS_KEPT)

    def _apply_day_corrected(self, event: DayCorrected) -> None:
        opened = self.midnights.get(event.day)
        if opened is not None:
            self.midnights[event.day] = attrs.evolve(
                opened, published=event.equity, corrections=event.number
            )


def forget_oldest(items: dict[Any, Any], kept: int) -> None:
    """Delete the oldest items until at most ``kept`` are left."""
    while len(items) > kept:
        del items[next(iter(items))]
