"""Orders that the reconciler queries at the venue, one by one."""

from __future__ import annotations

from kamou.core.model import OrderReport, OrderRole, OrderStatus
from kamou.core.reconciliation.unresolved_orders import unresolved_orders
from tests.core.trading_cases import NOON, Story, intent, order_closed, venue_order
from tests.core.venue_views import NEXT_MS, PLAN, STOP, look

EXIT = intent(OrderRole.EXIT, PLAN)


def to_query(story: Story, queried: tuple[OrderReport, ...] = ()) -> tuple[str, ...]:
    return unresolved_orders(story.book, look(queried=queried), 5_000, NEXT_MS)


def test_an_order_that_was_queried_just_now_is_not_queried_again(story: Story) -> None:
    story.send(EXIT, NOON)
    assert to_query(story) == (EXIT.client_order_id,)
    assert to_query(story, (venue_order(EXIT),)) == ()
    assert to_query(story, (venue_order(STOP),)) == (EXIT.client_order_id,)


def test_an_order_that_ended_is_not_queried_while_its_fills_are_awaited(story: Story) -> None:
    """The order's outcome is known; the venue's list of fills has the missing fills."""
    story.send(EXIT, NOON)
    story.say(order_closed(EXIT, OrderStatus.FILLED, "100"))
    assert EXIT.client_order_id in story.book.orders.unsettled
    assert to_query(story) == ()
