"""Exposure, reductions, and limits under any order of approvals."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.orders import ANSWER_MAX_MS
from kamou.core.model import OrderRole, OrderStatus, Side
from kamou.core.risk import governor
from kamou.core.risk.governor import review_entry, review_reduction
from kamou.core.risk.limits import RiskLimits
from kamou.core.risk.pacing import full_bucket
from kamou.core.risk.sizing import Allowance, Sized, UnsizedTrade, size_trade
from kamou.core.risk.verdict import Approved
from tests.core.trading_cases import (
    INSTRUMENTS,
    NOON,
    D,
    Story,
    exposure_at,
    headroom_of,
    intent,
    mark,
    order_closed,
    plan,
    review,
)

LIMITS = RiskLimits()


# --- exposure ------------------------------------------------------------------------


def test_open_risk_counts_from_the_mark_to_the_stop(story: Story) -> None:
    story.open(plan())
    at_entry = exposure_at(story, {"SOLUSDT": D(100)})
    # 10 units x (3 + 0.25 x 3 + 8 bps x 97)
    assert at_entry.open_risk == D("38.276")
    assert exposure_at(story, {"SOLUSDT": D(105)}).open_risk == D("88.276")
    assert exposure_at(story, {"SOLUSDT": D(90)}).open_risk == D(
        "8.276"
    )  # the mark is beyond the stop
    assert exposure_at(story).open_risk == D("38.276")  # no mark: the entry price
    assert at_entry.cluster == {Side.LONG: D("38.276"), Side.SHORT: 0}
    assert at_entry.net_notional == {Side.LONG: 1000, Side.SHORT: 1000}


def test_the_filled_part_of_an_entry_is_not_counted_as_reserved_too(story: Story) -> None:
    story.grant(plan())
    before = exposure_at(story)
    assert (before.open_risk, before.notional_total, before.margin_reserved) == (
        D(41),
        D(1000),
        D(200),
    )
    entry = story.send(intent(OrderRole.ENTRY, plan()))
    story.fill(entry, "40", "100")
    after = exposure_at(story, {"SOLUSDT": D(100)})
    assert after.notional_total == 1000
    assert after.margin_reserved == 120
    story.say(order_closed(entry, OrderStatus.CANCELED, "40"))
    assert exposure_at(story, {"SOLUSDT": D(100)}).notional_total == 400


def test_the_headroom_is_what_positions_and_losses_leave_of_the_limits(story: Story) -> None:
    headroom = headroom_of(story, "SOLUSDT")
    assert (headroom.risk, headroom.notional) == (D(200), D(4000))
    story.open(plan("BTCUSDT"))
    major = headroom_of(story)
    assert major.risk == 400 - D("38.276") - D("1.3")  # 0.5 of fees, 0.8 of exit costs
    story.say(mark("9500"))
    none = headroom_of(story)
    assert (none.risk, none.notional) == (D(0), D(0))


# --- reductions ------------------------------------------------------------------------


def test_a_reducing_order_within_the_position_passes() -> None:
    long = plan()
    for role in (OrderRole.STOP_LOSS, OrderRole.TAKE_PROFIT, OrderRole.EXIT):
        assert review_reduction(intent(role, long), D(100)) is None
    short = plan(side=Side.SHORT)
    assert review_reduction(intent(OrderRole.EXIT, short), D(-100)) is None


@pytest.mark.parametrize(
    ("role", "position", "changes"),
    [
        (OrderRole.ENTRY, "100", {}),
        (OrderRole.EXIT, "100", {"reduce_only": False}),
        (OrderRole.EXIT, "0", {}),
        (OrderRole.EXIT, "-100", {}),
        (OrderRole.EXIT, "99", {}),
        (OrderRole.STOP_LOSS, "99", {}),
    ],
)
def test_a_reduction_that_adds_or_reverses_exposure_is_denied(
    role: OrderRole, position: str, changes: dict[str, Any]
) -> None:
    denial = review_reduction(attrs.evolve(intent(role, plan()), **changes), D(position))
    assert denial is not None
    assert denial.code == "EXIT_INCREASES_EXPOSURE"


def test_an_exit_that_reverses_the_position_together_with_one_in_flight_is_denied(
    story: Story,
) -> None:
    first = story.send(intent(OrderRole.EXIT, plan(), "first", quantity=D(60)))
    orders = story.book.orders.of_symbol("SOLUSDT")
    half = intent(OrderRole.EXIT, plan(), "second", quantity=D(40))
    assert review_reduction(half, D(100), orders) is None
    assert review_reduction(attrs.evolve(half, quantity=D(41)), D(100), orders) is not None
    assert review_reduction(first, D(60), orders) is None  # it does not count against itself


def test_an_exit_whose_sender_crashed_counts_against_another_until_its_answer_is_overdue(
    story: Story,
) -> None:
    """Seed 990097: the intent was committed, and its order was never sent."""
    story.send(intent(OrderRole.EXIT, plan(), "first", quantity=D(100)))
    second = intent(OrderRole.EXIT, plan(), "second", quantity=D(100))
    orders = story.book.orders.of_symbol("SOLUSDT")
    early, late = NOON + ANSWER_MAX_MS - 1, NOON + ANSWER_MAX_MS
    assert review_reduction(second, D(100), orders, now_ms=early) is not None
    assert review_reduction(second, D(100), orders, now_ms=late) is None


def test_an_exit_of_the_other_side_does_not_count_against_an_exit() -> None:
    """External orders inverted the position, so the venue rejects the earlier exit."""
    story = Story()
    story.ready()
    story.send(attrs.evolve(intent(OrderRole.EXIT, plan()), quantity=D(60)))
    orders = story.book.orders.of_symbol("SOLUSDT")
    other = intent(OrderRole.EXIT, plan(side=Side.SHORT), "other")
    assert review_reduction(other, D(-100), orders) is None


def test_an_exit_that_timed_out_does_not_count_against_another_exit(story: Story) -> None:
    first = story.send(intent(OrderRole.EXIT, plan(), "first", quantity=D(100)))
    second = intent(OrderRole.EXIT, plan(), "second", quantity=D(100))
    assert review_reduction(second, D(100), story.book.orders.of_symbol("SOLUSDT")) is not None
    story.say(e.OrderUnknown(at_ms=NOON, client_order_id=first.client_order_id, reason="timed out"))
    assert review_reduction(second, D(100), story.book.orders.of_symbol("SOLUSDT")) is None


# --- pacing ----------------------------------------------------------------------------


def test_message_tokens_refill_at_their_rate_and_may_be_overdrawn() -> None:
    bucket = full_bucket(10, NOON).take(10)
    assert bucket.tokens == 0
    assert bucket.at(NOON + 250).tokens == 2.5
    assert bucket.at(NOON + 60_000).tokens == 10
    assert bucket.at(NOON - 5) == bucket
    assert bucket.take(3).at(NOON + 100).tokens == -2


# --- any order of approvals --------------------------------------------------------------

SYMBOLS = sorted(INSTRUMENTS)


@settings(max_examples=40)
@given(st.data())
def test_approvals_keep_open_risk_and_notional_within_their_limits_in_any_order_of_events(
    data: st.DataObject,
) -> None:
    story = Story()
    story.ready()
    entries: list[Any] = []
    for n in range(data.draw(st.integers(1, 14))):
        step = data.draw(st.integers(0, 5))
        if step <= 2 or not entries:
            symbol = data.draw(st.sampled_from(SYMBOLS))
            side = data.draw(st.sampled_from(Side))
            stop = D(100) - side.sign * D(data.draw(st.sampled_from(["1.5", "3", "9"])))
            quantity = D(data.draw(st.integers(1, 200)))
            wish = plan(
                symbol,
                side,
                permit_id=f"p{n}",
                signal_id=f"s{n}",
                quantity=quantity,
                stop_price=stop,
                risk=D(0),
                leverage=2,
            )
            verdict, event = review_entry(review(story.book, wish))
            story.say(event)
            if isinstance(verdict, Approved):
                entries.append(story.send(intent(OrderRole.ENTRY, wish)))
        elif step == 3:
            entry = data.draw(st.sampled_from(entries))
            order = story.book.orders.unsettled.get(entry.client_order_id)
            if order is not None:
                part = data.draw(st.sampled_from([order.remaining, D(1)]))
                story.fill(entry, str(part), "100")
        else:
            entry = data.draw(st.sampled_from(entries))
            order = story.book.orders.unsettled.get(entry.client_order_id)
            if order is not None:
                story.say(order_closed(entry, OrderStatus.CANCELED, str(order.filled)))
        # The plans have a risk of 0, so permits reserve the risk that the governor computed.
        exposure = exposure_at(story, {s: D(100) for s in SYMBOLS})
        assert exposure.open_risk <= D(400)
        assert all(money <= D(1500) for money in exposure.notional.values())
        assert all(risk <= D(200) for risk in exposure.cluster.values())
        assert exposure.notional_total <= D(30000)


def test_the_governor_approves_plans_with_the_sizes_that_sizing_computes(story: Story) -> None:
    """Planner and governor compute independently; a difference denies the plan."""
    for side in Side:
        for distance in ("0.5", "1.5", "4", "8", "12"):
            c = review(story.book, plan(side=side))
            trade = UnsizedTrade(
                entry=D(100),
                stop=D(100) - side.sign * D(distance),
                side=side,
                instrument=INSTRUMENTS["SOLUSDT"],
                costs=c.trade_costs,
                gap=c.gap,
                value_price=D("100.01"),
            )
            allowance = Allowance(sizing_equity=story.book.account.sizing_equity)
            made = size_trade(trade, allowance, LIMITS)
            assert isinstance(made, Sized)
            sized = plan(
                side=side,
                quantity=made.contracts,
                stop_price=D(100) - side.sign * D(distance),
                risk=made.risk,
                leverage=made.leverage,
            )
            verdict, _ = governor.review_entry(review(story.book, sized))
            assert isinstance(verdict, Approved), verdict
