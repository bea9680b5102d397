"""Trades from the first fill to the published result."""

from __future__ import annotations

from itertools import permutations

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.book.trades import (
    ConfirmedStop,
    OpenTrade,
    adopt_trade,
    apply_fill,
    closed_trade,
    confirm_stop,
    correct_trade,
    lose_stop,
    open_trade,
)
from kamou.core.kinds import FillReason
from kamou.core.model import OrderRole, OrderSide, Side
from tests.core.trading_cases import NOON, D, fill, intent, plan

PLAN = plan()
ENTRY, STOP, TARGET, CLOSE = (intent(role, PLAN) for role in OrderRole)


def opened(quantity: str = "100", price: str = "100") -> OpenTrade:
    trade = open_trade(PLAN, PLAN.signal_id, NOON)
    return apply_fill(trade, fill(ENTRY, quantity, price), OrderRole.ENTRY)


def test_the_result_of_a_round_trip_is_net_of_fees_and_funding() -> None:
    trade = opened()
    trade = attrs.evolve(trade, funding=D("-0.3"))
    trade = apply_fill(trade, fill(TARGET, "100", "106", at_ms=NOON + 9), OrderRole.TAKE_PROFIT)
    result = closed_trade(trade, NOON + 10)
    assert result.pnl_gross == 60  # 10 units x 6
    assert (result.fees, result.funding, result.slippage) == (D("1.0"), D("-0.3"), D("0.2"))
    assert result.pnl_net == D("58.7")
    assert result.r_multiple == D("1.956666666667")  # 58.7 / (3 x 10)
    assert (result.entry_price, result.exit_price) == (D(100), D(106))
    assert (result.opened_at_ms, result.closed_at_ms, result.at_ms) == (NOON, NOON + 9, NOON + 10)
    assert result.exit_reason == "take_profit"


def test_a_short_that_is_stopped_above_its_entry_price_loses() -> None:
    short = plan(side=Side.SHORT)
    trade = open_trade(short, short.signal_id, NOON)
    trade = apply_fill(trade, fill(intent(OrderRole.ENTRY, short), "100", "100"), OrderRole.ENTRY)
    assert trade.signed == -100
    trade = apply_fill(
        trade, fill(intent(OrderRole.STOP_LOSS, short), "100", "103"), OrderRole.STOP_LOSS
    )
    result = closed_trade(trade, NOON)
    assert result.pnl_gross == -30
    assert result.exit_reason == "stop_loss"


def test_closed_contracts_realize_pnl_and_open_ones_do_not() -> None:
    trade = apply_fill(opened(), fill(TARGET, "40", "106"), OrderRole.TAKE_PROFIT)
    assert trade.quantity == 60
    assert trade.realized == 24
    assert trade.exit_price == 106
    assert trade.notional(D(110)) == 660


def test_the_order_in_which_fills_arrive_does_not_change_the_result() -> None:
    fills = [
        (fill(ENTRY, "60", "100"), OrderRole.ENTRY),
        (fill(ENTRY, "40", "101"), OrderRole.ENTRY),
        (fill(STOP, "100", "97"), OrderRole.STOP_LOSS),
    ]
    results = set()
    for order in permutations(fills):
        trade = open_trade(PLAN, PLAN.signal_id, NOON)
        for each, role in order:
            trade = apply_fill(trade, each, role)
        results.add(closed_trade(trade, NOON))
    assert len(results) == 1


@pytest.mark.parametrize(
    ("role", "reason", "intended_at_ms", "shown"),
    [
        (OrderRole.STOP_LOSS, FillReason.ORDER, NOON, "stop_loss"),
        (OrderRole.TAKE_PROFIT, FillReason.ORDER, NOON, "take_profit"),
        (OrderRole.EXIT, FillReason.ORDER, NOON, "exit"),
        (OrderRole.EXIT, FillReason.ORDER, NOON + PLAN.hold_ms, "time_limit"),
        (None, FillReason.LIQUIDATION, 0, "liquidation"),
        (None, FillReason.ADL, 0, "adl"),
        (None, FillReason.SETTLEMENT, 0, "delisting"),
        (None, FillReason.ORDER, 0, "external"),
    ],
)
def test_the_exit_reason_follows_from_the_fill_and_the_order(
    role: OrderRole | None, reason: FillReason, intended_at_ms: int, shown: str
) -> None:
    done = fill(None, "100", "99", side=OrderSide.SELL, reason=reason)
    assert closed_trade(apply_fill(opened(), done, role, intended_at_ms), NOON).exit_reason == shown


def test_a_fill_of_no_contracts_on_the_closing_side_adds_nothing_unplanned() -> None:
    trade = apply_fill(opened(), fill(STOP, "0", "99"), OrderRole.STOP_LOSS)
    assert not trade.unplanned
    assert trade.quantity == opened().quantity


def test_a_stop_protects_a_trade_only_if_it_covers_all_contracts() -> None:
    stop = ConfirmedStop(client_order_id="x", quantity=D(60), trigger_price=D(97), at_ms=NOON + 1)
    trade = opened("60")
    assert not trade.protected
    assert trade.unprotected_since_ms == NOON
    trade = confirm_stop(trade, stop)
    assert trade.protected
    assert trade.unprotected_since_ms == 0
    trade = apply_fill(trade, fill(ENTRY, "40", "100", at_ms=NOON + 5), OrderRole.ENTRY)
    assert not trade.protected
    assert trade.unprotected_since_ms == NOON + 5
    assert confirm_stop(trade, stop).unprotected_since_ms == NOON + 5
    assert confirm_stop(trade, attrs.evolve(stop, quantity=D(100))).protected


def test_losing_the_stop_starts_the_unprotected_time_once() -> None:
    stop = ConfirmedStop(client_order_id="x", quantity=D(100), trigger_price=D(97), at_ms=NOON)
    lost = lose_stop(confirm_stop(opened(), stop), NOON + 7)
    assert lost.unprotected_since_ms == NOON + 7
    assert lose_stop(lost, NOON + 9).unprotected_since_ms == NOON + 7


def test_a_correction_books_the_difference_at_its_price() -> None:
    less = correct_trade(opened(), D(70), D(99), NOON + 3)
    assert (less.quantity, less.exit_price, less.exit_reason) == (D(70), D(99), "external")
    more = correct_trade(opened(), D(130), D(99), NOON + 3)
    assert more.quantity == 130
    assert more.unprotected_since_ms == NOON
    gone = correct_trade(opened(), D(0), D(99), NOON + 3)
    assert closed_trade(gone, NOON).pnl_gross == -10


def test_an_adopted_position_is_unprotected_and_has_no_time_limit() -> None:
    trade = adopt_trade(
        e.PositionAdopted(
            at_ms=NOON,
            trade_id="t",
            symbol="SOLUSDT",
            side=Side.SHORT,
            quantity=D(5),
            contract_size=D(1),
            entry_price=D(100),
            stop_price=D(103),
        )
    )
    assert trade.signed == -5
    assert trade.adopted
    assert not trade.protected
    assert (trade.hold_until_ms, trade.unprotected_since_ms) == (0, NOON)
    closed = apply_fill(trade, fill(None, "5", "100", side=OrderSide.BUY), None)
    assert closed_trade(closed, NOON).pnl_net == D("-0.5")


def test_a_trade_whose_stop_was_at_its_entry_has_no_r() -> None:
    trade = attrs.evolve(opened(), planned_stop=D(100))
    flat = apply_fill(trade, fill(CLOSE, "100", "99"), OrderRole.EXIT)
    assert closed_trade(flat, NOON).r_multiple is None


def test_the_result_of_an_open_or_never_filled_trade_fails_an_assertion() -> None:
    with pytest.raises(AssertionError):
        closed_trade(opened(), NOON)
    with pytest.raises(AssertionError):
        closed_trade(open_trade(PLAN, PLAN.signal_id, NOON), NOON)


def test_a_new_trade_has_its_planned_entry_price_and_without_a_holding_time_no_time_limit() -> None:
    trade = open_trade(plan(hold_ms=0), "t", NOON)
    assert trade.hold_until_ms == 0
    assert trade.entry_price == 100
    assert trade.exit_price is None


def test_a_stop_that_covers_a_part_starts_the_unprotected_time_at_its_read_back() -> None:
    whole = ConfirmedStop(client_order_id="x", quantity=D(100), trigger_price=D(97), at_ms=NOON + 1)
    protected = confirm_stop(opened(), whole)
    less = attrs.evolve(whole, quantity=D(99), at_ms=NOON + 7)
    assert confirm_stop(protected, less).unprotected_since_ms == NOON + 7


def test_a_settlement_fill_has_the_exit_reason_delisting() -> None:
    done = fill(None, "100", "99", side=OrderSide.SELL, reason=FillReason.SETTLEMENT)
    assert closed_trade(apply_fill(opened(), done, None), NOON).exit_reason == "delisting"


def test_a_trade_without_a_time_limit_never_has_the_exit_reason_time_limit() -> None:
    trade = open_trade(plan(hold_ms=0), "t", NOON)
    trade = apply_fill(trade, fill(ENTRY, "100", "100"), OrderRole.ENTRY)
    done = apply_fill(trade, fill(CLOSE, "100", "101"), OrderRole.EXIT, NOON + 9)
    assert closed_trade(done, NOON).exit_reason == "exit"
