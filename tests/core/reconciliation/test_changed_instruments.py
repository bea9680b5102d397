"""Positions that a list omits, and changed contract specifications of open trades."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.kinds import FillSource
from kamou.core.model import OrderReport, OrderRole, OrderSide, Side
from kamou.core.reconciliation.protection import CancelOrder, ConfirmStop, PlaceStop, protect
from kamou.core.reconciliation.reconciliation import (
    Reconciliation,
    VenueView,
    reconcile,
)
from kamou.core.reconciliation.venue_view import instrument_changes
from kamou.core.risk.limits import RiskLimits
from tests.core.trading_cases import (
    INSTRUMENTS,
    NOON,
    D,
    Story,
    fill,
    intent,
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
)

# --- positions that a list omits ------------------------------------------------


def test_a_position_that_one_list_omits_is_pending_and_not_closed(holding: Story) -> None:
    """Lists must agree for the waiting time, else its stop would be an orphan order."""
    found = run(holding, look(open_orders=RESTING))
    assert found.repairs == ()
    assert found.deferred == ("SOLUSDT",)
    assert not found.agreed  # no entries meanwhile
    assert (found.protect, found.orphan_orders) == ((), ())
    assert holding.book.trades.open["SOLUSDT"].protected
    later = attrs.evolve(INPUTS, pending_mismatches=found.pending_mismatches)
    again = run(holding, look(open_orders=RESTING), later, now_ms=NEXT_MS + SURE_MS - 1)
    assert again.pending_mismatches == {("SOLUSDT", D(0)): NEXT_MS}
    assert run(holding, look(positions=HELD, open_orders=RESTING), later).pending_mismatches == {}


def test_another_quantity_below_the_fills_is_another_pending_mismatch(holding: Story) -> None:
    later = attrs.evolve(INPUTS, pending_mismatches={("SOLUSDT", D(0)): NEXT_MS - SURE_MS})
    seventy = look(positions=(venue_position("SOLUSDT", "70"),), open_orders=RESTING)
    assert run(holding, seventy, later).deferred == ("SOLUSDT",)


def test_a_position_larger_than_its_fills_is_drift_at_once(holding: Story) -> None:
    more = look(positions=(venue_position("SOLUSDT", "130"),), open_orders=RESTING)
    assert kinds(run(holding, more).repairs)[:2] == ["DriftFound", "PositionCorrected"]


def test_an_unrecorded_stop_stays_until_its_position_is_adopted_and_protected() -> None:
    """After a restored backup the venue may have positions and stops without records."""
    story = Story()
    story.ready()
    forgotten = venue_order(intent(OrderRole.STOP_LOSS, PLAN, "forgotten"))
    recent = fill(None, "1", "97", at_ms=NEXT_MS - 1_000)
    view = look(positions=HELD, open_orders=(forgotten,), fills=(recent,))
    young = once(story, view)
    assert (young.deferred, young.orphan_orders) == (("SOLUSDT",), ())  # deferred: not adopted yet
    adopted = once(story, attrs.evolve(view, fills=()))
    assert "PositionAdopted" in kinds(adopted.repairs)
    assert adopted.orphan_orders == ()  # its own stop is not there yet
    trade = story.book.trades.open["SOLUSDT"]
    own = intent(
        OrderRole.STOP_LOSS, PLAN, "own", trade_id=trade.trade_id, trigger_price=trade.stop_price
    )
    story.send(own)
    protected = look(positions=HELD, open_orders=(forgotten, venue_order(own)))
    (canceled,) = once(story, protected).orphan_orders
    assert canceled.client_order_id == forgotten.client_order_id


def test_a_fill_from_before_an_adoption_does_not_change_the_adopted_trade() -> None:
    story = Story()
    story.ready()
    run(story, look(positions=HELD, open_orders=()))
    assert story.book.trades.open["SOLUSDT"].adopted
    late = fill(None, "40", "97", side=OrderSide.SELL, at_ms=NEXT_MS - 60_000)
    story.say(e.FillRecorded(at_ms=NEXT_MS, fill=late, source=FillSource.RECONCILE))
    assert story.book.trades.position("SOLUSDT") == 100
    assert late.key in story.book.reconciliation.fills_seen


def test_a_correction_that_the_confirmed_stop_covers_leaves_the_trade_protected(
    holding: Story,
) -> None:
    holding.fill(intent(OrderRole.TAKE_PROFIT, PLAN), "40", "104")
    view = look(positions=HELD, open_orders=RESTING)
    assert kinds(run(holding, view).repairs) == ["DriftFound", "PositionCorrected"]
    trade = holding.book.trades.open["SOLUSDT"]
    assert (trade.quantity, trade.protected, trade.unprotected_since_ms) == (D(100), True, 0)


# --- changed contract specifications -----------------------------------------


def change(story: Story, **changes: Any) -> None:
    """Let the venue list another specification of SOLUSDT."""
    changed = attrs.evolve(INSTRUMENTS["SOLUSDT"], **changes)
    story.say(*instrument_changes(story.book.instruments, [changed], NEXT_MS))


def test_a_restated_trade_has_the_same_money_in_contracts_of_another_size(holding: Story) -> None:
    holding.fill(intent(OrderRole.TAKE_PROFIT, PLAN), "40", "104")
    before = holding.book.trades.open["SOLUSDT"]
    change(holding, contract_size=D("0.02"))
    view = look(positions=(venue_position("SOLUSDT", "300"),), open_orders=(resting("300"),))
    found = run(holding, view)
    assert kinds(found.repairs) == ["TradeRestated", "StopConfirmed"]
    assert found.agreed
    trade = holding.book.trades.open["SOLUSDT"]
    assert (trade.entered, trade.exited, trade.quantity) == (D(500), D(200), D(300))
    assert (trade.entry_price, trade.exit_price) == (before.entry_price, before.exit_price)
    assert trade.realized == before.realized
    assert trade.protected


def once(story: Story, view: VenueView) -> Reconciliation:
    """Reconcile and commit the events."""
    found = reconcile(story.book, view, INPUTS, cycle_at_ms=NEXT_MS, now_ms=NEXT_MS)
    story.say(*found.events)
    return found


def resting(quantity: str) -> OrderReport:
    return venue_order(STOP, quantity)


def test_positions_read_in_the_old_contract_size_are_deferred(
    holding: Story,
) -> None:
    change(holding, contract_size=D("0.2"))
    found = once(holding, look(positions=HELD, open_orders=RESTING))
    assert kinds(found.repairs)[0] == "TradeRestated"
    assert found.deferred == ("SOLUSDT",)
    assert holding.book.trades.position("SOLUSDT") == 50


def test_a_quantity_that_the_new_size_does_not_explain_is_drift(holding: Story) -> None:
    """The venue's quantity is compared in the new contracts."""
    change(holding, contract_size=D("0.2"))
    view = look(positions=(venue_position("SOLUSDT", "60"),), open_orders=(resting("60"),))
    assert once(holding, view).deferred == ("SOLUSDT",)
    found = run(holding, view, cycle_at_ms=NEXT_MS + 1)
    assert kinds(found.repairs)[:2] == ["DriftFound", "PositionCorrected"]


@pytest.mark.parametrize(("side", "on_tick"), [(Side.LONG, "97.3"), (Side.SHORT, "102.9")])
def test_a_stop_that_is_placed_after_the_tick_grew_is_on_the_new_tick_and_no_farther_away(
    side: Side, on_tick: str
) -> None:
    story = Story()
    story.ready()
    of = plan(side=side)
    story.open(of)
    held = look(positions=(venue_position("SOLUSDT", str(100 * side.sign)),))
    change(story, tick=D("0.7"))
    old = venue_order(intent(OrderRole.STOP_LOSS, of))
    assert run(story, attrs.evolve(held, open_orders=(old,))).protect == ()
    trade = story.book.trades.open["SOLUSDT"]
    assert trade.stop_price % D("0.7") != 0  # the resting stop stays off the new tick
    assert trade.target_price is not None
    assert trade.target_price % D("0.7") == 0
    (action,) = protect(trade, (), (), limits=RiskLimits(), now_ms=NEXT_MS)
    assert isinstance(action, PlaceStop)
    assert action.trigger_price == D(on_tick)


def test_a_stop_beyond_liquidation_is_replaced_by_a_nearer_one(holding: Story) -> None:
    near = attrs.evolve(HELD[0], liquidation_price=D(98))
    found = run(holding, look(positions=(near,), open_orders=RESTING))
    assert kinds(found.repairs) == ["TradeRestated", "ProtectionLost"]
    assert found.protect == ("SOLUSDT",)
    trade = holding.book.trades.open["SOLUSDT"]
    assert 98 < trade.stop_price < 100
    new = intent(OrderRole.STOP_LOSS, PLAN, "nearer", trigger_price=trade.stop_price)
    holding.send(new)
    orders = holding.book.orders.of_symbol("SOLUSDT")
    both = (*RESTING, venue_order(new))
    confirm, cancel = protect(trade, orders, both, limits=RiskLimits(), now_ms=NEXT_MS)
    assert isinstance(confirm, ConfirmStop)
    assert isinstance(cancel, CancelOrder)
    assert (confirm.client_order_id, cancel.client_order_id) == (
        new.client_order_id,
        STOP.client_order_id,
    )


def test_a_symbol_without_an_instrument_keeps_its_contract_specification(holding: Story) -> None:
    holding.book.instruments.clear()
    assert run(holding, look(positions=HELD, open_orders=RESTING)).repairs == ()


def test_a_changed_instrument_is_reported_field_by_field_and_a_new_one_whole() -> None:
    known = {"SOLUSDT": INSTRUMENTS["SOLUSDT"]}
    listed = attrs.evolve(known["SOLUSDT"], tick=D("0.7"), leverage_max=5)
    changed, new = instrument_changes(known, [listed, INSTRUMENTS["ADAUSDT"]], NOON)
    assert [(f.name, f.value) for f in changed.figures] == [
        ("tick", "0.01 -> 0.7"),
        ("leverage_max", "20 -> 5"),
    ]
    assert (new.instrument, new.figures) == (INSTRUMENTS["ADAUSDT"], ())
    assert instrument_changes(known, [known["SOLUSDT"]], NOON) == ()
