"""The monitor reports a broken rule, and nothing in the allowed case next to it.

Each test makes events, orders, fills or the end of a process, and asserts every rule that the
monitor reports.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from kamou.core.model import OrderRole, OrderSide
from kamou.exchange.embedded import make_order_request
from kamou.runtime.supervision import RestartStormError
from kamou.simulator.invariants.outside_changes import KNOWN_AFTER_MS
from kamou.simulator.scenario import Scenario
from kamou.simulator.simulated_process import Killed
from kamou.simulator.simulation import SimulatedRun, Simulation
from kamou.venue.checker import ExcusedTime, never_excused
from kamou.venue.violations import HardRule
from tests.exchange.port_fakes import close_of, plan_of
from tests.simulation.stories import NONE, EngineWithoutOrders, Story, begin

D = Decimal
ANOTHER = "1.test.BBB"
"""The signal of a plan in the symbol BBB."""


# --- resting entries -------------------------------------------------------------------------


@pytest.mark.parametrize("canceled", [True, False])
def test_a_post_only_entry_that_is_live_a_minute_after_its_deadline_is_reported(
    canceled: bool,
) -> None:
    story = begin()
    plan = plan_of(rest_ms=120_000, limit_price=D("90"), entry_price=D("90"), stop_price=D("85"))
    story.grant(plan)
    story.read_quote()
    entry, attached = story.send_entry(plan)
    assert entry.post_only
    story.engine.place(
        make_order_request(entry), tuple(make_order_request(each) for each in attached)
    )
    story.look()
    story.engine.advance(entry.intended_at_ms + 120_000 + 60_000)
    story.look()
    assert HardRule.RESTING not in story.rules
    if canceled:
        story.engine.cancel(entry.client_order_id)
    story.engine.advance(entry.intended_at_ms + 120_000 + 61_001)
    story.look()
    assert (HardRule.RESTING in story.rules) is not canceled


# --- permits ---------------------------------------------------------------------------------


def test_a_permit_that_is_granted_twice_is_reported() -> None:
    story = begin()
    story.grant(plan_of())
    assert story.rules == NONE
    story.grant(plan_of())
    assert story.rules == [HardRule.PERMIT_TWICE]


def test_the_permits_of_two_attempts_of_one_signal_are_allowed() -> None:
    story = begin()
    story.grant(plan_of())
    story.grant(plan_of(attempt=2, permit_id="1.test.AAA.2"))
    assert story.rules == NONE


def test_a_fill_after_the_release_of_its_permit_is_reported() -> None:
    story, plan = begin(), plan_of()
    story.grant(plan)
    story.read_quote()
    story.fill_entry(plan)
    story.release(plan)
    assert story.rules == NONE
    story.look()
    assert story.rules == [HardRule.RELEASED]


def test_a_fill_before_the_release_of_its_permit_is_allowed() -> None:
    story, plan = begin(), plan_of()
    story.grant(plan)
    story.read_quote()
    story.fill_entry(plan)
    story.look()
    story.release(plan)
    story.look()
    assert story.monitor.coverage["fills"] == 1
    assert story.rules == NONE


def test_a_permit_for_a_symbol_that_is_known_to_be_held_is_reported() -> None:
    story = held_for(KNOWN_AFTER_MS + 1)
    story.grant(plan_of("2.test.AAA"))
    assert story.rules == [HardRule.HELD]


def held_for(held_ms: int, excused_ms: ExcusedTime = never_excused) -> Story:
    """Return a story in which AAA has had a position for this time."""
    story, plan = begin(excused_ms), plan_of()
    story.grant(plan)
    story.read_quote()
    story.fill_entry(plan)
    story.engine.advance(story.now_ms + held_ms)
    story.look()
    assert story.engine.positions()
    assert story.rules == NONE
    return story


def test_a_permit_for_a_position_that_no_read_could_show_yet_is_allowed() -> None:
    story = held_for(KNOWN_AFTER_MS)
    story.grant(plan_of("2.test.AAA"))
    assert story.rules == NONE


def test_a_permit_for_another_symbol_than_the_held_one_is_allowed() -> None:
    story = held_for(KNOWN_AFTER_MS + 1)
    story.grant(plan_of(ANOTHER, symbol="BBB"))
    assert story.rules == NONE


def test_a_permit_for_a_position_of_an_excused_time_is_allowed() -> None:
    story = held_for(KNOWN_AFTER_MS + 1, lambda symbol, since_ms, until_ms: symbol == "AAA")
    story.grant(plan_of("2.test.AAA"))
    assert story.rules == NONE


# --- sent orders -----------------------------------------------------------------------------


def test_a_second_entry_of_one_trade_is_reported() -> None:
    story = begin()
    again = plan_of(attempt=2, permit_id="1.test.AAA.2")
    story.grant(plan_of())
    story.grant(again)
    story.read_quote()
    story.send_entry(plan_of())
    assert story.rules == NONE
    story.send_entry(again)
    assert story.rules == [HardRule.ENTERED_TWICE]


def test_the_entries_of_two_trades_are_allowed() -> None:
    story = begin()
    another = plan_of(ANOTHER, symbol="BBB")
    story.grant(plan_of())
    story.grant(another)
    story.read_quote()
    story.read_quote("BBB")
    story.send_entry(plan_of())
    story.send_entry(another)
    assert story.rules == NONE


def test_an_entry_without_a_quote_is_reported() -> None:
    story = begin()
    story.grant(plan_of())
    story.read_quote("BBB")
    story.send_entry(plan_of())
    assert story.rules == [HardRule.BAD_QUOTE]


@pytest.mark.parametrize("price", ["bid", "ask", "mark"])
@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "0", "-1"])
def test_an_entry_on_a_price_that_is_no_positive_number_is_reported(price: str, wrong: str) -> None:
    story = begin()
    story.grant(plan_of())
    story.read_quote("AAA", **{price: D(wrong)})
    story.send_entry(plan_of())
    assert story.rules == [HardRule.BAD_QUOTE]


def test_an_entry_on_a_crossed_quote_is_reported() -> None:
    story = begin()
    story.grant(plan_of())
    story.read_quote(bid=D("100.1"), ask=D(100))
    story.send_entry(plan_of())
    assert story.rules == [HardRule.BAD_QUOTE]


def test_an_entry_on_a_quote_whose_bid_is_its_ask_is_allowed() -> None:
    story = begin()
    story.grant(plan_of())
    story.read_quote(bid=D(100), ask=D(100))
    story.send_entry(plan_of())
    assert story.rules == NONE


def test_a_wrong_quote_that_a_true_one_replaced_is_allowed() -> None:
    story = begin()
    story.grant(plan_of())
    story.read_quote(bid=D("NaN"))
    story.read_quote()
    story.send_entry(plan_of())
    assert story.rules == NONE


LEAVING = pytest.mark.parametrize("role", [r for r in OrderRole if r is not OrderRole.ENTRY])


@LEAVING
def test_a_sent_order_that_is_no_entry_and_may_add_is_reported(role: OrderRole) -> None:
    story, order = begin(), attrs.evolve(close_of(100), role=role, reduce_only=False)
    story.intend(order)
    story.monitor.check_order(order, (), story.now_ms)
    assert story.rules == [HardRule.NOT_REDUCING]


@LEAVING
def test_a_sent_order_that_is_no_entry_and_only_reduces_is_allowed(role: OrderRole) -> None:
    story, order = begin(), attrs.evolve(close_of(100), role=role)
    story.intend(order)
    story.monitor.check_order(order, (), story.now_ms)
    assert story.rules == NONE


# --- fills -----------------------------------------------------------------------------------


def holding() -> Story:
    """Return a story with a long of 100 in AAA, at a venue that lists no orders."""
    story, plan = begin(kind=EngineWithoutOrders), plan_of()
    story.grant(plan)
    story.read_quote()
    entry, _ = story.send_entry(plan)
    story.engine.place(make_order_request(entry))
    story.look()
    assert [each.quantity for each in story.engine.positions()] == [100]
    return story


@pytest.mark.parametrize(
    ("side", "quantity"), [(OrderSide.BUY, 1), (OrderSide.SELL, 101)], ids=["larger", "turned"]
)
def test_a_fill_of_an_exit_that_adds_to_a_position_is_reported(
    side: OrderSide, quantity: int
) -> None:
    story, order = holding(), attrs.evolve(close_of(quantity), side=side)
    story.intend(order)
    story.fill(order)
    story.look()
    assert story.monitor.coverage["fills"] == 2
    assert story.rules == [HardRule.ADDED]


@pytest.mark.parametrize("quantity", [40, 100])
def test_a_fill_of_an_exit_that_reduces_a_position_is_allowed(quantity: int) -> None:
    story, order = holding(), close_of(quantity)
    story.intend(order)
    story.fill(order)
    story.look()
    assert story.monitor.coverage["fills"] == 2
    assert story.rules == NONE


# --- the process -----------------------------------------------------------------------------


@attrs.define
class Ending:
    """How a process of a simulation ended, and what the monitor reports."""

    rules: list[HardRule]
    escaped: bool


def end_with(error: BaseException) -> Ending:
    """Run a process of a simulation whose composition root raises ``error``."""

    class EndedRun(SimulatedRun):
        """A process that only raises the error."""

        async def _main(self) -> None:
            raise error

    simulation = Simulation(Scenario(seed=1, faults=()))
    process = EndedRun(simulation, Path("journal"), simulation.start_ms)
    process.run()
    return Ending([each.rule for each in simulation.monitor.found], process.escaped)


@pytest.mark.parametrize(
    "error",
    [ValueError("bad"), ExceptionGroup("two", [ValueError("bad"), RestartStormError("storm")])],
    ids=["alone", "beside a storm"],
)
def test_an_error_that_escapes_a_process_is_reported(error: Exception) -> None:
    assert end_with(error) == Ending([HardRule.ESCAPED], escaped=True)


@pytest.mark.parametrize("error", [Killed("kill"), RestartStormError("storm")])
def test_a_process_that_ends_by_a_kill_or_a_restart_storm_is_allowed(error: BaseException) -> None:
    assert end_with(error) == Ending(NONE, escaped=False)
