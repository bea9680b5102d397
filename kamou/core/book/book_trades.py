"""Trades of the position book, and fills and funding that belong to none yet."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain

import attrs

from kamou.core.book import trades as portfolio
from kamou.core.book.attribution import (
    PublishedTrade,
    find_owner,
    make_correction,
    make_published_trade,
)
from kamou.core.book.events import (
    PositionAdopted,
    PositionCorrected,
    StopConfirmed,
    TradeClosed,
    TradeRestated,
)
from kamou.core.book.late_events import ResultCorrected
from kamou.core.book.orders import OrderState
from kamou.core.book.retention import CLOSED_KEPT, OVERLAP_MS, forget_oldest
from kamou.core.book.trades import ConfirmedStop, OpenTrade
from kamou.core.model import ZERO, FillReport, Income

ADOPTED_AFTER_MS = 5_000  # clock tolerance: fills have the venue's time, adoptions this machine's


@attrs.frozen(kw_only=True)
class Unassigned:
    """Sum of the fills of one symbol that belong to no trade."""

    quantity: Decimal  # contracts, signed: sum of the fills
    known_ms: int  # time of the newest record, by this machine's clock


@attrs.define(kw_only=True)
class BookTrades:
    """Open, finished and published trades, and fills and funding without a trade."""

    open: dict[str, OpenTrade] = attrs.field(factory=dict)  # by symbol
    finished: dict[str, OpenTrade] = attrs.field(factory=dict)  # flat, unpublished, by trade id
    published: dict[str, PublishedTrade] = attrs.field(factory=dict)  # the newest, by result id
    uncorrected: list[str] = attrs.field(factory=list)  # result ids that lack a late payment
    unassigned: dict[str, Unassigned] = attrs.field(factory=dict)  # by symbol, until a trade has it
    unattributed: dict[str, Income] = attrs.field(factory=dict)  # funding without a trade, by id

    def position(self, symbol: str) -> Decimal:
        """Return the open contracts of a symbol, signed; 0 without a position."""
        trade = self.open.get(symbol)
        return trade.signed if trade else ZERO

    # --- fills -------------------------------------------------------------------

    def find_owner(self, fill: FillReport, order: OrderState | None) -> OpenTrade | None:
        """Return the trade that a fill changes, or None.

        A fill changes the open trade of its symbol. Without one, a late fill changes the finished
        trade of its order. A fill from before the adoption of the open trade changes none.

        Args:
            order: the order of the fill; None if the book does not have it.
        """
        trade = self.open.get(fill.symbol)
        if (
            trade is not None
            and trade.adopted
            and fill.at_ms < trade.opened_at_ms - ADOPTED_AFTER_MS
        ):
            return None  # listed late: the adopted position includes this fill
        if trade is not None or order is None:
            return trade  # one position per symbol, so every fill there changes it
        return self.finished.get(order.intent.trade_id)  # a late fill of a trade not yet published

    def next_part(self, trade_id: str) -> int:
        """Return the number of the part of a trade that a fill opens.

        The number is 1 if the book has no published part of the trade.
        """
        part = 1
        while portfolio.result_id(trade_id, part) in self.published:
            part += 1
        return part

    def reopen(self, trade: OpenTrade) -> None:
        """Store a trade after a fill as the open one of its symbol.

        The trade is no longer finished. The symbol's unassigned contracts are dropped.
        """
        self.finished.pop(trade.trade_id, None)
        self.open[trade.symbol] = trade
        self.unassigned.pop(trade.symbol, None)

    def finish(self, trade: OpenTrade) -> None:
        """Move a flat trade to the finished ones."""
        self.open.pop(trade.symbol, None)
        self.finished[trade.trade_id] = trade

    def leave_unassigned(self, fill: FillReport, known_ms: int) -> None:
        """Keep the contracts of a fill without a trade, if its symbol has no open trade.

        They are added to those of the previous such fill, if that one was recorded less than
        ``OVERLAP_MS`` ago.

        Args:
            known_ms: time of the record, by this machine's clock.
        """
        symbol = fill.symbol
        if symbol in self.open:
            return  # listed late: a trade that was adopted since includes this fill
        before = self.unassigned.pop(symbol, None)
        quantity = fill.signed
        if before is not None and known_ms - before.known_ms < OVERLAP_MS:
            quantity += before.quantity
        self.unassigned[symbol] = Unassigned(quantity=quantity, known_ms=known_ms)
        forget_oldest(self.unassigned, CLOSED_KEPT)

    # --- protection --------------------------------------------------------------

    def confirm_stop(self, event: StopConfirmed) -> None:
        """Store the confirmed stop of the symbol's open trade, if there is one."""
        trade = self.open.get(event.symbol)
        if trade is not None:
            stop = ConfirmedStop(
                client_order_id=event.client_order_id,
                quantity=event.quantity,
                trigger_price=event.trigger_price,
                at_ms=event.at_ms,
            )
            self.open[event.symbol] = portfolio.confirm_stop(trade, stop)

    def lose_stop(self, symbol: str, at_ms: int) -> None:
        """Remove the confirmed stop of the symbol's open trade, if there is one."""
        trade = self.open.get(symbol)
        if trade is not None:
            self.open[symbol] = portfolio.lose_stop(trade, at_ms)

    # --- reconciliation ----------------------------------------------------------

    def adopt(self, event: PositionAdopted) -> None:
        """Store an adopted position as a trade; drop the symbol's unassigned contracts.

        Does nothing if ``unless_held`` is set and the book already has the position.
        """
        adopted = portfolio.adopt_trade(event)
        if event.unless_held and self.position(event.symbol) == adopted.signed:
            return  # fills committed during the venue read explain the position (seed 930009)
        self.open[event.symbol] = adopted
        self.unassigned.pop(event.symbol, None)

    def correct(self, event: PositionCorrected) -> None:
        """Correct the symbol's open trade to the venue's quantity; 0 finishes it.

        Does nothing without an open trade.
        """
        trade = self.open.get(event.symbol)
        if trade is None:
            return
        quantity = event.quantity * trade.side.sign
        trade = portfolio.correct_trade(trade, quantity, event.price, event.at_ms)
        self.open[event.symbol] = trade
        if quantity == 0:
            self.finish(trade)

    def restate(self, event: TradeRestated) -> None:
        """Restate the event's trade in its new contract specification, if it is open."""
        trade = self.open.get(event.symbol)
        if trade is not None and trade.trade_id == event.trade_id:
            self.open[event.symbol] = portfolio.restate_trade(trade, event)

    # --- results and late funding ------------------------------------------------

    def publish(self, event: TradeClosed) -> None:
        """Move the trade of a committed result to the published ones."""
        for trade in tuple(self.finished.values()):
            if trade.result_id == event.trade_id:
                del self.finished[trade.trade_id]
                self._store_published(make_published_trade(trade, event))
                forget_oldest(self.published, CLOSED_KEPT)

    def apply_correction(self, event: ResultCorrected) -> None:
        """Store the committed correction of a published result, if the book has it."""
        trade = self.published.get(event.trade_id)
        if trade is not None:
            self._store_published(trade.apply_correction(event))

    def add_funding(self, income: Income) -> None:
        """Attribute a funding payment, or keep it until its trade is known."""
        self.unattributed[income.income_id] = income
        forget_oldest(self.unattributed, CLOSED_KEPT)
        self.attribute_late(income.symbol)

    def attribute_late(self, symbol: str) -> None:
        """Attribute the kept funding of ``symbol`` whose trade the book has now."""
        for key, income in tuple(self.unattributed.items()):
            if income.symbol == symbol and self._attribute(income):
                del self.unattributed[key]

    def forget_unattributed(self, since_ms: int) -> None:
        """Drop kept funding before ``since_ms``; no later read can show its trade."""
        for key in [k for k, paid in self.unattributed.items() if paid.at_ms < since_ms]:
            del self.unattributed[key]

    def pending_corrections(self, at_ms: int) -> tuple[ResultCorrected, ...]:
        """Return a correction of each published result that late funding has changed."""
        if not self.uncorrected:
            return ()
        late = (each for key, each in self.published.items() if key in self.uncorrected)
        made = (make_correction(each, at_ms) for each in late)
        return tuple(event for event in made if event is not None)

    def _attribute(self, income: Income) -> bool:
        """Add a funding payment to the trade that ``find_owner`` determines; False: none."""
        trades = chain(self.finished.values(), self.open.values())
        known: chain[OpenTrade | PublishedTrade] = chain(self.published.values(), trades)
        owner = find_owner(income, known)
        if owner is None:
            return False
        if isinstance(owner, PublishedTrade):
            self._store_published(owner.add_funding(income.amount))
            return True
        paid = attrs.evolve(owner, funding=owner.funding + income.amount)
        if self.open.get(owner.symbol) is owner:
            self.open[owner.symbol] = paid
        else:
            self.finished[owner.trade_id] = paid
        return True

    def _store_published(self, trade: PublishedTrade) -> None:
        """Store a published trade, and whether its published result lacks a late payment."""
        result_id = trade.result_id
        self.published[result_id] = trade
        if trade.funding != trade.funding_published:
            if result_id not in self.uncorrected:
                self.uncorrected.append(result_id)
        elif result_id in self.uncorrected:
            self.uncorrected.remove(result_id)
