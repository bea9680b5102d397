"""Protection actions of open trades."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.book.orders import OrderState
from kamou.core.model import OrderReport, OrderRole, OrderSide, OrderStatus, OrderType, Side
from kamou.core.reconciliation.protection import (
    CLOSE_LEAD_MS,
    UNSEEN_MAX_MS,
    Action,
    Await,
    CancelOrder,
    ClosePosition,
    ConfirmStop,
    PlaceStop,
    StopFailures,
    is_covered,
    pending_exits,
    protect,
)
from kamou.core.risk.limits import RiskLimits
from tests.core.trading_cases import NOON, D, Story, intent, order_closed, plan, venue_order

PLAN = plan()
STOP = intent(OrderRole.STOP_LOSS, PLAN)
LIMITS = RiskLimits()


def unprotected(quantity: str = "100", at_ms: int = NOON) -> Story:
    """Return a story with a position whose stop was never sent."""
    story = Story()
    story.ready()
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    story.fill(entry, quantity, "100", at_ms=at_ms)
    story.say(order_closed(entry, OrderStatus.CANCELED, quantity))
    return story


def actions(
    story: Story, *resting: OrderReport, now_ms: int = NOON + 1, **more: Any
) -> tuple[Action, ...]:
    return protect(
        story.book.trades.open["SOLUSDT"],
        story.book.orders.of_symbol("SOLUSDT"),
        resting,
        limits=LIMITS,
        now_ms=now_ms,
        failures=StopFailures(**more),
    )


PLACE = PlaceStop(
    symbol="SOLUSDT", side=OrderSide.SELL, quantity=D(100), trigger_price=PLAN.stop_price
)


def test_an_unprotected_position_gets_its_stop() -> None:
    assert actions(unprotected()) == (PLACE,)


def test_a_stop_that_is_not_read_back_is_not_protection() -> None:
    story = unprotected()
    story.send(STOP)
    assert actions(story) == (Await(symbol="SOLUSDT", until_ms=NOON + 6_000),)
    story.say(e.OrderAccepted(at_ms=NOON, client_order_id=STOP.client_order_id, venue_order_id="v"))
    assert actions(story) == (Await(symbol="SOLUSDT", until_ms=NOON + 6_000),)


def test_a_stop_that_is_read_back_is_confirmed_once() -> None:
    story = unprotected()
    story.send(STOP)
    resting = venue_order(STOP)
    (confirm,) = actions(story, resting)
    assert confirm == ConfirmStop(
        symbol="SOLUSDT", client_order_id=STOP.client_order_id, quantity=D(100), trigger_price=D(97)
    )
    story.say(
        e.StopConfirmed(
            at_ms=NOON,
            symbol="SOLUSDT",
            client_order_id=STOP.client_order_id,
            quantity=D(100),
            trigger_price=D(97),
        )
    )
    assert actions(story, resting) == ()


@pytest.mark.parametrize(
    "flaw",
    [
        {"type": OrderType.LIMIT},
        {"reduce_only": False},
        {"side": OrderSide.BUY},
        {"symbol": "ADAUSDT"},
        {"status": OrderStatus.CANCELED},
        {"trigger_price": None},
        {"trigger_price": D("96.99")},  # farther than the stop price
        {"quantity": D(99)},
        {"filled": D(1)},
    ],
)
def test_a_flawed_stop_is_not_protection(flaw: dict[str, Any]) -> None:
    story = unprotected()
    story.send(STOP)
    resting = attrs.evolve(venue_order(STOP), **flaw)
    assert not any(isinstance(a, ConfirmStop) for a in actions(story, resting))
    assert not is_covered(
        story.book.trades.open["SOLUSDT"], story.book.orders.of_symbol("SOLUSDT"), [resting]
    )


def test_an_external_stop_does_not_protect_a_position() -> None:
    external = attrs.evolve(venue_order(STOP), client_order_id="someone")
    assert actions(unprotected(), external) == (PLACE,)


def test_a_stop_nearer_than_the_planned_one_is_confirmed() -> None:
    story = unprotected()
    story.send(STOP)
    (confirm,) = actions(story, venue_order(STOP, trigger_price=D("98")))
    assert isinstance(confirm, ConfirmStop)


def test_a_position_that_is_not_protected_in_time_is_closed() -> None:
    story = unprotected()
    story.send(STOP)
    unprotected_ms = story.book.trades.open["SOLUSDT"].unprotected_since_ms
    close_ms = unprotected_ms + 10_000 - CLOSE_LEAD_MS
    assert not isinstance(actions(story, now_ms=close_ms - 1)[0], ClosePosition)
    (close,) = actions(story, now_ms=close_ms)
    assert close == ClosePosition(
        symbol="SOLUSDT", side=OrderSide.SELL, quantity=D(100), reason="not protected in time"
    )


def test_a_stop_that_is_not_read_back_in_3_seconds_is_placed_again() -> None:
    story = unprotected()
    story.send(STOP)
    sent_ms = max(
        story.book.orders.unsettled[STOP.client_order_id].changed_at_ms,
        story.book.trades.open["SOLUSDT"].unprotected_since_ms,
    )
    (wait,) = actions(story, now_ms=sent_ms + UNSEEN_MAX_MS - 1)
    assert isinstance(wait, Await)
    assert actions(story, now_ms=sent_ms + UNSEEN_MAX_MS) == (PLACE,)


def test_a_stop_is_placed_if_a_stop_or_an_exit_timed_out() -> None:
    for role in (OrderRole.STOP_LOSS, OrderRole.EXIT):
        story = unprotected()
        order = story.send(intent(role, PLAN))
        assert isinstance(actions(story)[0], Await)
        story.say(
            e.OrderUnknown(at_ms=NOON, client_order_id=order.client_order_id, reason="timed out")
        )
        assert actions(story) == (PLACE,)


def test_an_exit_that_timed_out_is_repeated_only_if_the_venue_rejects_stops() -> None:
    story = unprotected()
    close = story.send(intent(OrderRole.EXIT, PLAN))
    story.say(e.OrderUnknown(at_ms=NOON, client_order_id=close.client_order_id, reason="timed out"))
    late = NOON + 11_000
    assert actions(story, now_ms=late) == (PLACE,)
    assert isinstance(actions(story, now_ms=late, stop_rejected=True)[0], ClosePosition)


def test_a_position_whose_stop_is_rejected_gets_no_action_but_a_wait_before_the_deadline() -> None:
    assert isinstance(actions(unprotected(), stop_rejected=True)[0], Await)


def test_the_protection_deadline_moves_by_the_time_the_venue_was_unreachable() -> None:
    story = unprotected()
    late = NOON + 11_000
    assert isinstance(actions(story, now_ms=late)[0], ClosePosition)
    assert actions(story, now_ms=late, unreachable_ms=6_000) == (PLACE,)


def test_a_position_with_an_exit_in_flight_gets_no_action_but_a_wait() -> None:
    story = unprotected()
    close = intent(OrderRole.EXIT, PLAN)
    story.send(close)
    sent_ms = story.book.orders.unsettled[close.client_order_id].changed_at_ms
    (wait,) = actions(story, now_ms=sent_ms + UNSEEN_MAX_MS - 1)
    assert isinstance(wait, Await)


def test_a_stop_is_placed_once_the_answer_to_an_exit_is_overdue() -> None:
    story = unprotected()
    close = intent(OrderRole.EXIT, PLAN)
    story.send(close)
    sent_ms = story.book.orders.unsettled[close.client_order_id].changed_at_ms
    assert actions(story, now_ms=sent_ms + UNSEEN_MAX_MS) == (PLACE,)
    assert actions(story, now_ms=sent_ms + 60_000) == (PLACE,)


def confirmed(covering: str = "100", held: str = "100") -> Story:
    story = unprotected(held)
    story.send(STOP)
    story.say(
        e.StopConfirmed(
            at_ms=NOON,
            symbol="SOLUSDT",
            client_order_id=STOP.client_order_id,
            quantity=D(covering),
            trigger_price=D(97),
        )
    )
    return story


def test_a_stop_larger_than_the_position_is_replaced_before_it_is_canceled() -> None:
    story = confirmed("100", "60")
    old = venue_order(STOP)
    (place,) = actions(story, old)
    assert isinstance(place, PlaceStop)
    assert place.quantity == 60
    smaller = story.send(intent(OrderRole.STOP_LOSS, PLAN, "smaller", quantity=D(60)))
    assert actions(story, old) == ()  # in flight; the old stop protects meanwhile
    new = venue_order(smaller)
    confirm, cancel = actions(story, old, new)
    assert isinstance(confirm, ConfirmStop)
    assert confirm.client_order_id == smaller.client_order_id
    assert isinstance(cancel, CancelOrder)
    assert cancel.client_order_id == STOP.client_order_id
    story.say(e.CancelRequested(at_ms=NOON, client_order_id=STOP.client_order_id, reason=""))
    (confirm_only,) = actions(story, old, new)
    assert isinstance(confirm_only, ConfirmStop)


def test_a_larger_stop_is_placed_while_one_smaller_than_the_position_stays() -> None:
    story = confirmed("60", "100")
    old = venue_order(STOP, "60")
    assert actions(story, old) == (PLACE,)


def test_a_vanished_stop_is_replaced_at_once() -> None:
    story = confirmed()
    story.say(order_closed(STOP, OrderStatus.CANCELED))
    assert actions(story, now_ms=NOON + 5_000) == (PLACE,)


def test_a_short_is_protected_by_a_buy_stop_above_its_entry_price() -> None:
    short = plan(side=Side.SHORT)
    story = Story()
    story.ready()
    story.grant(short)
    story.fill(story.send(intent(OrderRole.ENTRY, short)), "100", "100")
    (place,) = actions(story)
    assert place == PlaceStop(
        symbol="SOLUSDT", side=OrderSide.BUY, quantity=D(100), trigger_price=D(103)
    )
    stop = story.send(intent(OrderRole.STOP_LOSS, short))
    assert isinstance(actions(story, venue_order(stop))[0], ConfirmStop)


def test_an_inverted_trade_gets_no_protection_action() -> None:
    story = unprotected()
    story.fill(story.send(STOP), "100", "97")
    story.fill(STOP, "20", "97")
    assert actions(story) == ()


@pytest.mark.parametrize(("sent", "lost"), [(0, -60_000), (-60_000, 0)])
def test_a_stop_is_awaited_for_3_seconds_from_its_intent_or_the_loss_of_protection(
    sent: int, lost: int
) -> None:
    """The later of the two counts: an attached stop rests only after its entry fills."""
    story = unprotected(at_ms=NOON + lost)
    story.send(STOP, NOON + sent)
    for waited_ms, again in ((UNSEEN_MAX_MS - 1, False), (UNSEEN_MAX_MS, True)):
        now_ms = NOON + waited_ms
        done = actions(story, now_ms=now_ms, unreachable_ms=100_000)
        assert (done == (PLACE,)) is again
        assert again or isinstance(done[0], Await)


def test_while_an_exit_is_in_flight_the_position_is_checked_again_after_the_deadline() -> None:
    story = unprotected()
    story.send(intent(OrderRole.EXIT, PLAN), NOON)
    assert actions(story) == (Await(symbol="SOLUSDT", until_ms=NOON + 1 + 10_000),)


@pytest.mark.parametrize(("after_ms", "closed"), [(5_999, False), (6_000, True)])
def test_an_unprotected_position_is_closed_four_seconds_before_its_deadline(
    after_ms: int, closed: bool
) -> None:
    done = actions(unprotected(), now_ms=NOON + after_ms, stop_rejected=True)
    assert isinstance(done[0], ClosePosition) is closed
    if not closed:
        assert done == (Await(symbol="SOLUSDT", until_ms=NOON + 6_000),)
    assert isinstance(actions(unprotected(), now_ms=NOON + after_ms)[0], ClosePosition) is closed


@pytest.mark.parametrize("role", [OrderRole.TAKE_PROFIT, OrderRole.ENTRY])
def test_orders_that_cannot_protect_the_position_do_not_delay_its_stop(role: OrderRole) -> None:
    story = unprotected()
    story.send(intent(role, PLAN, "another"), NOON)
    assert actions(story) == (PLACE,)
    story.send(attrs.evolve(STOP, quantity=D(99)), NOON)  # smaller than the position
    assert actions(story) == (PLACE,)


def test_an_exit_that_the_venue_accepted_is_awaited_without_a_deadline() -> None:
    story = unprotected()
    close = story.send(intent(OrderRole.EXIT, PLAN), NOON)
    story.say(
        e.OrderAccepted(at_ms=NOON, client_order_id=close.client_order_id, venue_order_id="v")
    )
    (waiting,) = actions(story, now_ms=NOON + 60_000)
    assert isinstance(waiting, Await)


def test_a_flat_trade_whose_entry_may_still_fill_needs_no_stop() -> None:
    story = Story()
    story.ready()
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    story.fill(entry, "60", "100")
    story.fill(story.send(intent(OrderRole.EXIT, PLAN)), "60", "101")
    assert story.book.trades.open["SOLUSDT"].quantity == 0
    assert actions(story) == ()


def test_the_stop_nearest_in_size_stays_and_of_equal_stops_the_oldest() -> None:
    story = unprotected()
    sizes = {
        "a": ("150", "0", 5),
        "b": ("130", "25", 9),
        "c": ("110", "0", 7),
        "d": ("106", "1", 8),  # 105 left as of b, and older than b; e has a smaller whole size
        "e": ("105.5", "0", 6),
    }
    resting = []
    for name, (quantity, filled, created_at_ms) in sizes.items():
        stop = story.send(
            attrs.evolve(intent(OrderRole.STOP_LOSS, PLAN, name), quantity=D(quantity))
        )
        resting.append(
            attrs.evolve(venue_order(stop), filled=D(filled), created_at_ms=NOON + created_at_ms)
        )
    names = {name: intent(OrderRole.STOP_LOSS, PLAN, name).client_order_id for name in sizes}
    done = actions(story, *resting)
    kept = done[0]
    assert isinstance(kept, ConfirmStop)
    assert (kept.client_order_id, kept.quantity) == (
        names["d"],
        D(105),
    )  # b has 105 left too, and is younger
    canceled = {a.client_order_id for a in done if isinstance(a, CancelOrder)}
    assert canceled == {names[each] for each in "abce"}


def test_a_stop_is_placed_if_the_pending_one_is_being_canceled() -> None:
    story = unprotected()
    stop = story.send(STOP, NOON)
    assert isinstance(actions(story)[0], Await)
    story.say(e.CancelRequested(at_ms=NOON, client_order_id=stop.client_order_id, reason=""))
    assert actions(story) == (PLACE,)


def test_an_exit_of_the_other_side_is_not_a_pending_exit() -> None:
    """Seed 970693: external orders inverted the position while an exit was in flight."""
    long = unprotected().book.trades.open["SOLUSDT"]
    closes = [OrderState(intent=intent(OrderRole.EXIT, PLAN), changed_at_ms=NOON)]
    assert pending_exits(long, closes) == tuple(closes)
    assert pending_exits(attrs.evolve(long, side=Side.SHORT), closes) == ()
