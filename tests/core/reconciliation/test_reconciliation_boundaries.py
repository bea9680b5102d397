"""Reconciliation at the exact millisecond or figure at which its decision changes."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.book.trades import open_trade, restate_trade
from kamou.core.model import OrderRole, OrderStatus, Side
from kamou.core.reconciliation.protection import Await, ConfirmStop, StopFailures, protect
from kamou.core.reconciliation.reconciliation import Reconciliation, VenueView, reconcile
from tests.core.trading_cases import (
    NOON,
    D,
    Story,
    fill,
    income,
    intent,
    order_closed,
    plan,
    venue_order,
)
from tests.core.trading_cases import venue_position as held
from tests.core.venue_views import HELD, INPUTS, NEXT_MS, PLAN, RESTING, kinds, look

IN_FLIGHT_MS = 5_000
SURE_MS = 20_000


def preview(story: Story, view: VenueView, now_ms: int = NEXT_MS, **inputs: Any) -> Reconciliation:
    """Return a reconciliation without committing its events."""
    seen = attrs.evolve(INPUTS, **inputs)
    return reconcile(story.book, view, seen, cycle_at_ms=NEXT_MS, now_ms=now_ms)


GONE = (held("SOLUSDT", "150"),)  # more than the book has: never pending


@pytest.mark.parametrize(("age_ms", "moving"), [(IN_FLIGHT_MS - 1, True), (IN_FLIGHT_MS, False)])
def test_a_fill_explains_a_difference_only_while_younger_than_the_time_in_flight(
    holding: Story, age_ms: int, moving: bool
) -> None:
    recent = fill(None, "1", "100", symbol="SOLUSDT", at_ms=NEXT_MS - age_ms)
    holding.book.reconciliation.fills_seen[recent.key] = (
        recent.at_ms
    )  # recorded, so only its time counts
    found = preview(holding, look(positions=GONE, open_orders=RESTING, fills=(recent,)))
    assert (found.deferred == ("SOLUSDT",)) is moving
    elsewhere = attrs.evolve(recent, symbol="ADAUSDT", at_ms=NEXT_MS)
    holding.book.reconciliation.fills_seen[elsewhere.key] = NEXT_MS
    other = preview(holding, look(positions=GONE, open_orders=RESTING, fills=(elsewhere,)))
    assert other.deferred == ()


@pytest.mark.parametrize(("age_ms", "moving"), [(IN_FLIGHT_MS - 1, True), (IN_FLIGHT_MS, False)])
def test_a_trade_explains_a_difference_only_if_it_changed_within_the_time_in_flight(
    holding: Story, age_ms: int, moving: bool
) -> None:
    changed = attrs.evolve(holding.book.trades.open["SOLUSDT"], changed_at_ms=NEXT_MS - age_ms)
    holding.book.trades.open["SOLUSDT"] = changed
    found = preview(holding, look(positions=GONE, open_orders=RESTING))
    assert (found.deferred == ("SOLUSDT",)) is moving


def test_a_trade_of_another_symbol_that_changed_just_now_explains_no_difference(
    holding: Story,
) -> None:
    holding.open(plan("ADAUSDT"), at_ms=NEXT_MS)
    view = look(positions=(*GONE, held("ADAUSDT", "100")), open_orders=RESTING)
    assert "SOLUSDT" not in preview(holding, view).deferred


def test_a_flat_trade_with_a_resting_entry_is_not_a_mismatch() -> None:
    story = Story()
    story.ready()
    lasting = attrs.evolve(PLAN, expires_at_ms=NEXT_MS + 1)
    story.grant(lasting)
    entry = story.send(intent(OrderRole.ENTRY, lasting))
    stop = story.send(intent(OrderRole.STOP_LOSS, lasting))
    story.fill(entry, "50", "100")
    story.fill(stop, "50", "97")
    assert story.book.trades.open["SOLUSDT"].quantity == 0
    assert preview(story, look(open_orders=(venue_order(entry),))).mismatches == ()


@pytest.mark.parametrize(("early_ms", "canceled"), [(1, False), (0, True)])
def test_an_entry_is_canceled_from_the_millisecond_at_which_its_plan_expires(
    holding: Story, early_ms: int, canceled: bool
) -> None:
    other = plan("ADAUSDT", permit_id="o", signal_id="o", expires_at_ms=NEXT_MS + early_ms)
    holding.grant(other)
    entry = holding.send(intent(OrderRole.ENTRY, other), NEXT_MS - IN_FLIGHT_MS)
    view = look(positions=HELD, open_orders=(*RESTING, venue_order(entry)))
    assert bool(preview(holding, view).orphan_orders) is canceled


@pytest.mark.parametrize(("age_ms", "moving"), [(IN_FLIGHT_MS - 1, True), (IN_FLIGHT_MS, False)])
@pytest.mark.parametrize("symbol", ["SOLUSDT", "ADAUSDT"])
def test_an_order_that_settled_within_the_time_in_flight_explains_its_own_symbol_only(
    holding: Story, age_ms: int, moving: bool, symbol: str
) -> None:
    other = plan(symbol, permit_id="o", signal_id="o")
    ended = holding.send(intent(OrderRole.TAKE_PROFIT, other, "ended"))
    closed = attrs.evolve(order_closed(ended, OrderStatus.CANCELED), at_ms=NEXT_MS - age_ms)
    holding.say(closed)
    assert ended.client_order_id in holding.book.orders.settled
    found = preview(holding, look(positions=GONE, open_orders=RESTING))
    assert (found.deferred == ("SOLUSDT",)) is (moving and symbol == "SOLUSDT")


@pytest.mark.parametrize("role", list(OrderRole))
@pytest.mark.parametrize(("age_ms", "young"), [(IN_FLIGHT_MS - 1, True), (IN_FLIGHT_MS, False)])
def test_of_the_orders_in_flight_only_an_entry_or_an_exit_explains_a_difference(
    holding: Story, role: OrderRole, age_ms: int, young: bool
) -> None:
    holding.send(intent(role, PLAN, "new"), NEXT_MS - age_ms)
    found = preview(holding, look(positions=GONE, open_orders=RESTING))
    assert (found.deferred == ("SOLUSDT",)) is (young and role in (OrderRole.ENTRY, OrderRole.EXIT))


@pytest.mark.parametrize(("age_ms", "moving"), [(SURE_MS - 1, True), (SURE_MS, False)])
def test_unlisted_fills_of_an_ended_order_defer_its_symbol_for_the_waiting_time(
    holding: Story, age_ms: int, moving: bool
) -> None:
    ended = holding.send(intent(OrderRole.TAKE_PROFIT, PLAN, "ended"))
    closed = attrs.evolve(order_closed(ended, OrderStatus.CANCELED, "7"), at_ms=NEXT_MS - age_ms)
    holding.say(closed)
    assert ended.client_order_id in holding.book.orders.unsettled
    found = preview(holding, look(positions=GONE, open_orders=RESTING))
    assert (found.deferred == ("SOLUSDT",)) is moving


@pytest.mark.parametrize(("age_ms", "asked"), [(IN_FLIGHT_MS - 1, False), (IN_FLIGHT_MS, True)])
def test_an_order_is_queried_once_it_is_as_old_as_the_time_in_flight(
    holding: Story, age_ms: int, asked: bool
) -> None:
    close = holding.send(intent(OrderRole.EXIT, PLAN), NEXT_MS - age_ms)
    found = preview(holding, look(positions=HELD, open_orders=RESTING))
    assert (found.resolve == (close.client_order_id,)) is asked


@pytest.mark.parametrize(("age_ms", "pending"), [(SURE_MS - 1, True), (SURE_MS, False)])
@pytest.mark.parametrize("quantity", ["0", "99"])
def test_a_quantity_below_the_fills_is_a_pending_mismatch_for_the_waiting_time(
    holding: Story, age_ms: int, pending: bool, quantity: str
) -> None:
    said = ("SOLUSDT", D(quantity))
    view = look(positions=(held("SOLUSDT", quantity),), open_orders=RESTING)
    found = preview(holding, view, pending_mismatches={said: NEXT_MS - age_ms})
    assert (found.deferred == ("SOLUSDT",)) is pending
    assert (said in found.pending_mismatches) is pending
    if pending:
        assert found.pending_mismatches[said] == NEXT_MS - age_ms


@pytest.mark.parametrize("quantity", ["101", "-1"])
def test_a_quantity_above_the_fills_or_on_the_other_side_is_never_pending(
    holding: Story, quantity: str
) -> None:
    found = preview(holding, look(positions=(held("SOLUSDT", quantity),), open_orders=RESTING))
    assert found.drift
    assert found.pending_mismatches == {}


@pytest.mark.parametrize("role", [OrderRole.ENTRY, OrderRole.STOP_LOSS])
def test_an_external_order_older_than_the_time_in_flight_is_not_canceled(
    holding: Story, role: OrderRole
) -> None:
    external = attrs.evolve(venue_order(intent(role, plan("ADAUSDT"))), client_order_id="web-7f3a")
    assert (
        preview(holding, look(positions=HELD, open_orders=(*RESTING, external))).orphan_orders == ()
    )


def test_fills_and_income_at_the_very_start_of_the_window_are_read_and_before_it_are_not(
    holding: Story,
) -> None:
    since_ms = holding.book.fills_since_ms()
    for early_ms, read in ((0, True), (1, False)):
        at_ms = since_ms - early_ms
        view = look(
            positions=HELD,
            open_orders=RESTING,
            fills=(fill(None, "1", "100", symbol="ADAUSDT", at_ms=at_ms),),
            income=(income("funding", "1", at_ms),),
        )
        shown = kinds(preview(holding, view).repairs)
        assert ("FillRecorded" in shown, "IncomeRecorded" in shown) == (read, read)


@pytest.mark.parametrize(
    ("side", "target", "expected"), [(Side.LONG, "106.3", "106"), (Side.SHORT, "93.7", "94")]
)
def test_a_take_profit_price_off_the_new_tick_moves_towards_the_entry_price(
    side: Side, target: str, expected: str
) -> None:
    trade = open_trade(plan(side=side, target_price=D(target)), "t", NOON)
    shown = e.TradeRestated(
        at_ms=NOON,
        trade_id="t",
        symbol="SOLUSDT",
        contract_size=trade.contract_size,
        tick=D("0.5"),
        stop_price=trade.stop_price,
    )
    assert restate_trade(trade, shown).target_price == D(expected)


@pytest.mark.parametrize(
    ("symbol", "quantity", "kind"),
    [
        ("SOLUSDT", "70", "QUANTITY_DIFFERS"),  # less of the position in the book
        ("SOLUSDT", "-70", "INSTRUMENT_UNKNOWN"),  # the other side would have to be adopted
        ("ADAUSDT", "70", "INSTRUMENT_UNKNOWN"),
    ],
)
def test_only_an_adoption_needs_the_instrument_of_its_symbol(
    holding: Story, symbol: str, quantity: str, kind: str
) -> None:
    others = () if symbol == "SOLUSDT" else HELD
    pending_mismatches = {("SOLUSDT", D(70)): NEXT_MS - SURE_MS}
    view = look(positions=(*others, held(symbol, quantity)), open_orders=RESTING)
    holding.book.instruments.clear()
    (found,) = preview(holding, view, pending_mismatches=pending_mismatches).mismatches
    assert (found.symbol, found.kind) == (symbol, kind)


def test_an_order_that_was_queried_just_now_is_not_queried_again(holding: Story) -> None:
    close = holding.send(intent(OrderRole.EXIT, PLAN))
    seen = look(positions=HELD, open_orders=RESTING)
    assert preview(holding, seen).resolve == (close.client_order_id,)
    asked = attrs.evolve(seen, queried=(venue_order(close),))
    assert preview(holding, asked).resolve == ()


def test_a_fill_that_the_venue_lists_names_its_order_as_its_cause(holding: Story) -> None:
    own = fill(intent(OrderRole.TAKE_PROFIT, PLAN), "1", "106", at_ms=NEXT_MS)
    external = fill(None, "1", "106", symbol="ADAUSDT", at_ms=NEXT_MS, venue_order_id="v-7")
    found = preview(holding, look(positions=HELD, open_orders=RESTING, fills=(own, external)))
    assert [r.cause_id for r in found.repairs[:2]] == [own.client_order_id, "v-7"]


def test_a_terminal_exit_without_recorded_fills_is_not_awaited(
    holding: Story,
) -> None:
    close = holding.send(intent(OrderRole.EXIT, PLAN))
    holding.say(order_closed(close, OrderStatus.CANCELED, "7"))
    assert close.client_order_id in holding.book.orders.unsettled
    trade = holding.book.trades.open["SOLUSDT"]
    orders = holding.book.orders.of_symbol("SOLUSDT")
    assert protect(trade, orders, RESTING, limits=INPUTS.limits, now_ms=NOON) == ()


@pytest.mark.parametrize("quantity", ["0", "-99"])
def test_a_short_position_smaller_than_its_fills_is_a_pending_mismatch(quantity: str) -> None:
    story = Story()
    story.ready()
    story.open(plan(side=Side.SHORT))
    view = look(positions=(held("SOLUSDT", quantity),))
    assert preview(story, view).pending_mismatches == {("SOLUSDT", D(quantity)): NEXT_MS}


@pytest.mark.parametrize(
    "changes",
    [{"client_order_id": "other"}, {"quantity": D(101)}, {"trigger_price": D("96.9")}, {}],
)
def test_a_stop_is_confirmed_again_only_if_its_id_quantity_or_price_changed(
    holding: Story, changes: dict[str, Any]
) -> None:
    trade = holding.book.trades.open["SOLUSDT"]
    assert trade.confirmed is not None
    shown = attrs.evolve(trade, confirmed=attrs.evolve(trade.confirmed, **changes))
    orders = holding.book.orders.of_symbol("SOLUSDT")
    done = protect(shown, orders, RESTING, limits=INPUTS.limits, now_ms=NOON)
    assert [type(action) for action in done] == ([ConfirmStop] if changes else [])


def test_a_lost_stop_of_a_protected_trade_is_awaited_until_the_deadline(
    holding: Story,
) -> None:
    trade = holding.book.trades.open["SOLUSDT"]
    assert trade.unprotected_since_ms == 0
    orders = holding.book.orders.of_symbol("SOLUSDT")
    for rejected in (False, True):
        done = protect(
            trade,
            orders,
            (),
            limits=INPUTS.limits,
            now_ms=NOON + 1,
            failures=StopFailures(stop_rejected=rejected),
        )
        assert done == (Await(symbol="SOLUSDT", until_ms=NOON + 1 + 6_000),)
