"""Resting entries in reconciliation: their stops, their late fills, and their deadline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.model import Intent, OrderReport, OrderRole, OrderStatus, Side, TimeInForce
from kamou.core.reconciliation.protection import Action, CancelOrder, PlaceStop, protect
from kamou.core.risk.limits import RiskLimits
from tests.core.trading_cases import (
    NOON,
    D,
    Story,
    fill,
    intent,
    order_closed,
    plan,
    venue_order,
    venue_position,
)
from tests.core.venue_views import NEXT_MS, kinds, look, run, run_after_wait

LIMITS = RiskLimits()
REST_MS = 400_000
PLAN = plan(rest_ms=REST_MS)
ENTRY = intent(OrderRole.ENTRY, PLAN, time_in_force=TimeInForce.GTC)


def resting(filled: int = 0) -> Story:
    story = Story()
    story.ready()
    story.grant(PLAN)
    story.send(ENTRY)
    name = ENTRY.client_order_id
    story.say(e.OrderAccepted(at_ms=NOON, client_order_id=name, venue_order_id="v1"))
    if filled:
        story.fill(ENTRY, str(filled), "100")
    return story


def stop(quantity: int) -> Intent:
    return intent(OrderRole.STOP_LOSS, PLAN, f"stop of {quantity}", quantity=D(quantity))


def actions(story: Story, *listed: OrderReport) -> tuple[Action, ...]:
    trade, orders = story.book.trades.open["SOLUSDT"], story.book.orders.of_symbol("SOLUSDT")
    return protect(trade, orders, listed, limits=LIMITS, now_ms=NOON + 1)


@given(st.integers(1, 99), st.integers(1, 100), st.booleans())
def test_a_stop_is_made_smaller_only_after_the_entry_has_ended(
    filled: int, covered: int, ended: bool
) -> None:
    """Until then the next fill would find a stop that does not cover it."""
    story = resting(filled)
    order = story.send(stop(covered))
    if ended:
        story.say(order_closed(ENTRY, OrderStatus.CANCELED, str(filled)))
    found = actions(story, venue_order(order))
    placed = [each.quantity for each in found if isinstance(each, PlaceStop)]
    if covered >= filled:
        assert placed == ([D(filled)] if ended and covered > filled else [])
    else:
        assert placed in ([D(filled)], [])  # it waits for a stop that covers the position


@given(st.integers(1, 99), st.sets(st.integers(1, 100), min_size=2, max_size=3))
def test_of_several_stops_that_which_covers_most_of_a_resting_entry_stays(
    filled: int, sizes: set[int]
) -> None:
    story = resting(filled)
    orders = {story.send(stop(size)).client_order_id: size for size in sorted(sizes)}
    listed = [venue_order(o.intent) for o in story.book.orders.unsettled.values()]
    found = actions(story, *(o for o in listed if o.client_order_id in orders))
    canceled = {orders[each.client_order_id] for each in found if isinstance(each, CancelOrder)}
    if max(sizes) >= filled:
        assert canceled == sizes - {max(sizes)}


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(("more", "explained"), [(1, True), (60, True), (61, False), (-1, False)])
def test_fills_that_no_list_has_yet_explain_a_position_up_to_the_rest_of_the_entry(
    side: Side, more: int, explained: bool
) -> None:
    of = plan(rest_ms=REST_MS, side=side)
    entry = intent(OrderRole.ENTRY, of, time_in_force=TimeInForce.GTC)
    story = Story()
    story.ready()
    story.grant(of)
    story.send(entry)
    story.fill(entry, "40", "100")
    listed = (venue_order(entry),)
    held = (venue_position("SOLUSDT", str((40 + more) * side.sign)),)
    found = run_after_wait(story, look(positions=held, open_orders=listed))
    assert ("PositionCorrected" in kinds(story.events)) is not explained
    assert bool(found.deferred) is explained


def test_a_position_without_a_trade_is_not_adopted_while_its_entry_may_have_filled() -> None:
    story = resting()
    held = (venue_position("SOLUSDT", "100"),)
    found = run(story, look(positions=held, open_orders=(venue_order(ENTRY),)))
    assert "PositionAdopted" not in kinds(found.repairs)
    assert found.deferred == ("SOLUSDT",)
    known = fill(ENTRY, "100", "100", at_ms=NOON + 60_000)
    later = run(
        story, look(positions=held, fills=(known,)), now_ms=NEXT_MS, cycle_at_ms=NEXT_MS + 1
    )
    assert "PositionAdopted" not in kinds(later.repairs)
    assert story.book.trades.position("SOLUSDT") == D(100)


def test_a_reconciliation_cancels_a_resting_entry_at_its_deadline_not_at_its_permits_expiry() -> (
    None
):
    view = look(open_orders=(venue_order(ENTRY),))
    assert PLAN.expires_at_ms < NOON + REST_MS - 1
    assert run(resting(), view, now_ms=NOON + REST_MS - 1).orphan_orders == ()
    (late,) = run(resting(), view, now_ms=NOON + REST_MS).orphan_orders
    assert late.client_order_id == ENTRY.client_order_id
