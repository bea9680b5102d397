"""Planned risk of a trade, the base of R and overshoot even if its stop moves."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.trades import (
    adopt_trade,
    apply_fill,
    closed_trade,
    correct_trade,
    open_trade,
    restate_trade,
)
from kamou.core.model import (
    FillReport,
    OrderRole,
    OrderSide,
    Plan,
    Side,
)
from kamou.core.risk.exposure import trade_risk
from kamou.core.risk.governor import review_entry
from kamou.core.risk.verdict import Approved
from kamou.messages.codec import decode_event, encode
from tests.core.trading_cases import NOON, D, Story, fill, intent, plan, review, venue_position
from tests.core.venue_views import NEXT_MS, look, run

TWO_PERCENT = plan(stop_price=D(98), risk=D(30))  # 10 units at 100
TICK = D("0.0001")


def restated(of: Plan, stop: str) -> e.TradeRestated:
    """Return a restatement that moves the stop, as if liquidation had come nearer."""
    return e.TradeRestated(
        at_ms=NOON,
        trade_id=of.signal_id,
        symbol=of.symbol,
        contract_size=of.contract_size,
        tick=TICK,
        stop_price=D(stop),
    )


def adopted(stop: str) -> e.PositionAdopted:
    return e.PositionAdopted(
        at_ms=NOON,
        trade_id="adopted",
        symbol="SOLUSDT",
        side=Side.LONG,
        quantity=D(100),
        contract_size=D("0.1"),
        entry_price=D(100),
        stop_price=D(stop),
    )


def result(story: Story) -> e.TradeClosed:
    (closed,) = story.book.pending_closures(NOON + 10)
    return closed


# --- reported figures ----------------------------------------------------------------------


def test_a_trade_whose_stop_moved_to_one_tick_has_r_0_02_and_not_397_5(story: Story) -> None:
    story.open(TWO_PERCENT)
    story.say(restated(TWO_PERCENT, "99.9999"))
    target = intent(OrderRole.TAKE_PROFIT, TWO_PERCENT)
    story.send(target)
    story.fill(target, "100", "100.03975", fee=D("-0.5"))  # the fees cancel out
    closed = result(story)
    assert closed.pnl_net == D("0.3975")
    assert closed.r_multiple == D("0.019875")
    assert closed.pnl_net / (abs(closed.entry_price - closed.stop_price) * 10) == D("397.5")
    assert (closed.planned_entry, closed.planned_stop, closed.stop_price) == (
        D(100),
        D(98),
        D("99.9999"),
    )


def test_a_stop_one_tick_away_that_fills_0_3_beyond_has_an_overshoot_of_0_15_and_not_30(
    story: Story,
) -> None:
    story.open(TWO_PERCENT)
    story.say(restated(TWO_PERCENT, "99.99"))
    nearer = intent(OrderRole.STOP_LOSS, TWO_PERCENT, "nearer", trigger_price=D("99.99"))
    story.send(nearer)
    story.fill(nearer, "100", "99.69")
    assert [each.multiple for each in story.book.recent_activity.overshoots] == [D("0.15")]
    story.say(result(story))
    verdict, _ = review_entry(review(story.book, another_two_percent_stop()))
    assert isinstance(verdict, Approved)


def test_an_adopted_position_has_no_r_and_records_no_overshoot(story: Story) -> None:
    story.say(adopted("99.99"))
    trade = story.book.trades.open["SOLUSDT"]
    stop = intent(
        OrderRole.STOP_LOSS, plan(), "own", trade_id=trade.trade_id, trigger_price=trade.stop_price
    )
    story.send(stop)
    story.fill(stop, "100", "99.69")
    assert story.book.recent_activity.overshoots == []
    closed = result(story)
    assert (closed.r_multiple, closed.planned_entry, closed.planned_stop) == (None, None, None)
    story.say(closed)
    verdict, _ = review_entry(review(story.book, another_two_percent_stop()))
    assert isinstance(verdict, Approved)


def test_a_position_too_large_for_any_stop_is_adopted_with_a_stop_one_tick_away_and_no_r(
    story: Story,
) -> None:
    run(story, look(positions=(venue_position("SOLUSDT", "1000000"),)))
    trade = story.book.trades.open["SOLUSDT"]
    assert trade.stop_price == D("99.99")
    story.fill(None, "1000000", "99.69", at_ms=NEXT_MS + 1)
    (closed,) = story.book.pending_closures(NEXT_MS + 2)
    assert closed.r_multiple is None


def another_two_percent_stop() -> Plan:
    return plan("XRPUSDT", permit_id="next", signal_id="next", stop_price=D(98), risk=D(30))


# --- by definition -------------------------------------------------------------------------


@attrs.frozen
class Step:
    """Event of a trade: a fill, a new contract specification or a moved stop."""

    kind: str  # entry | outside | reduce | restated | moved
    quantity: int
    price: int


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["entry", "entry", "reduce", "restated", "moved", "outside"]),
        st.integers(1, 40),
        st.integers(80, 120),
    ),
    max_size=8,
)


@given(
    side=st.sampled_from(Side),
    distance=st.integers(1, 15),
    first=st.integers(1, 90),
    then=steps,
    out=st.integers(80, 120),
)
def test_r_is_net_pnl_over_planned_distance_times_planned_units(
    side: Side, distance: int, first: int, then: list[Step], out: int
) -> None:
    of = plan(side=side, stop_price=D(100) - side.sign * distance)
    entry = intent(OrderRole.ENTRY, of)
    trade = apply_fill(
        open_trade(of, of.signal_id, NOON), fill(entry, str(first), "100"), OrderRole.ENTRY
    )
    size = D("0.1")  # contract size now
    units = first * size  # opened by the plan
    held, cash, enlarged = first * size, -first * size * 100, False
    for step in then:
        moved = step.quantity * size
        if step.kind == "restated":
            trade = restate_trade(trade, attrs.evolve(restated(of, "99"), contract_size=size / 2))
            size /= 2
        elif step.kind == "moved":
            trade = restate_trade(
                trade, attrs.evolve(restated(of, str(step.price)), contract_size=size)
            )
        elif step.kind == "reduce":
            if moved >= held:
                continue
            trade = apply_fill(trade, other(of, step, side.closing), OrderRole.EXIT)
            held, cash = held - moved, cash + moved * step.price
        else:
            own = step.kind == "entry"
            done = other(of, step, side.opening)
            trade = apply_fill(trade, done, OrderRole.ENTRY if own else None)
            held, cash = held + moved, cash - moved * step.price
            units += moved if own else 0
            enlarged = enlarged or not own
    last = other(of, Step("reduce", 1, out), side.closing)
    trade = apply_fill(trade, attrs.evolve(last, quantity=trade.quantity), OrderRole.STOP_LOSS)
    closed = closed_trade(trade, NOON)
    gross = (cash + held * out) * side.sign
    assert abs(closed.pnl_gross - gross) < D("1e-12")
    if enlarged:
        assert closed.r_multiple is None
    else:
        assert closed.r_multiple is not None
        wanted = float(gross - trade.fees) / float(distance * units)
        assert float(closed.r_multiple) == pytest.approx(wanted, abs=1e-6)


def other(of: Plan, step: Step, side: OrderSide) -> FillReport:
    return fill(None, str(step.quantity), str(step.price), symbol=of.symbol, side=side)


def test_a_correction_that_enlarges_a_trade_leaves_it_without_r() -> None:
    trade = apply_fill(
        open_trade(TWO_PERCENT, "t", NOON),
        fill(intent(OrderRole.ENTRY, TWO_PERCENT), "100", "100"),
        OrderRole.ENTRY,
    )
    assert trade.planned_risk == 20
    assert correct_trade(trade, D(70), D(99), NOON).planned_risk == 20
    assert correct_trade(trade, D(130), D(99), NOON).planned_risk is None


@pytest.mark.parametrize(("mark", "stop"), [("100", "99.99"), ("110", "100"), ("90", "89")])
def test_the_gap_buffer_of_an_unplanned_trade_multiplies_its_whole_stop_distance(
    mark: str, stop: str
) -> None:
    """The distance is the larger of entry (100) to stop and mark to stop, above 0."""
    trade = adopt_trade(adopted(stop))
    gap = D("0.25")
    distance = D(mark) - D(stop)
    farther = max(abs(100 - D(stop)), distance)
    assert trade_risk(trade, D(mark), D(0), gap) == (distance + gap * farther) * 10


def test_the_gap_buffer_of_a_restated_trade_multiplies_its_planned_distance() -> None:
    trade = apply_fill(
        open_trade(TWO_PERCENT, "t", NOON),
        fill(intent(OrderRole.ENTRY, TWO_PERCENT), "100", "100"),
        OrderRole.ENTRY,
    )
    moved = attrs.evolve(trade, stop_price=D("99.99"))
    assert trade_risk(moved, D(100), D(0), D("0.25")) == (D("0.01") + D("0.25") * 2) * 10


# --- older journals ------------------------------------------------------------------------


def test_a_result_of_an_older_journal_keeps_its_published_r(
    story: Story,
) -> None:
    _, stop = story.open(TWO_PERCENT)
    story.fill(stop, "100", "98")
    body = encode(result(story))
    for name in (b'"planned_entry":"100",', b'"planned_stop":"98",'):
        assert name in body
        body = body.replace(name, b"")
    older = decode_event("trade_closed", body)
    assert isinstance(older, e.TradeClosed)
    assert (older.planned_entry, older.planned_stop) == (None, None)
    assert older.r_multiple == result(story).r_multiple
    story.say(older)
    assert story.book.pending_closures(NOON) == ()
