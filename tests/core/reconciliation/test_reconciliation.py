"""Reconciliations that make the book agree with the venue."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.kinds import FillSource
from kamou.core.model import OrderRole, OrderSide, OrderStatus, Side
from kamou.core.reconciliation.reconciliation import reconcile
from tests.core.trading_cases import (
    NOON,
    D,
    Story,
    account,
    closed_cycle,
    fill,
    income,
    intent,
    order_closed,
    plan,
    venue_order,
    venue_position,
)
from tests.core.venue_views import (
    HELD,
    INPUTS,
    NEXT_MS,
    PLAN,
    RESTING,
    STOP,
    SURE_MS,
    kinds,
    look,
    run,
    run_after_wait,
)

# --- agreement -------------------------------------------------------------------------


def test_a_clean_reconciliation_records_only_equity_and_the_cycles_end(holding: Story) -> None:
    found = run(holding, look(positions=HELD, open_orders=RESTING))
    assert found.repairs == ()
    assert kinds(found.marks) == ["EquityRecorded", "CycleClosed"]
    assert found.agreed
    assert (found.protect, found.orphan_orders, found.resolve) == ((), (), ())
    marked, closed = found.marks
    assert isinstance(marked, e.EquityRecorded)
    assert marked.open_risk == D("38.276")
    # Closing 10 units at 100 costs 8 bps; the equity equals the equity at the day's opening.
    assert (marked.day_equity, marked.exit_costs, marked.day_lost) == (
        D(10_000),
        D("0.8"),
        D("0.8"),
    )
    assert [(mark.name, mark.value) for mark in marked.marks] == [("SOLUSDT", "100")]
    assert isinstance(closed, e.CycleClosed)
    assert (closed.drift, closed.repaired, closed.positions, closed.open_orders) == (0, 0, 1, 1)
    assert holding.book.reconciliation.clean_at_ms == NEXT_MS


def test_an_account_read_whose_equity_is_not_finite_records_no_equity(story: Story) -> None:
    found = run(story, look(account=account("NaN", at_ms=NEXT_MS)))
    assert kinds(found.marks) == ["CycleClosed"]


# --- fills and income ------------------------------------------------------------------


def test_a_missed_fill_is_recorded_and_explains_the_position(holding: Story) -> None:
    stopped = fill(STOP, "100", "97", at_ms=NOON + 60_000)
    paid = income("funding", "-0.4", at_ms=NOON + 30_000)
    left = account("9969.1", at_ms=NEXT_MS)  # less the stop's loss, its fee and the funding
    found = run(holding, look(account=left, fills=(stopped,), income=(paid,)))
    assert kinds(found.repairs) == ["FillRecorded", "IncomeRecorded"]
    filled = found.repairs[0]
    assert isinstance(filled, e.FillRecorded)
    assert filled.source == "reconcile"
    assert found.agreed
    (closure,) = holding.book.pending_closures(NEXT_MS)
    assert closure.exit_reason == "stop_loss"
    assert closure.funding == D("-0.4")


def test_fills_from_before_the_query_window_are_not_counted_again(holding: Story) -> None:
    holding.say(closed_cycle(NOON + 600_000))
    assert holding.book.reconciliation.fills_seen != {}, (
        f"keys of fills in the query window were dropped: {holding.book.reconciliation.fills_seen}"
    )
    holding.say(closed_cycle(NOON + 900_000))
    assert holding.book.reconciliation.fills_seen == {}
    old = fill(intent(OrderRole.ENTRY, PLAN), "100", "100", at_ms=NOON)
    found = run(
        holding,
        look(positions=HELD, open_orders=RESTING, fills=(old,)),
        cycle_at_ms=NOON + 900_000,
        now_ms=NOON + 900_000,
    )
    assert found.repairs == ()


# --- orders ----------------------------------------------------------------------------


def in_flight(story: Story) -> None:
    story.grant(PLAN)
    story.send(intent(OrderRole.ENTRY, PLAN))
    story.send(STOP)


def test_an_order_that_the_venue_lists_is_accepted(holding: Story) -> None:
    target = holding.send(intent(OrderRole.TAKE_PROFIT, PLAN), NOON)
    found = run(holding, look(positions=HELD, open_orders=(*RESTING, venue_order(target))))
    assert kinds(found.repairs) == ["OrderAccepted"]
    assert found.resolve == ()


def test_an_order_in_flight_too_long_is_queried(story: Story) -> None:
    in_flight(story)
    entry = intent(OrderRole.ENTRY, PLAN)
    young = run(story, look(), now_ms=NOON + 4_999)
    assert young.resolve == ()
    old = run(story, look(), now_ms=NOON + 5_000, cycle_at_ms=NEXT_MS + 1)
    assert old.resolve == (entry.client_order_id,)  # its stop is listed after its fill
    story.say(order_closed(entry, OrderStatus.EXPIRED))
    ended = run(story, look(), cycle_at_ms=NEXT_MS + 2)
    assert ended.resolve == (STOP.client_order_id,)


def test_the_venues_report_of_a_queried_order_is_recorded(story: Story) -> None:
    in_flight(story)
    entry = intent(OrderRole.ENTRY, PLAN)
    shown = attrs.evolve(venue_order(entry), status=OrderStatus.EXPIRED)
    found = run(story, look(queried=(shown, shown)))
    assert kinds(found.repairs) == ["OrderClosed"]
    assert story.book.releasable_permits(NEXT_MS) == ((PLAN.permit_id, "no_fill"),)


def test_an_accepted_order_that_is_gone_from_the_list_is_queried(holding: Story) -> None:
    found = run(holding, look(positions=HELD))
    assert found.resolve == (STOP.client_order_id,)


# --- positions -------------------------------------------------------------------------


def test_an_unexplained_quantity_is_corrected_to_the_venues(holding: Story) -> None:
    view = look(positions=(venue_position("SOLUSDT", "70", "99"),), open_orders=RESTING)
    found = run_after_wait(holding, view)
    assert kinds(found.repairs) == ["DriftFound", "PositionCorrected"]
    assert found.drift
    assert not found.agreed
    assert holding.book.trades.position("SOLUSDT") == 70
    assert holding.book.reconciliation.drifting
    assert holding.book.reconciliation.clean_at_ms == NOON  # this cycle did not agree
    assert holding.book.trades.open["SOLUSDT"].exit_price == 99
    assert found.protect == ("SOLUSDT",)  # its stop is too large now


def test_a_position_that_the_venue_does_not_have_is_closed(holding: Story) -> None:
    inputs = attrs.evolve(INPUTS, marks={"SOLUSDT": D(98)})
    found = run_after_wait(holding, look(), inputs)
    assert kinds(found.repairs) == ["DriftFound", "PositionCorrected"]
    (closure,) = holding.book.pending_closures(NEXT_MS)
    assert (closure.exit_price, closure.exit_reason) == (D(98), "external")


def test_without_a_mark_a_vanished_position_is_booked_at_its_entry_price(holding: Story) -> None:
    run_after_wait(holding, look())
    (closure,) = holding.book.pending_closures(NEXT_MS)
    assert closure.pnl_gross == 0


def test_a_position_that_the_book_does_not_have_is_adopted_with_a_stop(story: Story) -> None:
    found = run(story, look(positions=(venue_position("ADAUSDT", "-50"),)))
    assert kinds(found.repairs) == ["DriftFound", "PositionAdopted"]
    trade = story.book.trades.open["ADAUSDT"]
    assert trade.signed == -50
    assert trade.trade_id == f"{NEXT_MS}.adopted.ADAUSDT"
    assert found.protect == ("ADAUSDT",)
    assert found.mismatches[0].kind == "POSITION_UNKNOWN"
    assert trade.stop_price > 100


def test_an_inverted_position_is_closed_and_adopted_on_the_other_side(holding: Story) -> None:
    found = run(holding, look(positions=(venue_position("SOLUSDT", "-30"),)))
    assert kinds(found.repairs) == ["DriftFound", "PositionCorrected", "PositionAdopted"]
    assert holding.book.trades.position("SOLUSDT") == -30
    assert len(holding.book.pending_closures(NEXT_MS)) == 1


def test_a_reversal_by_kamous_own_fills_is_drift(holding: Story) -> None:
    holding.fill(STOP, "100", "97")
    holding.fill(STOP, "30", "97")
    assert holding.book.trades.position("SOLUSDT") == -30
    found = run(holding, look(positions=(venue_position("SOLUSDT", "-30"),)))
    assert found.drift
    assert holding.book.trades.open["SOLUSDT"].side is Side.SHORT
    assert holding.book.trades.open["SOLUSDT"].quantity == 30


def test_a_position_without_an_instrument_is_reported_and_stays_drift(story: Story) -> None:
    view = look(positions=(venue_position("LUNAUSDT", "5"),))
    found = run(story, view)
    assert kinds(found.repairs) == ["DriftFound"]
    later = run(story, view, cycle_at_ms=NEXT_MS + 300_000)
    assert later.drift
    assert later.repairs == ()
    assert story.book.reconciliation.drifting


def test_a_clean_reconciliation_explains_the_drift_of_an_earlier_cycle(holding: Story) -> None:
    view = look(positions=(venue_position("SOLUSDT", "70"),), open_orders=RESTING)
    run_after_wait(holding, view)
    found = run(holding, view, cycle_at_ms=NEXT_MS + 300_000)
    assert kinds(found.marks) == ["DriftExplained", "EquityRecorded", "CycleClosed"]
    assert not holding.book.reconciliation.drifting


def test_a_difference_that_a_recent_fill_may_explain_is_deferred(holding: Story) -> None:
    recent = fill(STOP, "1", "97", at_ms=NEXT_MS - 1_000)
    found = run(holding, look(fills=(recent,), open_orders=RESTING))
    assert found.deferred == ("SOLUSDT",)
    assert not found.drift
    assert not found.agreed
    assert holding.book.reconciliation.clean_at_ms == NOON


def test_a_difference_in_a_view_older_than_the_book_is_deferred(holding: Story) -> None:
    """The stop filled and the trade was published during the read of the venue."""
    late_ms = NEXT_MS + 200
    done = fill(STOP, "100", "97", at_ms=late_ms)
    holding.say(e.FillRecorded(at_ms=late_ms, fill=done, source=FillSource.STREAM))
    assert run(holding, look(positions=HELD, open_orders=RESTING)).deferred == ("SOLUSDT",)
    holding.say(*holding.book.pending_closures(late_ms))
    found = run(holding, look(positions=HELD), cycle_at_ms=NEXT_MS + 1, now_ms=late_ms)
    assert found.deferred == ("SOLUSDT",)
    assert not holding.book.trades.open
    assert run(holding, look(at_ms=late_ms), cycle_at_ms=NEXT_MS + 2, now_ms=late_ms).agreed


def test_an_entry_defers_its_symbol_only_while_it_is_in_flight(story: Story) -> None:
    in_flight(story)
    seen = look(positions=HELD, at_ms=NOON + 4_000)
    assert run(story, seen, now_ms=NOON + 4_000).deferred == ("SOLUSDT",)
    later = run(story, look(positions=HELD), cycle_at_ms=NEXT_MS + 1)
    assert later.drift


def test_fills_that_the_venue_counts_but_never_lists_are_inferred_after_20_s(story: Story) -> None:
    in_flight(story)
    entry = intent(OrderRole.ENTRY, PLAN)
    story.fill(entry, "40", "100")
    story.say(order_closed(entry, OrderStatus.CANCELED, "60"))
    view = look(positions=(venue_position("SOLUSDT", "60"),))
    assert run(story, view, now_ms=NOON + 19_999).deferred == ("SOLUSDT",)
    found = run(story, view, now_ms=NOON + 20_000, cycle_at_ms=NEXT_MS + 1)
    assert "PositionCorrected" in kinds(found.repairs)
    assert not story.book.orders.has_live_entry("SOLUSDT")


# --- protection and orphan orders ---------------------------------------------------------


def test_a_vanished_stop_is_recorded_as_lost_and_its_position_needs_protection(
    holding: Story,
) -> None:
    found = run(holding, look(positions=HELD))
    assert kinds(found.repairs) == ["ProtectionLost"]
    assert found.protect == ("SOLUSDT",)
    assert not holding.book.trades.open["SOLUSDT"].protected


def test_a_stop_that_is_listed_again_is_confirmed_again(holding: Story) -> None:
    run(holding, look(positions=HELD))
    found = run(holding, look(positions=HELD, open_orders=RESTING), cycle_at_ms=NEXT_MS + 300_000)
    assert kinds(found.repairs) == ["StopConfirmed"]
    assert holding.book.trades.open["SOLUSDT"].protected


def test_orphan_orders_are_canceled_and_external_orders_are_not(holding: Story) -> None:
    holding.fill(STOP, "100", "97")
    target = holding.send(intent(OrderRole.TAKE_PROFIT, PLAN))
    forgotten = venue_order(intent(OrderRole.STOP_LOSS, PLAN, "forgotten"))
    young = attrs.evolve(
        venue_order(intent(OrderRole.STOP_LOSS, PLAN, "young")), created_at_ms=NEXT_MS - 1_000
    )
    external = attrs.evolve(forgotten, client_order_id="web-7f3a")
    view = look(open_orders=(venue_order(target), forgotten, young, external))
    assert [o.client_order_id for o in run(holding, view).orphan_orders] == [target.client_order_id]
    # Orders that the book does not have are canceled after the waiting time without a position.
    mismatch = forgotten.client_order_id, forgotten.quantity
    sure = attrs.evolve(INPUTS, pending_mismatches={mismatch: NEXT_MS - SURE_MS})
    found = run(holding, view, sure)
    assert {o.client_order_id for o in found.orphan_orders} == {
        target.client_order_id,
        forgotten.client_order_id,
    }


def test_an_entry_whose_plan_expired_is_canceled(story: Story) -> None:
    in_flight(story)
    entry = intent(OrderRole.ENTRY, PLAN)
    found = run(story, look(open_orders=(venue_order(entry),)))
    assert [o.client_order_id for o in found.orphan_orders] == [entry.client_order_id]


def test_a_cancel_that_was_lost_is_requested_again(story: Story) -> None:
    """A process may crash between the commit of a cancel request and its sending."""
    in_flight(story)
    entry = intent(OrderRole.ENTRY, PLAN)
    story.say(
        e.CancelRequested(at_ms=NEXT_MS - 1_000, client_order_id=entry.client_order_id, reason="")
    )
    resting = look(open_orders=(venue_order(entry),))
    assert run(story, resting).orphan_orders == ()  # canceled just now
    again = run(story, resting, cycle_at_ms=NEXT_MS + 1, now_ms=NEXT_MS + 10_000)
    assert [o.client_order_id for o in again.orphan_orders] == [entry.client_order_id]


def test_a_resting_entry_with_a_valid_plan_is_not_canceled(story: Story) -> None:
    in_flight(story)
    entry = venue_order(intent(OrderRole.ENTRY, PLAN))
    assert run(story, look(open_orders=(entry,)), now_ms=NOON + 6_000).orphan_orders == ()


@pytest.mark.parametrize("role", [OrderRole.ENTRY, OrderRole.EXIT])
def test_an_order_that_the_book_does_not_have_is_canceled_only_after_the_time_in_flight(
    story: Story, role: OrderRole
) -> None:
    """The order's intent may be committed during the read of the venue."""
    order = venue_order(intent(role, PLAN, "not yet known"))
    mismatch = order.client_order_id, order.quantity
    sure = attrs.evolve(INPUTS, pending_mismatches={mismatch: NEXT_MS - SURE_MS})
    for age_ms, canceled in ((0, False), (4_999, False), (5_000, True), (60_000, True)):
        seen = look(open_orders=(attrs.evolve(order, created_at_ms=NEXT_MS - age_ms),))
        found = reconcile(story.book, seen, sure, cycle_at_ms=NEXT_MS, now_ms=NEXT_MS)
        assert bool(found.orphan_orders) is canceled, age_ms


# --- idempotence -----------------------------------------------------------------------------

SYMBOLS = ["SOLUSDT", "ADAUSDT"]


@settings(max_examples=80)
@given(st.data())
def test_reconciling_the_same_view_again_repairs_nothing(data: st.DataObject) -> None:
    story = Story()
    story.ready()
    orders = []
    for symbol in SYMBOLS:
        of = plan(symbol, data.draw(st.sampled_from(Side)))
        story.grant(of)
        for role in (OrderRole.ENTRY, OrderRole.STOP_LOSS, OrderRole.EXIT):
            if data.draw(st.booleans()):
                orders.append(story.send(intent(role, of)))
    for order in orders:
        if data.draw(st.booleans()):
            story.fill(order, data.draw(st.sampled_from(["40", "100"])), "100")
        if data.draw(st.booleans()):
            story.say(order_closed(order, OrderStatus.CANCELED, data.draw(st.sampled_from("07"))))
    some = st.sampled_from([None, *orders])
    view = look(
        positions=tuple(
            venue_position(s, q)
            for s in SYMBOLS
            if (q := data.draw(st.sampled_from(["0", "40", "-40", "100"]))) != "0"
        ),
        open_orders=tuple(venue_order(o) for o in orders if data.draw(st.booleans())),
        queried=tuple(
            venue_order(o, status=OrderStatus.CANCELED) for o in orders if data.draw(st.booleans())
        ),
        fills=tuple(
            fill(
                data.draw(some),
                data.draw(st.sampled_from(["7", "60"])),
                "100",
                side=data.draw(st.sampled_from(OrderSide)),
                at_ms=NOON + data.draw(st.sampled_from([0, 299_000])),
            )
            for _ in range(data.draw(st.integers(0, 3)))
        ),
    )
    now_ms = NEXT_MS + data.draw(st.sampled_from([0, 30_000]))
    found = run(story, view, now_ms=now_ms)
    theirs = {p.symbol: p.quantity for p in view.positions}
    for symbol in SYMBOLS:
        if symbol not in found.deferred:
            assert story.book.trades.position(symbol) == theirs.get(symbol, 0)
    assert found.agreed == (story.book.reconciliation.clean_at_ms == NEXT_MS)
