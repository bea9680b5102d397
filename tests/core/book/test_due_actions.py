"""Due actions of the order manager, as functions of the book and the time."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.due_actions import (
    IN_FLIGHT_MAX_MS,
    ORDER_RETRY_MS,
    CancelEntry,
    CheckTrade,
    CloseTrade,
    PlaceTarget,
    ProtectTrade,
    QueryOrder,
    decide_trade,
    find_due_actions,
    is_urgent,
    next_look_ms,
)
from kamou.core.codes import StateReason
from kamou.core.model import OrderRole, TradingState
from tests.core.trading_cases import NOON, Story, intent, plan

CYCLE_MS = 300_000
PLAN = plan()


def halt(story: Story, after: TradingState) -> None:
    before = story.book.trading.state
    story.say(
        e.StateChanged(at_ms=NOON, before=before, after=after, reason=StateReason.OPERATOR_HALT)
    )


def test_a_book_without_orders_and_trades_has_no_due_action_and_waits_for_the_cycle(
    story: Story,
) -> None:
    assert find_due_actions(story.book, NOON) == ()
    assert not is_urgent(story.book, NOON)
    assert next_look_ms(story.book, NOON + 1, CYCLE_MS) == NOON + CYCLE_MS


def test_an_order_in_flight_is_queried_after_five_seconds_or_at_once_if_unknown(
    story: Story,
) -> None:
    story.open(PLAN)
    exit_ = intent(OrderRole.EXIT, PLAN)
    story.say(e.IntentRecorded(at_ms=NOON, intent=exit_))
    query = QueryOrder(exit_.client_order_id)
    assert query not in find_due_actions(story.book, NOON + IN_FLIGHT_MAX_MS - 1)
    assert query in find_due_actions(story.book, NOON + IN_FLIGHT_MAX_MS)
    assert is_urgent(story.book, NOON)
    story.say(e.OrderUnknown(at_ms=NOON, client_order_id=exit_.client_order_id, reason="no answer"))
    assert query in find_due_actions(story.book, NOON)


def test_a_resting_entry_is_queried_after_a_second_and_canceled_in_a_halt(story: Story) -> None:
    story.grant(PLAN)
    entry = intent(OrderRole.ENTRY, PLAN)
    name = entry.client_order_id
    story.say(
        e.IntentRecorded(at_ms=NOON, intent=entry),
        e.OrderAccepted(at_ms=NOON, client_order_id=name, venue_order_id="v1"),
    )
    assert find_due_actions(story.book, NOON + ORDER_RETRY_MS - 1) == ()
    assert find_due_actions(story.book, NOON + ORDER_RETRY_MS) == (QueryOrder(name),)
    halt(story, TradingState.REDUCE_ONLY)
    assert find_due_actions(story.book, NOON) == (CancelEntry(name, "reduce_only"),)


@given(st.integers(0, 100 * IN_FLIGHT_MAX_MS))
def test_a_query_stays_due_however_late_it_is_and_is_never_due_twice(late_ms: int) -> None:
    resting, waiting = Story(), Story()
    resting.ready()
    waiting.ready()
    resting.grant(PLAN)
    entry, exit_ = intent(OrderRole.ENTRY, PLAN), intent(OrderRole.EXIT, PLAN)
    resting.say(
        e.IntentRecorded(at_ms=NOON, intent=entry),
        e.OrderAccepted(at_ms=NOON, client_order_id=entry.client_order_id, venue_order_id="v1"),
    )
    waiting.open(PLAN)
    waiting.say(e.IntentRecorded(at_ms=NOON, intent=exit_))
    of_entry = find_due_actions(resting.book, NOON + ORDER_RETRY_MS + late_ms)
    assert of_entry == (QueryOrder(entry.client_order_id),)
    of_exit = find_due_actions(waiting.book, NOON + IN_FLIGHT_MAX_MS + late_ms)
    assert of_exit.count(QueryOrder(exit_.client_order_id)) == 1


def test_unprotected_trades_are_checked_first_and_make_the_book_urgent(story: Story) -> None:
    story.open(PLAN)
    other = plan("ETHUSDT", permit_id="p2", signal_id="s2")
    story.open(other)
    story.say(e.ProtectionLost(at_ms=NOON, symbol="ETHUSDT", reason="gone"))
    checks = [a for a in find_due_actions(story.book, NOON) if isinstance(a, CheckTrade)]
    assert checks == [CheckTrade("ETHUSDT"), CheckTrade("SOLUSDT")]
    assert is_urgent(story.book, NOON)


@pytest.mark.parametrize("attached", [True, False])
def test_a_protected_trade_needs_its_target_only_if_the_venue_attaches_none(
    story: Story, attached: bool
) -> None:
    story.open(PLAN)
    assert story.book.trades.open["SOLUSDT"].protected
    wanted = None if attached else PlaceTarget("SOLUSDT")
    assert decide_trade(story.book, "SOLUSDT", NOON, attached_stop=attached) == wanted
    assert decide_trade(story.book, "ETHUSDT", NOON, attached_stop=attached) is None


def test_flattening_comes_before_the_time_limit_and_that_before_protection(story: Story) -> None:
    story.open(PLAN)
    trade = story.book.trades.open["SOLUSDT"]
    hold_until_ms = trade.hold_until_ms
    assert hold_until_ms > NOON
    story.say(e.ProtectionLost(at_ms=NOON, symbol="SOLUSDT", reason="gone"))

    def decide(at_ms: int) -> object:
        return decide_trade(story.book, "SOLUSDT", at_ms, attached_stop=True)

    assert decide(hold_until_ms - 1) == ProtectTrade("SOLUSDT")
    assert decide(hold_until_ms) == CloseTrade("SOLUSDT", "time limit")
    halt(story, TradingState.FLATTENING)
    assert decide(hold_until_ms) == CloseTrade("SOLUSDT", "flatten", again=True)


def test_the_next_look_is_at_the_time_limit_of_a_trade_if_it_comes_before_the_cycle(
    story: Story,
) -> None:
    story.open(PLAN)
    trade = attrs.evolve(story.book.trades.open["SOLUSDT"], hold_until_ms=NOON + 90_000)
    story.book.trades.open["SOLUSDT"] = trade
    assert next_look_ms(story.book, NOON + 1, CYCLE_MS) == NOON + 90_000
    assert next_look_ms(story.book, NOON + 90_000, CYCLE_MS) == NOON + CYCLE_MS
