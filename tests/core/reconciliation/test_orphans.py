"""Orphan orders: Kamou's stops and take-profits without a trade."""

from __future__ import annotations

from kamou.core.book import events as e
from kamou.core.model import OrderRole, OrderStatus
from kamou.core.reconciliation.protection import cancel_orphans
from tests.core.reconciliation.test_protection import PLAN, STOP, confirmed
from tests.core.trading_cases import NOON, Story, intent, order_closed


def test_orders_of_a_trade_that_is_over_are_orphan_orders() -> None:
    story = confirmed()
    target = story.send(intent(OrderRole.TAKE_PROFIT, PLAN))
    assert cancel_orphans(story.book.trades.open, story.book.orders.of_symbol("SOLUSDT")) == ()
    story.fill(STOP, "100", "97")
    orders = story.book.orders.of_symbol("SOLUSDT")
    (orphan,) = cancel_orphans(story.book.trades.open, orders)
    assert orphan.client_order_id == target.client_order_id
    story.say(e.CancelRequested(at_ms=NOON, client_order_id=target.client_order_id, reason=""))
    assert cancel_orphans({}, story.book.orders.of_symbol("SOLUSDT")) == ()


def test_orders_attached_to_an_entry_that_may_still_fill_are_not_orphan_orders() -> None:
    story = Story()
    story.ready()
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    story.send(STOP)
    assert cancel_orphans({}, story.book.orders.of_symbol("SOLUSDT")) == ()
    story.say(order_closed(entry, OrderStatus.EXPIRED))
    assert len(cancel_orphans({}, story.book.orders.of_symbol("SOLUSDT"))) == 1


def test_a_terminal_order_without_recorded_fills_is_not_an_orphan_order() -> None:
    story = Story()
    story.ready()
    stop = story.send(STOP)
    assert [
        o.client_order_id for o in cancel_orphans({}, story.book.orders.unsettled.values())
    ] == [stop.client_order_id]
    story.say(order_closed(stop, OrderStatus.FILLED, "100"))
    assert stop.client_order_id in story.book.orders.unsettled
    assert cancel_orphans({}, story.book.orders.unsettled.values()) == ()
