"""Post-only entries that rest: their order, when they end, and what is reserved meanwhile."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.due_actions import (
    ORDER_RETRY_MS,
    CancelEntry,
    QueryOrder,
    find_due_actions,
    is_urgent,
    next_look_ms,
    why_entry_ends,
)
from kamou.core.book.instrument_events import InstrumentChanged
from kamou.core.book.intents import entry_intents
from kamou.core.codes import StateReason
from kamou.core.model import Intent, OrderRole, OrderStatus, Side, TimeInForce, TradingState
from kamou.exchange.embedded import make_order_request
from tests.core.trading_cases import (
    INSTRUMENTS,
    NOON,
    D,
    Story,
    exposure_at,
    intent,
    order_closed,
    plan,
)

REST_MS = 120_000
CYCLE_MS = 300_000
PLAN = plan(rest_ms=REST_MS)
ENTRY = intent(OrderRole.ENTRY, PLAN, time_in_force=TimeInForce.GTC)
NAME = ENTRY.client_order_id


def rest(story: Story, entry: Intent = ENTRY) -> Story:
    story.grant(PLAN)
    story.send(entry)
    story.say(e.OrderAccepted(at_ms=NOON, client_order_id=NAME, venue_order_id="v1"))
    return story


def ends(story: Story, now_ms: int) -> str:
    return why_entry_ends(story.book.orders.unsettled[NAME], story.book, now_ms)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("rest_ms", [0, REST_MS])
def test_an_entry_is_post_only_exactly_if_its_plan_may_rest(side: Side, rest_ms: int) -> None:
    made = entry_intents(
        plan(side=side, rest_ms=rest_ms), now_ms=NOON, salt_of=lambda _name: bytes(32)
    )
    entry, *attached = (make_order_request(each) for each in made)
    assert entry.post_only is (rest_ms > 0)
    assert entry.time_in_force is (TimeInForce.GTC if rest_ms else TimeInForce.IOC)
    assert not any(each.post_only for each in attached)


def test_a_resting_entry_ends_at_its_deadline_and_not_before(story: Story) -> None:
    rest(story)
    assert ends(story, NOON) == ends(story, NOON + REST_MS - 1) == ""
    for late_ms in (0, 1, 10**9):
        due = find_due_actions(story.book, NOON + REST_MS + late_ms, attached_stop=True)
        assert due == (CancelEntry(NAME, "its deadline has passed"),)


def test_an_entry_that_takes_has_no_deadline(story: Story) -> None:
    rest(story, intent(OrderRole.ENTRY, PLAN))
    assert ends(story, NOON + 10**9) == ""


def test_a_resting_entry_ends_if_the_clock_was_set_back_behind_its_intent(story: Story) -> None:
    assert ends(rest(story), NOON - 1) == "its deadline has passed"


def test_a_resting_entry_whose_permit_the_book_does_not_have_ends_at_once(story: Story) -> None:
    story.send(ENTRY)
    story.say(e.OrderAccepted(at_ms=NOON, client_order_id=NAME, venue_order_id="v1"))
    assert ends(story, NOON) == "its deadline has passed"


@pytest.mark.parametrize(
    "state", [s for s in TradingState if not s.entries_allowed], ids=lambda s: str(s)
)
def test_every_state_without_entries_ends_a_resting_entry(
    story: Story, state: TradingState
) -> None:
    rest(story)
    before, reason = story.book.trading.state, StateReason.OPERATOR_HALT
    story.say(e.StateChanged(at_ms=NOON, before=before, after=state, reason=reason))
    assert ends(story, NOON) == state


def test_a_resting_entry_ends_if_its_contract_changes(story: Story) -> None:
    rest(story)
    changed = attrs.evolve(INSTRUMENTS["SOLUSDT"], contract_size=D("0.01"))
    story.say(InstrumentChanged(at_ms=NOON, instrument=changed, figures=()))
    assert ends(story, NOON) == "its contract has changed"


def test_a_resting_entry_ends_as_soon_as_a_part_of_its_trade_closed(story: Story) -> None:
    rest(story)
    story.fill(ENTRY, "40", "100")
    assert ends(story, NOON) == ""
    stop = story.send(intent(OrderRole.STOP_LOSS, PLAN))
    story.fill(stop, "10", "97")
    assert ends(story, NOON) == "its trade closes"


def test_a_resting_entry_ends_at_the_time_limit_of_its_trade(story: Story) -> None:
    short = attrs.evolve(PLAN, hold_ms=60_000)
    story.grant(short)
    story.send(ENTRY)
    story.fill(ENTRY, "40", "100")
    assert ends(story, NOON + 59_999) == ""
    assert ends(story, NOON + 60_000) == "its trade closes"


def test_a_resting_entry_is_queried_each_second_only_if_its_stop_is_not_attached(
    story: Story,
) -> None:
    rest(story)
    now_ms = NOON + ORDER_RETRY_MS
    assert find_due_actions(story.book, now_ms) == (QueryOrder(NAME),)
    assert is_urgent(story.book, now_ms)
    assert find_due_actions(story.book, now_ms, attached_stop=True) == ()
    assert not is_urgent(story.book, now_ms, attached_stop=True)
    assert next_look_ms(story.book, now_ms, CYCLE_MS) == NOON + REST_MS
    assert is_urgent(story.book, NOON + REST_MS, attached_stop=True)


def test_a_cancel_without_an_answer_stays_due_and_urgent(story: Story) -> None:
    rest(story)
    at_ms = NOON + REST_MS
    story.say(e.CancelRequested(at_ms=at_ms, client_order_id=NAME, reason="deadline"))
    due = find_due_actions(story.book, at_ms + ORDER_RETRY_MS, attached_stop=True)
    assert due == (QueryOrder(NAME), CancelEntry(NAME, "its deadline has passed"))
    assert is_urgent(story.book, at_ms, attached_stop=True)


PARTS = st.lists(st.integers(1, 60), max_size=5)


@settings(max_examples=200)
@given(PARTS, PARTS, st.booleans(), st.booleans())
def test_fills_and_reservation_together_never_exceed_the_plan(
    before: list[int], after: list[int], cancels: bool, ended: bool
) -> None:
    """Fills may come before the cancel, during it, and after the venue's report of the end."""
    story = Story()
    story.ready()
    rest(story)
    filled, steps = 0, [*before, None, *after]
    total = min(100, sum(before) + sum(after))
    for step in steps:
        if step is None:
            if cancels:
                story.say(e.CancelRequested(at_ms=NOON, client_order_id=NAME, reason="deadline"))
            if ended:
                story.say(order_closed(ENTRY, OrderStatus.CANCELED, str(total)))
        elif filled + step <= 100:
            story.fill(ENTRY, str(step), "100")
            filled += step
        trade = story.book.trades.open.get("SOLUSDT")
        held = D(0) if trade is None else trade.quantity
        left = sum((r.remaining for r in story.book.permits.reservations.values()), D(0))
        assert held == filled
        assert held + left <= PLAN.quantity
        if not ended:
            assert held + left == PLAN.quantity
            # At 100 and without exit costs a contract risks its share of the plan's risk.
            assert exposure_at(story).notional["SOLUSDT"] == PLAN.notional
