"""Kamou's reduce-only orders that the book does not have and that may protect."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from kamou.core.book.events import CancelRequested
from kamou.core.model import OrderReport, OrderRole, PositionReport
from kamou.core.reconciliation.orphan_orders import find_orphan_orders
from tests.core.trading_cases import NOON, Story, intent, plan, venue_order, venue_position
from tests.core.venue_views import INPUTS, NEXT_MS, PLAN, STOP, SURE_MS, look

UNKNOWN = venue_order(STOP)
PENDING = UNKNOWN.client_order_id, UNKNOWN.quantity
OLD = NEXT_MS - SURE_MS  # since when no list has shown a position


def canceled(
    story: Story,
    *positions: PositionReport,
    since_ms: int = OLD,
    order: OrderReport = UNKNOWN,
    pending_mismatches: dict[tuple[str, Decimal], int] | None = None,
) -> list[str]:
    """Return the client order ids of the orders to cancel while ``order`` rests."""
    terms = attrs.evolve(INPUTS, pending_mismatches={PENDING: since_ms})
    view = look(positions=positions, open_orders=(order,))
    seen = {} if pending_mismatches is None else pending_mismatches
    found = find_orphan_orders(story.book, view, terms, seen, NEXT_MS)
    return [each.client_order_id for each in found]


@pytest.mark.parametrize("quantity", ["100", "-100"])
def test_an_unrecorded_stop_stays_while_the_venue_lists_a_position_in_its_symbol(
    story: Story, quantity: str
) -> None:
    """The book has no trade of the position yet, so no other stop protects it."""
    pending_mismatches: dict[tuple[str, Decimal], int] = {}
    assert (
        canceled(story, venue_position("SOLUSDT", quantity), pending_mismatches=pending_mismatches)
        == []
    )
    assert pending_mismatches == {}


def test_a_position_of_zero_or_in_another_symbol_does_not_keep_an_unrecorded_stop(
    story: Story,
) -> None:
    for position in (venue_position("SOLUSDT", "0"), venue_position("ADAUSDT", "100")):
        assert canceled(story, position) == [UNKNOWN.client_order_id]


@pytest.mark.parametrize(("age_ms", "stays"), [(SURE_MS - 1, True), (SURE_MS, False)])
def test_an_unrecorded_stop_stays_until_no_list_has_shown_a_position_for_20_seconds(
    story: Story, age_ms: int, stays: bool
) -> None:
    pending_mismatches: dict[tuple[str, Decimal], int] = {}
    since_ms = NEXT_MS - age_ms
    assert (
        canceled(story, since_ms=since_ms, pending_mismatches=pending_mismatches) == []
    ) is stays
    assert pending_mismatches == {PENDING: since_ms}


@pytest.mark.parametrize("protected", [True, False])
def test_an_unrecorded_stop_of_an_open_trade_stays_until_the_trade_has_its_own(
    story: Story, protected: bool
) -> None:
    story.open(PLAN)
    if not protected:
        trade = story.book.trades.open["SOLUSDT"]
        unprotected = attrs.evolve(trade, confirmed=None, unprotected_since_ms=NOON)
        story.book.trades.open["SOLUSDT"] = unprotected
    other = venue_order(intent(OrderRole.STOP_LOSS, PLAN, "other"))
    ids = canceled(story, venue_position("SOLUSDT", "100"), order=other)
    assert ids == ([other.client_order_id] if protected else [])


def test_an_unrecorded_order_that_may_open_a_position_is_canceled_at_once(story: Story) -> None:
    entry = venue_order(intent(OrderRole.ENTRY, plan(), "entry"))
    pending_mismatches: dict[tuple[str, Decimal], int] = {}
    held = venue_position("SOLUSDT", "100")
    assert canceled(story, held, order=entry, pending_mismatches=pending_mismatches) == [
        entry.client_order_id
    ]
    assert pending_mismatches == {}


def test_a_stop_and_a_take_profit_stay_although_the_plan_of_their_entry_expired(
    story: Story,
) -> None:
    """Both orders are reduce-only, so the expired plan does not matter."""
    story.open(PLAN)
    target = story.send(intent(OrderRole.TAKE_PROFIT, PLAN))
    assert PLAN.expires_at_ms < NEXT_MS
    for order in (UNKNOWN, venue_order(target)):
        assert canceled(story, venue_position("SOLUSDT", "100"), order=order) == []


def test_an_orphan_order_is_canceled_only_if_the_venue_lists_it(story: Story) -> None:
    """An order that no list shows may have ended, so the reconciler queries it."""
    story.send(STOP)
    assert canceled(story) == [STOP.client_order_id]
    target = venue_order(story.send(intent(OrderRole.TAKE_PROFIT, PLAN)))
    assert canceled(story, order=target) == [target.client_order_id]


@pytest.mark.parametrize(("age_ms", "again"), [(4_999, False), (5_000, True)])
def test_a_cancel_is_repeated_if_its_order_still_rests_after_5_seconds(
    story: Story, age_ms: int, again: bool
) -> None:
    """The cancel request may never have been sent, or may be lost."""
    story.open(PLAN)
    target = story.send(intent(OrderRole.TAKE_PROFIT, PLAN))
    name = target.client_order_id
    asked = CancelRequested(at_ms=NEXT_MS - age_ms, client_order_id=name, reason="")
    story.say(asked)
    held = venue_position("SOLUSDT", "100")
    assert (canceled(story, held, order=venue_order(target)) == [name]) is again
