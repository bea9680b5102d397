"""State machine of an order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.orders import (
    ANSWER_MAX_MS,
    NEXT,
    OrderState,
    apply_order_event,
    is_awaited,
    open_order,
)
from kamou.core.kinds import FillSource
from kamou.core.model import OrderRole, OrderStatus
from tests.core.trading_cases import NOON, D, fill, intent, order_closed, plan

ENTRY = intent(OrderRole.ENTRY, plan())
S = OrderStatus


def acknowledged(venue_order_id: str = "v1") -> e.OrderAccepted:
    return e.OrderAccepted(
        at_ms=NOON, client_order_id=ENTRY.client_order_id, venue_order_id=venue_order_id
    )


def unknown() -> e.OrderUnknown:
    return e.OrderUnknown(at_ms=NOON + 5, client_order_id=ENTRY.client_order_id, reason="time-out")


def rejected() -> e.OrderRejected:
    return e.OrderRejected(at_ms=NOON, client_order_id=ENTRY.client_order_id, code="X", reason="no")


def cancel() -> e.CancelRequested:
    return e.CancelRequested(at_ms=NOON, client_order_id=ENTRY.client_order_id, reason="why")


def filled(quantity: str) -> e.FillRecorded:
    return e.FillRecorded(at_ms=NOON, fill=fill(ENTRY, quantity, "100"), source=FillSource.STREAM)


def after(*events: e.Event) -> OrderState:
    order = open_order(ENTRY, NOON)
    for event in events:
        order = apply_order_event(order, event)
    return order


def test_a_committed_intent_is_a_submitted_order() -> None:
    assert after().status is S.SUBMITTED
    assert after().remaining == 100


def test_a_timed_out_order_is_unknown_until_the_venue_answers() -> None:
    order = after(unknown())
    assert order.status is S.UNKNOWN
    assert order.unknown_since_ms == NOON + 5
    assert not order.status.terminal
    assert after(unknown(), acknowledged()).status is S.ACCEPTED


def test_a_submitted_order_is_awaited_until_overdue_an_accepted_one_longer_and_an_unknown_not() -> (
    None
):
    """The sender may have crashed between the commit and the request (seed 990097)."""
    early, late = NOON + ANSWER_MAX_MS - 1, NOON + ANSWER_MAX_MS
    assert [is_awaited(after(), now_ms) for now_ms in (early, late)] == [True, False]
    assert not is_awaited(after(unknown()), early)
    assert is_awaited(after(acknowledged()), NOON + 10**9)


def test_partial_fills_add_up_to_filled() -> None:
    partly = after(acknowledged(), filled("40"))
    assert partly.status is S.PARTIALLY_FILLED
    assert (partly.filled, partly.remaining) == (D(40), D(60))
    assert after(filled("40"), filled("60")).status is S.FILLED


def test_the_average_price_weighs_fills_by_quantity() -> None:
    other = e.FillRecorded(at_ms=NOON, fill=fill(ENTRY, "60", "110"), source=FillSource.STREAM)
    assert after(filled("40"), other).average_price == D("106")
    assert after().average_price is None


def test_a_fill_may_come_before_the_acceptance() -> None:
    order = after(filled("40"), acknowledged("v9"))
    assert order.status is S.PARTIALLY_FILLED
    assert order.venue_order_id == "v9"


@pytest.mark.parametrize(
    "late", [acknowledged(), unknown(), rejected(), cancel(), order_closed(ENTRY, S.CANCELED)]
)
def test_late_events_leave_a_filled_order_unchanged(late: e.Event) -> None:
    done = after(acknowledged(), filled("100"))
    assert apply_order_event(done, late) is done


def test_repeated_or_outdated_events_change_nothing() -> None:
    once = after(acknowledged(), cancel())
    assert apply_order_event(once, acknowledged()) is once
    assert apply_order_event(once, cancel()) is once
    assert apply_order_event(after(acknowledged()), unknown()).status is S.ACCEPTED


def test_an_order_that_ended_is_unsettled_until_its_reported_fills_are_recorded() -> None:
    order = after(acknowledged(), order_closed(ENTRY, S.CANCELED, "30"))
    assert order.status.terminal
    assert not order.settled
    assert order.remaining == 30
    assert apply_order_event(order, filled("30")).settled


def test_a_larger_filled_quantity_of_a_terminal_order_is_recorded_and_its_status_stays() -> None:
    order = after(order_closed(ENTRY, S.CANCELED))
    later = apply_order_event(order, order_closed(ENTRY, S.CANCELED, "10"))
    assert later.reported == 10
    assert later.status is S.CANCELED


def test_a_partly_filled_order_whose_rest_is_rejected_is_canceled() -> None:
    assert after(filled("10"), rejected()).status is S.CANCELED
    assert after(rejected()).status is S.REJECTED


def test_an_order_being_canceled_may_still_fill() -> None:
    order = after(acknowledged(), cancel(), filled("40"))
    assert order.status is S.PENDING_CANCEL
    assert order.filled == 40
    assert apply_order_event(order, filled("60")).status is S.FILLED


@pytest.mark.parametrize("status", [S.ACCEPTED, S.SUBMITTED, S.UNKNOWN])
def test_a_closure_with_a_status_that_is_not_terminal_fails_an_assertion(
    status: OrderStatus,
) -> None:
    with pytest.raises(AssertionError):
        after(order_closed(ENTRY, status))


def test_an_event_of_another_order_or_of_no_order_fails_an_assertion() -> None:
    other = intent(OrderRole.STOP_LOSS, plan())
    with pytest.raises(AssertionError):
        after(order_closed(other, S.CANCELED))
    with pytest.raises(AssertionError):
        after(e.DriftExplained(at_ms=NOON, reason=""))
    with pytest.raises(AssertionError):
        after(e.FillRecorded(at_ms=NOON, fill=fill(other, "1", "1"), source=FillSource.STREAM))


def test_the_transition_table_has_no_state_after_a_terminal_one() -> None:
    assert {s for s, after_ in NEXT.items() if not after_} == {s for s in S if s.terminal}
    assert set(NEXT) == set(S)


EVENTS = st.sampled_from(
    [acknowledged(), unknown(), rejected(), cancel(), order_closed(ENTRY, S.CANCELED, "20")]
) | st.sampled_from(["1", "20", "50"]).map(filled)


@settings(max_examples=100)
@given(st.lists(EVENTS, max_size=12))
def test_an_order_ends_only_by_a_fill_a_closure_or_a_rejection(shown: list[e.Event]) -> None:
    order = open_order(ENTRY, NOON)
    for event in shown:
        before, order = order, apply_order_event(order, event)
        if order.status is not before.status:
            assert order.status in NEXT[before.status]
        if order.status.terminal and not before.status.terminal:
            reports = (e.OrderRejected, e.OrderClosed, e.FillRecorded)
            assert isinstance(event, reports)
        assert order.filled >= before.filled
