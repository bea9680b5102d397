"""The position book equals a ledger under any order of entries, exits and restarts."""

from __future__ import annotations

from decimal import Decimal

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.kinds import FillSource
from kamou.core.model import FillReport, Intent, OrderRole, OrderStatus, Side
from tests.core.trading_cases import (
    DAY,
    NOON,
    D,
    closed_cycle,
    fill,
    income,
    intent,
    order_closed,
    plan,
)
from tests.simulation.example_counts import example_settings

SYMBOLS = ("SOLUSDT", "XRPUSDT", "ADAUSDT")
SIZE = 10


@attrs.define
class Account:
    """Contracts and money of one trade, added up apart from the position book."""

    entry: Intent
    exits: dict[OrderRole, Intent]
    sign: int
    held: Decimal = D(0)
    entered: Decimal = D(0)
    realized_or_spent: Decimal = D(0)  # minus what was paid for contracts, plus what they brought
    fees: Decimal = D(0)
    funding: Decimal = D(0)
    entry_over: bool = False


class BookMachine(RuleBasedStateMachine):
    """Events of at most one trade per symbol at a time, as the governor allows."""

    @initialize()
    def begin(self) -> None:
        self.book = PositionBook()
        self.told: list[e.Event] = []
        self.fills: list[e.FillRecorded] = []
        self.live: dict[str, Account] = {}
        self.published: list[tuple[e.TradeClosed, Account]] = []
        self.over: dict[str, Account] = {}  # flat, by trade id
        self.number = 0
        self.now_ms = NOON
        self.say(e.DayOpened(at_ms=NOON - NOON % DAY, day="2024-01-01", equity=D(10_000)))

    def say(self, *events: e.Event) -> None:
        for event in events:
            self.told.append(event)
            self.book.apply(len(self.told), event)

    @rule(symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(list(Side)))
    def an_entry_is_permitted_and_sent(self, symbol: str, side: Side) -> None:
        if symbol in self.live:
            return
        self.number += 1
        name = f"{NOON}.{self.number}.{symbol}"
        of = plan(symbol, side, permit_id=f"{name}.0", signal_id=name, quantity=D(SIZE))
        entry = intent(OrderRole.ENTRY, of)
        exits = {
            role: intent(role, of)
            for role in (OrderRole.STOP_LOSS, OrderRole.TAKE_PROFIT, OrderRole.EXIT)
        }
        self.say(
            e.PermitGranted(
                at_ms=self.now_ms,
                permit_id=of.permit_id,
                plan=of,
                figures=(),
                expires_at_ms=of.expires_at_ms,
            ),
            *(e.IntentRecorded(at_ms=self.now_ms, intent=i) for i in (entry, *exits.values())),
            e.PermitConsumed(
                at_ms=self.now_ms, permit_id=of.permit_id, client_order_id=entry.client_order_id
            ),
        )
        self.live[symbol] = Account(entry=entry, exits=exits, sign=side.sign)

    def fill(self, account: Account, order: Intent, quantity: Decimal, price: int) -> None:
        self.now_ms += 1
        done: FillReport = fill(order, str(quantity), str(price), at_ms=self.now_ms)
        event = e.FillRecorded(at_ms=self.now_ms, fill=done, source=FillSource.STREAM)
        self.fills.append(event)
        self.say(event)
        direction = 1 if order.role is OrderRole.ENTRY else -1
        account.held += direction * quantity
        account.entered += quantity if direction > 0 else 0
        account.realized_or_spent -= direction * account.sign * quantity * price * D("0.1")
        account.fees += done.fee
        self._finish(order.symbol, account)

    def _finish(self, symbol: str, account: Account) -> None:
        if account.entered == SIZE:
            account.entry_over = True
        if account.entry_over and account.held == 0 and self.live.get(symbol) is account:
            del self.live[symbol]
            if account.entered:
                self.over[account.entry.trade_id] = account

    @rule(data=st.data(), share=st.integers(1, SIZE), price=st.integers(95, 105))
    def an_entry_fills(self, data: st.DataObject, share: int, price: int) -> None:
        open_ = [a for a in self.live.values() if not a.entry_over]
        if open_:
            account = data.draw(st.sampled_from(open_))
            self.fill(account, account.entry, min(D(share), SIZE - account.entered), price)

    @rule(
        data=st.data(),
        role=st.sampled_from([OrderRole.STOP_LOSS, OrderRole.TAKE_PROFIT, OrderRole.EXIT]),
        share=st.integers(1, SIZE),
        price=st.integers(90, 110),
    )
    def an_exit_fills(self, data: st.DataObject, role: OrderRole, share: int, price: int) -> None:
        held = [a for a in self.live.values() if a.held > 0]
        if held:
            account = data.draw(st.sampled_from(held))
            self.fill(account, account.exits[role], min(D(share), account.held), price)

    @rule(data=st.data())
    def what_is_left_of_an_entry_expires(self, data: st.DataObject) -> None:
        open_ = {s: a for s, a in self.live.items() if not a.entry_over}
        if open_:
            symbol = data.draw(st.sampled_from(sorted(open_)))
            account = open_[symbol]
            self.say(order_closed(account.entry, OrderStatus.EXPIRED, str(account.entered)))
            account.entry_over = True
            self._finish(symbol, account)

    @rule(data=st.data())
    def a_fill_is_told_twice(self, data: st.DataObject) -> None:
        """Apply a fill again; the book stays as it was."""
        if self.fills:
            before = self.book.dump()
            again = self.book.fork()
            again.apply(again.seq + 1, data.draw(st.sampled_from(self.fills)))
            again.seq -= 1
            assert again.dump() == before

    @rule(data=st.data(), amount=st.integers(-5, 5))
    def funding_is_settled(self, data: st.DataObject, amount: int) -> None:
        held = {s: a for s, a in self.live.items() if a.held > 0}
        if held:
            symbol = data.draw(st.sampled_from(sorted(held)))
            paid = income("funding", str(amount), self.now_ms, symbol)
            self.say(e.IncomeRecorded(at_ms=self.now_ms, income=paid))
            held[symbol].funding += amount

    @rule()
    def flat_trades_are_published_and_permits_released(self) -> None:
        closures = self.book.pending_closures(self.now_ms)
        for event in closures:
            if isinstance(event, e.TradeClosed):
                self.published.append((event, self.over.pop(event.trade_id)))
        self.say(*closures)
        self.say(
            *(
                e.PermitReleased(at_ms=self.now_ms, permit_id=permit, reason=why)
                for permit, why in self.book.releasable_permits(self.now_ms)
            )
        )

    @rule(minutes=st.sampled_from([1, 10, 60]))
    def a_cycle_closes_without_drift(self, minutes: int) -> None:
        self.now_ms += minutes * 60_000
        self.say(closed_cycle(self.now_ms))
        since = self.book.fills_since_ms()
        self.fills = [event for event in self.fills if event.fill.at_ms >= since]

    @rule()
    def the_process_starts_anew_from_a_snapshot(self) -> None:
        before = self.book
        self.book = PositionBook.load(before.dump())
        assert self.book == before

    @invariant()
    def positions_are_the_sum_of_the_fills(self) -> None:
        ours = {symbol: trade.signed for symbol, trade in self.book.trades.open.items()}
        theirs = {s: a.sign * a.held for s, a in self.live.items() if a.entered}
        assert ours == theirs

    @invariant()
    def what_may_still_fill_is_reserved_and_no_more(self) -> None:
        reserved = {
            r.plan.symbol: r.remaining
            for r in self.book.permits.reservations.values()
            if r.remaining > 0
        }
        assert reserved == {s: SIZE - a.entered for s, a in self.live.items() if not a.entry_over}

    @invariant()
    def published_trades_close_to_the_cent(self) -> None:
        for event, account in self.published:
            assert abs(event.pnl_gross - account.realized_or_spent) < D("0.000001")
            assert event.fees == account.fees
            assert event.funding == account.funding
            assert abs(event.pnl_net - (event.pnl_gross - event.fees + event.funding)) < D("1e-6")
        self.published.clear()

    def teardown(self) -> None:
        if hasattr(self, "told"):
            whole = PositionBook()
            whole.apply_all(enumerate(self.told, 1))
            assert whole.dump() == self.book.dump()


TestABookAgreesWithALedgerThatOnlyAddsUp = BookMachine.TestCase
TestABookAgreesWithALedgerThatOnlyAddsUp.settings = example_settings(examples=80, steps=40)
