"""The governor keeps all limits under any order of requests, fills and prices.

The ledger below knows limits and arithmetic from the product's description only: it shares no
code with sizing, exposure or rules. Every figure of it is a lower bound of the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kamou.core.book import events as e
from kamou.core.model import Intent, OrderRole, OrderStatus, Plan, Side
from kamou.core.risk.governor import review_entry
from kamou.core.risk.limits import RiskLimits
from kamou.core.risk.verdict import Approved
from tests.core.trading_cases import (
    INSTRUMENTS,
    NOON,
    D,
    Story,
    account,
    intent,
    mark,
    order_closed,
    plan,
    quote,
    review,
    venue_position,
)
from tests.simulation.example_counts import example_settings

# So many trades can be open together that the limits on all of them are reached.
LIMITS = RiskLimits(
    shock_move=D("0.05"), entries_per_strategy_hour=1_000, reentries_per_symbol_day=1_000
)
EQUITY = D(10_000)
MAJORS = ("BTCUSDT", "ETHUSDT")


@attrs.define
class Claim:
    """An approval: the quantity that may still fill, and the quantity that is held."""

    plan: Plan
    entry: Intent
    stop: Intent
    target: Intent  # exits fill as take-profits: a stop-out would begin the cooldown
    expires_at_ms: int
    sent: bool = False
    left: Decimal = D(0)
    held: Decimal = D(0)

    @property
    def money(self) -> Decimal:
        return (self.left + self.held) * D("0.1") * 100

    @property
    def risk(self) -> Decimal:
        """Loss from entry price to stop with the gap buffer, without costs."""
        distance = abs(100 - self.plan.stop_price)
        each = distance * (1 + LIMITS.gap_buffer_min)
        return (self.left + self.held) * D("0.1") * each


class GovernorMachine(RuleBasedStateMachine):
    """Requests for entries, their fills and exits in a market whose price is 100."""

    @initialize()
    def begin(self) -> None:
        self.story = Story()
        self.story.ready(str(EQUITY))
        self.claims: list[Claim] = []
        self.number = 0
        self.now_ms = NOON
        self.equity = EQUITY
        self.approved = 0

    def live(self) -> Iterator[Claim]:
        return (claim for claim in self.claims if claim.left + claim.held > 0)

    @rule(
        symbol=st.sampled_from(sorted(INSTRUMENTS)),
        side=st.sampled_from(list(Side)),
        quantity=st.sampled_from([1, 20, 60, 100, 140, 160]),
        stop=st.sampled_from(["0.5", "1", "2", "4"]),
        leverage=st.sampled_from([1, 5]),
    )
    def an_entry_is_asked_for(
        self, symbol: str, side: Side, quantity: int, stop: str, leverage: int
    ) -> None:
        self._ask(symbol, side, quantity, stop, leverage)

    def _ask(self, symbol: str, side: Side, quantity: int, stop: str, leverage: int) -> None:
        self.number += 1
        name = f"{self.now_ms}.mean_reversion.{symbol}.{self.number}"
        distance = D(stop) * side.sign
        units = quantity * D("0.1")
        asked = plan(
            symbol,
            side,
            permit_id=f"{name}.0",
            signal_id=name,
            quantity=D(quantity),
            stop_price=100 - distance,
            target_price=100 + 2 * distance,
            leverage=leverage,
            risk=D(0),  # the planner's own figures are wrong on purpose
            notional=D(0),
            planned_at_ms=self.now_ms,
            expires_at_ms=self.now_ms + 20_000,
        )
        held = {c.plan.symbol: c.held * c.plan.side.sign for c in self.live() if c.held}
        used = sum((c.held * 10 / c.plan.leverage for c in self.live()), D(0))
        verdict, event = review_entry(
            review(
                self.story.book,
                asked,
                limits=LIMITS,
                now_ms=self.now_ms,
                quote=quote(symbol, at_ms=self.now_ms),
                account=account(str(self.equity), at_ms=self.now_ms, margin_used=used),
                positions=tuple(venue_position(s, str(q)) for s, q in held.items()),
            )
        )
        self.story.say(event)
        if not isinstance(verdict, Approved):
            assert isinstance(event, e.PermitDenied)
            assert event.denials
            return
        assert isinstance(event, e.PermitGranted)
        assert self.now_ms < verdict.expires_at_ms <= asked.expires_at_ms
        assert all(c.plan.symbol != symbol for c in self.live()), "one trade per symbol"
        assert units * abs(distance) * (1 + LIMITS.gap_buffer_min) <= self.sizing_equity * D("0.01")
        self.approved += 1
        self.claims.append(
            Claim(
                plan=asked,
                entry=intent(OrderRole.ENTRY, asked),
                stop=intent(OrderRole.STOP_LOSS, asked),
                target=intent(OrderRole.TAKE_PROFIT, asked),
                expires_at_ms=verdict.expires_at_ms,
                left=D(quantity),
            )
        )
        self._check_limits(asked)

    @property
    def sizing_equity(self) -> Decimal:
        return self.equity

    def _check_limits(self, asked: Plan) -> None:
        """Check the hard limits at an approval, for positions and approvals together."""
        live = list(self.live())
        lost = max(D(0), EQUITY - self.equity)
        assert sum(c.risk for c in live) <= self.sizing_equity * D("0.04")
        assert sum(c.risk for c in live) + lost <= EQUITY * D("0.04"), (
            "the daily budget is exceeded"
        )
        for side in Side:
            alts = (c for c in live if c.plan.side is side and c.plan.symbol not in MAJORS)
            if asked.side is side and asked.symbol not in MAJORS:
                assert sum(c.risk for c in alts) <= self.sizing_equity * D("0.02")
        mine = sum(c.money for c in live if c.plan.symbol == asked.symbol)
        assert mine <= self.sizing_equity * D("0.15")
        assert sum(c.money for c in live) <= 3 * self.sizing_equity
        assert sum(c.money / c.plan.leverage for c in live) <= self.sizing_equity * D("0.8")
        net = sum((c.money * c.plan.side.sign for c in live), D(0))
        before = net - asked.quantity * 10 * asked.side.sign
        if abs(net) >= abs(before):
            assert abs(net) * LIMITS.shock_move <= EQUITY * D("0.04") - lost

    @rule(
        side=st.sampled_from(list(Side)),
        quantity=st.sampled_from([60, 100, 140]),
        stop=st.sampled_from(["1", "2", "4"]),
    )
    def every_symbol_is_asked_for_at_once(self, side: Side, quantity: int, stop: str) -> None:
        for symbol in sorted(INSTRUMENTS):
            self._ask(symbol, side, quantity, stop, 5)

    @rule(data=st.data())
    def an_entry_is_sent(self, data: st.DataObject) -> None:
        waiting = [c for c in self.live() if not c.sent and self.now_ms < c.expires_at_ms]
        if waiting:
            claim = data.draw(st.sampled_from(waiting))
            claim.sent = True
            for order in (claim.entry, claim.stop, claim.target):
                self.story.send(order, self.now_ms)
            self.story.say(
                e.PermitConsumed(
                    at_ms=self.now_ms,
                    permit_id=claim.plan.permit_id,
                    client_order_id=claim.entry.client_order_id,
                )
            )

    @rule(data=st.data(), share=st.integers(1, 200))
    def an_entry_fills(self, data: st.DataObject, share: int) -> None:
        sent = [c for c in self.live() if c.sent and c.left > 0]
        if sent:
            claim = data.draw(st.sampled_from(sent))
            quantity = min(D(share), claim.left)
            self.story.fill(claim.entry, str(quantity), "100", at_ms=self.now_ms)
            claim.left -= quantity
            claim.held += quantity

    @rule(data=st.data())
    def the_rest_of_an_entry_expires(self, data: st.DataObject) -> None:
        sent = [c for c in self.live() if c.sent and c.left > 0]
        if sent:
            claim = data.draw(st.sampled_from(sent))
            filled = str(claim.plan.quantity - claim.left)
            self.story.say(order_closed(claim.entry, OrderStatus.EXPIRED, filled))
            claim.left = D(0)

    @rule(data=st.data(), share=st.integers(1, 200))
    def a_position_is_reduced(self, data: st.DataObject, share: int) -> None:
        held = [c for c in self.live() if c.held > 0]
        if held:
            claim = data.draw(st.sampled_from(held))
            quantity = min(D(share), claim.held)
            self.story.fill(claim.target, str(quantity), "100", at_ms=self.now_ms)
            claim.held -= quantity

    @rule(seconds=st.sampled_from([0, 1, 10, 25, 40]))
    def time_passes_and_what_is_over_is_released(self, seconds: int) -> None:
        self.now_ms += seconds * 1000
        self.story.say(*self.story.book.pending_closures(self.now_ms))
        for permit_id, reason in self.story.book.releasable_permits(self.now_ms):
            claim = next(c for c in self.claims if c.plan.permit_id == permit_id)
            assert claim.held == 0, "an ended approval has an open position"
            assert claim.left == 0 or not claim.sent, (
                "the entry of an ended approval may still fill"
            )
            assert claim.left == 0 or self.now_ms >= claim.expires_at_ms, (
                "the entry of an ended approval may still be sent"
            )
            claim.left = D(0)
            self.story.say(e.PermitReleased(at_ms=self.now_ms, permit_id=permit_id, reason=reason))

    @rule(lost=st.integers(0, 120))
    def the_day_goes_badly(self, lost: int) -> None:
        self.equity = max(EQUITY - 600, self.equity - lost)
        self.story.say(mark(str(self.equity), self.now_ms))

    @invariant()
    def nothing_that_may_still_fill_is_unreserved(self) -> None:
        book = self.story.book
        for claim in self.live():
            reservation = book.permits.reservations.get(claim.plan.permit_id)
            if claim.left:
                assert reservation is not None
                assert reservation.remaining >= claim.left
            if claim.held:
                assert abs(book.trades.position(claim.plan.symbol)) == claim.held


TestApprovalsUnderAnyInterleavingKeepEveryLimit = GovernorMachine.TestCase
TestApprovalsUnderAnyInterleavingKeepEveryLimit.settings = example_settings(examples=60, steps=60)
