"""An order under venue reports that are duplicated, late and out of order."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kamou.core.book import events as e
from kamou.core.book.orders import NEXT, OrderState, apply_order_event, open_order
from kamou.core.kinds import FillSource
from kamou.core.model import OrderRole, OrderStatus
from tests.core.trading_cases import NOON, D, fill, intent, plan
from tests.simulation.example_counts import example_settings

QUANTITY = 10
ENDS = (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)


class OrderMachine(RuleBasedStateMachine):
    """Reports of one order, and a model of its fills and largest reported quantity."""

    @initialize(role=st.sampled_from(list(OrderRole)))
    def send(self, role: OrderRole) -> None:
        self.intent = intent(role, plan(quantity=D(QUANTITY)))
        self.order: OrderState = open_order(self.intent, NOON)
        self.now_ms = NOON
        self.filled = D(0)
        self.value = D(0)
        self.reported = D(0)
        self.said: list[e.Event] = []

    def tell(self, event: e.Event) -> None:
        before = self.order
        self.order = apply_order_event(before, event)
        if self.order.status is not before.status:
            assert self.order.status in NEXT[before.status]
            assert not before.status.terminal, "a terminal order changed its state"
            assert self.order.changed_at_ms == event.at_ms
        if not isinstance(event, e.FillRecorded):
            assert self.order.filled == before.filled, (
                "an event without a fill changed the filled quantity"
            )
            self.said.append(event)

    def time(self) -> int:
        self.now_ms += 1
        return self.now_ms

    @rule(venue_order_id=st.sampled_from(["", "v1"]))
    def acknowledged(self, venue_order_id: str) -> None:
        name = self.intent.client_order_id
        self.tell(
            e.OrderAccepted(at_ms=self.time(), client_order_id=name, venue_order_id=venue_order_id)
        )
        assert self.order.status not in (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)

    @rule()
    def no_answer(self) -> None:
        before = self.order.status
        name = self.intent.client_order_id
        self.tell(e.OrderUnknown(at_ms=self.time(), client_order_id=name, reason="time-out"))
        if before is not OrderStatus.SUBMITTED:
            assert self.order.status is before, "the order lost a state that the venue had reported"

    @rule()
    def cancel_requested(self) -> None:
        name = self.intent.client_order_id
        self.tell(e.CancelRequested(at_ms=self.time(), client_order_id=name, reason="over"))
        assert self.order.status.terminal or self.order.status is OrderStatus.PENDING_CANCEL

    @rule()
    def rejected(self) -> None:
        name = self.intent.client_order_id
        self.tell(e.OrderRejected(at_ms=self.time(), client_order_id=name, code="NO", reason=""))
        self.reported = max(self.reported, self.filled)
        assert self.order.status.terminal

    @rule(status=st.sampled_from(ENDS), filled=st.integers(0, QUANTITY))
    def closed(self, status: OrderStatus, filled: int) -> None:
        name = self.intent.client_order_id
        self.tell(
            e.OrderClosed(
                at_ms=self.time(),
                client_order_id=name,
                status=status,
                filled=D(filled),
                reason="venue",
            )
        )
        self.reported = max(self.reported, D(filled))
        assert self.order.status.terminal

    @rule(share=st.integers(1, QUANTITY), price=st.integers(90, 110))
    def a_fill(self, share: int, price: int) -> None:
        quantity = min(D(share), QUANTITY - self.filled)
        if quantity <= 0:
            return
        done = fill(self.intent, str(quantity), str(price), at_ms=self.time())
        self.filled += quantity
        self.value += quantity * price
        self.tell(e.FillRecorded(at_ms=done.at_ms, fill=done, source=FillSource.STREAM))
        if self.filled == QUANTITY:
            assert self.order.status.terminal

    @rule(data=st.data())
    def told_again(self, data: st.DataObject) -> None:
        if not self.said:
            return
        event = data.draw(st.sampled_from(self.said))
        once = apply_order_event(self.order, event)
        assert apply_order_event(once, event) == once
        self.tell(event)

    @invariant()
    def it_adds_up(self) -> None:
        order = self.order
        assert (order.filled, order.filled_value) == (self.filled, self.value)
        assert Decimal(0) <= order.remaining <= QUANTITY
        assert order.settled == (order.status.terminal and order.filled >= order.reported)
        if order.status.terminal:
            assert order.reported >= self.reported, "nothing that the venue reported is lost"
            assert order.remaining == max(D(0), order.reported - order.filled)
        if order.status is OrderStatus.PARTIALLY_FILLED:
            assert 0 < order.filled < QUANTITY


TestAnOrderUnderAnySequenceOfEventsAddsUp = OrderMachine.TestCase
TestAnOrderUnderAnySequenceOfEventsAddsUp.settings = example_settings(examples=60, steps=25)
