"""Effects of single events on the book, and events that change nothing."""

from __future__ import annotations

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.book.retention import OVERLAP_MS
from kamou.core.kinds import FillReason, FillSource
from kamou.core.model import OrderRole, OrderSide, OrderStatus, Side
from kamou.core.risk.governor import review_reduction
from kamou.core.risk.limits import RiskLimits
from tests.core.trading_cases import (
    NOON,
    D,
    Story,
    account,
    denials_elsewhere,
    equity_now,
    fill,
    intent,
    order_closed,
    plan,
    review,
)

PLAN = plan()
ADOPTED = e.PositionAdopted(
    at_ms=NOON,
    trade_id="adopted",
    symbol="SOLUSDT",
    side=Side.LONG,
    quantity=D(100),
    contract_size=D("0.1"),
    entry_price=D(100),
    stop_price=D(97),
)


def test_events_of_an_order_that_the_book_does_not_have_change_nothing(story: Story) -> None:
    unknown = intent(OrderRole.ENTRY, PLAN, "never intended")
    before = story.book.fork()
    story.say(
        e.OrderAccepted(at_ms=NOON, client_order_id=unknown.client_order_id, venue_order_id="v"),
        order_closed(unknown, OrderStatus.CANCELED),
        e.CancelRequested(at_ms=NOON, client_order_id=unknown.client_order_id, reason=""),
    )
    before.seq = story.book.seq
    assert story.book == before


@pytest.mark.parametrize("status", [OrderStatus.CANCELED, OrderStatus.EXPIRED])
def test_a_position_is_unprotected_from_the_moment_at_which_its_stop_ended_unfilled(
    story: Story, status: OrderStatus
) -> None:
    _, stop = story.open(PLAN)
    assert story.book.trades.open["SOLUSDT"].protected
    story.say(order_closed(stop, status))
    trade = story.book.trades.open["SOLUSDT"]
    assert (trade.confirmed, trade.unprotected_since_ms) == (None, NOON)


def test_a_filled_stop_or_a_canceled_take_profit_leaves_the_position_protected(
    story: Story,
) -> None:
    _, stop = story.open(PLAN)
    target = story.send(intent(OrderRole.TAKE_PROFIT, PLAN))
    story.say(order_closed(target, OrderStatus.CANCELED))
    assert story.book.trades.open["SOLUSDT"].protected
    story.say(order_closed(stop, OrderStatus.FILLED, "100"))  # its fill comes later
    assert story.book.trades.open["SOLUSDT"].protected


def test_an_entry_reserves_no_more_than_was_permitted_whatever_the_venue_reports(
    story: Story,
) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    story.say(order_closed(entry, OrderStatus.CANCELED, "150"))
    assert story.book.permits.reservations[PLAN.permit_id].remaining == 100
    assert story.book.permits.reservations[PLAN.permit_id].risk == 41
    story.fill(entry, "120", "100")
    assert story.book.permits.reservations[PLAN.permit_id].remaining == 30
    assert story.book.permits.reservations[PLAN.permit_id].notional == 300


def test_a_correction_leaves_the_equity_unknown_until_the_account_is_read_again(
    story: Story,
) -> None:
    story.open(plan("BTCUSDT"))
    story.say(
        e.PositionCorrected(
            at_ms=NOON + 500, symbol="BTCUSDT", quantity=D(70), price=D(99), reason="inferred"
        )
    )
    assert story.book.account.unexplained_ms == NOON + 500
    assert equity_now(story.book, BTCUSDT="100").unknown
    assert "ACCOUNT_STALE" in denials_elsewhere(story)
    assert "ACCOUNT_STALE" in denials_elsewhere(story, account=account(at_ms=NOON + 500))
    assert "ACCOUNT_STALE" not in denials_elsewhere(story, account=account(at_ms=NOON + 501))
    # An older correction that is applied later does not make the equity known again.
    story.say(
        e.PositionCorrected(
            at_ms=NOON + 400, symbol="BTCUSDT", quantity=D(60), price=D(99), reason="inferred"
        )
    )
    assert story.book.account.unexplained_ms == NOON + 500


def test_the_book_keeps_the_time_of_the_newest_fill_without_a_trade(story: Story) -> None:
    story.fill(None, "10", "100", symbol="DOTUSDT", at_ms=NOON + 300)
    story.fill(None, "10", "100", symbol="DOTUSDT", at_ms=NOON + 200)
    assert story.book.account.unexplained_ms == NOON + 300


def test_a_permit_that_was_released_is_not_granted_again(story: Story) -> None:
    story.say(e.PermitReleased(at_ms=NOON, permit_id="other", reason="expired"))
    assert denials_elsewhere(story) == {"DUPLICATE_INTENT": "DUPLICATE_INTENT: permit=other"}


def test_an_entry_that_has_begun_to_fill_counts_once_in_its_hour(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    limits = RiskLimits(entries_per_strategy_hour=2)
    assert "RATE_ENTRIES_EXCEEDED" not in denials_elsewhere(story, limits=limits)
    story.fill(entry, "40", "100")  # 60 may still come: the same trade
    assert "RATE_ENTRIES_EXCEEDED" not in denials_elsewhere(story, limits=limits)
    tight = RiskLimits(entries_per_strategy_hour=1)
    assert "entries=1" in denials_elsewhere(story, limits=tight)["RATE_ENTRIES_EXCEEDED"]


@pytest.mark.parametrize("reduce_only", [False, True])
def test_a_reduction_review_denies_an_entry_even_if_it_is_reduce_only(reduce_only: bool) -> None:
    entry = intent(OrderRole.ENTRY, PLAN, reduce_only=reduce_only)
    no = review_reduction(entry, D(-100))  # it would even reduce a short
    assert no is not None
    assert "the order is an entry or not reduce-only" in str(no)


def test_exits_in_flight_count_together_only_if_they_are_of_the_same_symbol(story: Story) -> None:
    story.open(PLAN)
    first = story.send(intent(OrderRole.EXIT, PLAN, "first", quantity=D(60)))
    story.send(intent(OrderRole.EXIT, plan("ADAUSDT"), "another symbol", quantity=D(60)))
    story.send(intent(OrderRole.TAKE_PROFIT, PLAN, quantity=D(60)))
    orders = tuple(story.book.orders.unsettled.values())
    for quantity, passes in (("40", True), ("41", False)):
        second = intent(OrderRole.EXIT, PLAN, "second", quantity=D(quantity))
        assert (review_reduction(second, D(100), orders) is None) is passes
    assert review_reduction(first, D(60), orders) is None  # the order does not count against itself
    stop = intent(OrderRole.STOP_LOSS, PLAN)
    assert review_reduction(stop, D(100), orders) is None  # a stop is not an exit in flight
    assert review_reduction(stop, D(99), orders) is not None


def test_a_plan_is_denied_as_a_duplicate_only_if_its_permit_or_signal_is_in_use(
    story: Story,
) -> None:
    story.grant(PLAN)
    same_permit = plan("ETHUSDT", permit_id=PLAN.permit_id, signal_id="other")
    assert "permit=" in denials_elsewhere(story, of=same_permit)["DUPLICATE_INTENT"]
    same_signal = plan("ETHUSDT", permit_id="other", signal_id=PLAN.signal_id)
    assert "permit=" in denials_elsewhere(story, of=same_signal)["DUPLICATE_INTENT"]
    assert denials_elsewhere(story) == {}
    story.send(intent(OrderRole.ENTRY, PLAN))
    story.say(e.PermitReleased(at_ms=NOON, permit_id=PLAN.permit_id, reason="expired"))
    assert "order=" in denials_elsewhere(story, of=same_signal)["DUPLICATE_INTENT"]
    assert denials_elsewhere(story) == {}


def test_an_exit_intended_at_the_time_limit_gives_the_exit_reason_time_limit(story: Story) -> None:
    story.open(PLAN)
    until_ms = story.book.trades.open["SOLUSDT"].hold_until_ms
    assert until_ms == NOON + PLAN.hold_ms
    close = story.send(intent(OrderRole.EXIT, PLAN, intended_at_ms=until_ms))
    story.fill(close, "100", "101")
    (closure,) = story.book.pending_closures(NOON)
    assert closure.exit_reason == "time_limit"


@pytest.mark.parametrize(
    ("side", "price", "made"), [(Side.LONG, "97", -30), (Side.SHORT, "97", 30)]
)
def test_the_realized_pnl_of_a_fill_changes_the_wallet_balance_at_once(
    story: Story, side: Side, price: str, made: int
) -> None:
    wanted = plan(side=side)
    story.open(wanted, at_ms=NOON + 1)
    story.fill(intent(OrderRole.EXIT, wanted), "100", price, at_ms=NOON + 2)
    now = equity_now(story.book)
    assert now.wallet_balance == 10000 + made - 1  # 0.5 of fees each way
    assert now.equity == now.wallet_balance


def test_a_review_without_a_quote_has_the_exposure_of_open_positions(story: Story) -> None:
    story.open(plan("ADAUSDT"))
    context = review(story.book, PLAN, quote=None)
    assert context.exposure.notional == {"ADAUSDT": 1000}
    assert not context.valid


@pytest.mark.parametrize(("ms", "counted"), [(4_999, True), (5_000, True), (5_001, False)])
def test_a_fill_is_part_of_an_adoption_only_if_it_is_more_than_five_seconds_older(
    story: Story, ms: int, counted: bool
) -> None:
    story.say(ADOPTED)
    story.fill(None, "40", "97", at_ms=NOON - ms)
    assert story.book.trades.position("SOLUSDT") == (60 if counted else 100)
    assert story.book.trades.unassigned == {}, (
        f"a fill of the adopted trade is kept without a trade: {story.book.trades.unassigned}"
    )


@pytest.mark.parametrize(
    ("status", "protected"),
    [(OrderStatus.CANCELED, False), (OrderStatus.EXPIRED, False), (OrderStatus.FILLED, True)],
)
def test_a_confirmed_stop_protects_until_the_venue_reports_that_it_ended_unfilled(
    story: Story, status: OrderStatus, protected: bool
) -> None:
    """The fills of a filled stop, recorded later, close the position."""
    _, stop = story.open(PLAN)
    story.say(e.CancelRequested(at_ms=NOON + 1, client_order_id=stop.client_order_id, reason=""))
    assert story.book.trades.open["SOLUSDT"].protected
    story.say(attrs.evolve(order_closed(stop, status), at_ms=NOON + 2))
    assert story.book.trades.open["SOLUSDT"].protected is protected


@pytest.mark.parametrize(("known_ms", "since_ms"), [(NOON - 3_000, NOON - 3_000), (NOON + 9, NOON)])
def test_the_protection_deadline_begins_with_the_fill_and_never_in_the_future(
    story: Story, known_ms: int, since_ms: int
) -> None:
    """The venue's clock may be ahead of this machine's (seed 295)."""
    story.grant(PLAN, NOON - 5_000)
    entry = story.send(intent(OrderRole.ENTRY, PLAN), NOON - 5_000)
    done = fill(entry, "100", "100", at_ms=NOON)
    story.say(e.FillRecorded(at_ms=known_ms, fill=done, source=FillSource.STREAM))
    assert story.book.trades.open["SOLUSDT"].unprotected_since_ms == since_ms


@pytest.mark.parametrize(("symbol", "trade_id"), [("ETHUSDT", "t"), ("SOLUSDT", "other")])
def test_a_restatement_of_a_trade_that_is_not_open_changes_nothing(
    story: Story, symbol: str, trade_id: str
) -> None:
    story.open(PLAN)
    before = dict(story.book.trades.open)
    shown = e.TradeRestated(
        at_ms=NOON,
        trade_id=trade_id,
        symbol=symbol,
        contract_size=D("0.2"),
        tick=D("0.5"),
        stop_price=D(96),
    )
    story.say(shown)
    assert story.book.trades.open == before


def test_an_entry_without_a_known_plan_blocks_no_signal(story: Story) -> None:
    """A restored journal may have the intent and not the permit."""
    story.send(intent(OrderRole.ENTRY, plan("ADAUSDT", permit_id="forgotten")))
    assert "DUPLICATE_INTENT" not in denials_elsewhere(story)


def test_a_permit_whose_order_was_dropped_from_the_book_is_releasable(story: Story) -> None:
    story.grant(PLAN)
    story.say(e.PermitConsumed(at_ms=NOON, permit_id=PLAN.permit_id, client_order_id="forgotten"))
    assert story.book.releasable_permits(NOON) == ((PLAN.permit_id, "trade_closed"),)


@pytest.mark.parametrize(
    ("role", "reason", "cools"),
    [
        (OrderRole.STOP_LOSS, FillReason.ORDER, True),
        (OrderRole.TAKE_PROFIT, FillReason.ORDER, False),
        (OrderRole.EXIT, FillReason.ORDER, False),
        (None, FillReason.LIQUIDATION, True),
        (None, FillReason.ORDER, False),
    ],
)
def test_only_a_fill_of_a_stop_or_a_liquidation_is_recorded_as_a_stop_out_with_its_overshoot(
    story: Story, role: OrderRole | None, reason: FillReason, cools: bool
) -> None:
    story.open(PLAN)
    order = story.send(intent(role, PLAN)) if role else None
    story.fill(order, "100", "97", at_ms=NOON + 9, reason=reason)
    assert story.book.recent_activity.stop_outs_ms == ({"SOLUSDT": NOON + 9} if cools else {})
    assert len(story.book.recent_activity.overshoots) == cools


def test_a_fill_older_than_a_trade_of_kamou_counts_for_the_trade(story: Story) -> None:
    _, stop = story.open(PLAN)
    story.fill(stop, "40", "97", at_ms=NOON - 60_000)
    assert story.book.trades.position("SOLUSDT") == 60


@pytest.mark.parametrize(("trade_id", "restated"), [(PLAN.signal_id, True), ("before", False)])
def test_a_restatement_changes_only_the_trade_with_its_id(
    story: Story, trade_id: str, restated: bool
) -> None:
    story.open(PLAN)
    story.say(
        e.TradeRestated(
            at_ms=NOON,
            trade_id=trade_id,
            symbol="SOLUSDT",
            contract_size=D("0.01"),
            tick=D("0.01"),
            stop_price=D(97),
        )
    )
    assert story.book.trades.position("SOLUSDT") == (1000 if restated else 100)


def test_a_permit_whose_entry_ended_without_a_fill_no_longer_counts_in_its_hour(
    story: Story,
) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    limits = RiskLimits(entries_per_strategy_hour=1)
    assert "RATE_ENTRIES_EXCEEDED" in denials_elsewhere(story, limits=limits)
    story.say(order_closed(entry, OrderStatus.CANCELED))
    assert story.book.permits.reservations  # not released yet
    assert "RATE_ENTRIES_EXCEEDED" not in denials_elsewhere(story, limits=limits)


@pytest.mark.parametrize(("side", "sign"), [(Side.LONG, 1), (Side.SHORT, -1)])
def test_a_correction_has_the_sign_of_the_venues_quantity(
    story: Story, side: Side, sign: int
) -> None:
    story.open(plan(side=side))
    story.say(
        e.PositionCorrected(
            at_ms=NOON, symbol="SOLUSDT", quantity=D(70 * sign), price=D(99), reason="inferred"
        )
    )
    assert story.book.trades.position("SOLUSDT") == 70 * sign


@pytest.mark.parametrize("side", list(Side))
def test_a_reduction_without_an_open_position_is_denied(side: Side) -> None:
    no = review_reduction(intent(OrderRole.EXIT, plan(side=side), quantity=D(0)), D(0))
    assert no is not None
    assert "no position is open" in str(no)


def test_a_permit_whose_entry_ended_without_a_fill_no_longer_holds_its_symbol(story: Story) -> None:
    story.grant(PLAN)
    again = plan(permit_id="other", signal_id="other")
    assert "SYMBOL_HELD" in denials_elsewhere(story, of=again)
    story.say(order_closed(story.send(intent(OrderRole.ENTRY, PLAN)), OrderStatus.CANCELED))
    assert story.book.permits.reservations  # not released yet
    assert "SYMBOL_HELD" not in denials_elsewhere(story, of=again)


@pytest.mark.parametrize(("later_ms", "kept"), [(OVERLAP_MS - 1, 5), (OVERLAP_MS, 3)])
def test_fills_without_a_trade_add_up_only_within_the_overlap(
    story: Story, later_ms: int, kept: int
) -> None:
    story.fill(None, "2", "100", side=OrderSide.BUY)
    story.fill(None, "3", "100", side=OrderSide.BUY, at_ms=NOON + later_ms)
    assert story.book.trades.unassigned["SOLUSDT"].quantity == kept


def test_a_fill_of_an_entry_from_before_an_adoption_opens_no_second_trade(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    story.say(ADOPTED)
    story.fill(entry, "40", "100", at_ms=NOON - 10_000)
    assert story.book.trades.open["SOLUSDT"].trade_id == "adopted"
    assert story.book.trades.position("SOLUSDT") == 100
