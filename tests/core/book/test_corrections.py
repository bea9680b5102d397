"""Corrections of a trade, for longs and shorts, and their effect on its money."""

from __future__ import annotations

import attrs
import pytest

from kamou.core.book.events import TradeRestated
from kamou.core.book.trades import (
    ConfirmedStop,
    OpenTrade,
    apply_fill,
    closed_trade,
    confirm_stop,
    correct_trade,
    open_trade,
    restate_trade,
)
from kamou.core.kinds import ExitReason
from kamou.core.model import OrderRole, Side
from tests.core.trading_cases import NOON, D, fill, intent, plan

LATER = NOON + 3


def opened(side: Side, quantity: str = "100") -> OpenTrade:
    """Return a trade of contracts of 0.1 opened at 100; fee 0.5, slippage 0.1."""
    wanted = plan(side=side)
    trade = open_trade(wanted, wanted.signal_id, NOON)
    return apply_fill(
        trade, fill(intent(OrderRole.ENTRY, wanted), quantity, "100"), OrderRole.ENTRY
    )


def stop(quantity: str) -> ConfirmedStop:
    return ConfirmedStop(client_order_id="x", quantity=D(quantity), trigger_price=D(97), at_ms=NOON)


@pytest.mark.parametrize(("side", "sign"), [(Side.LONG, 1), (Side.SHORT, -1)])
def test_a_correction_closes_missing_contracts_at_its_price(side: Side, sign: int) -> None:
    less = correct_trade(opened(side), D(70), D(99), LATER)
    assert (less.quantity, less.exited, less.exit_price) == (D(70), D(30), D(99))
    assert less.realized == -3 * sign  # 3 base units, 1 below the entry price
    assert less.unrealized_pnl(D(101)) == 7 * sign
    assert less.margin == 140  # 7 base units at 100, with leverage 5
    assert (less.changed_at_ms, less.exit_reason) == (LATER, "external")
    gone = closed_trade(correct_trade(less, D(0), D(98), LATER + 1), NOON)
    assert gone.pnl_gross == (-3 - 14) * sign


@pytest.mark.parametrize(("side", "sign"), [(Side.LONG, 1), (Side.SHORT, -1)])
def test_a_correction_opens_additional_contracts_at_its_price(side: Side, sign: int) -> None:
    more = correct_trade(opened(side), D(150), D(106), LATER)
    assert (more.quantity, more.entered, more.exited) == (D(150), D(150), D(0))
    assert more.entry_price == 102  # (100 x 100 + 50 x 106) / 150
    assert more.unrealized_pnl(D(102)) == 0
    assert more.unrealized_pnl(D(103)) == 15 * sign
    assert (more.changed_at_ms, more.exit_reason) == (LATER, "external")


@pytest.mark.parametrize(
    ("covered", "since_ms"), [("100", LATER), ("149", LATER), ("150", 0), ("200", 0)]
)
def test_the_protection_deadline_begins_at_a_correction_only_if_the_stop_covers_too_little(
    covered: str, since_ms: int
) -> None:
    trade = confirm_stop(opened(Side.LONG), stop(covered))
    assert trade.unprotected_since_ms == 0
    assert correct_trade(trade, D(150), D(100), LATER).unprotected_since_ms == since_ms
    assert correct_trade(trade, D(50), D(100), LATER).unprotected_since_ms == 0


def test_a_correction_does_not_restart_a_running_protection_deadline() -> None:
    assert correct_trade(opened(Side.LONG), D(150), D(100), LATER).unprotected_since_ms == NOON


def test_a_correction_to_the_same_quantity_keeps_an_exit_reason_and_sets_the_time() -> None:
    same = correct_trade(opened(Side.LONG), D(100), D(50), LATER)
    assert (same.quantity, same.realized, same.changed_at_ms) == (D(100), D(0), LATER)
    assert same.exit_reason == "external"
    stopped = attrs.evolve(opened(Side.LONG), exit_reason=ExitReason.STOP_LOSS)
    assert correct_trade(stopped, D(100), D(50), LATER).exit_reason == "stop_loss"
    assert correct_trade(stopped, D(150), D(50), LATER).exit_reason == "stop_loss"


@pytest.mark.parametrize(("side", "sign"), [(Side.LONG, 1), (Side.SHORT, -1)])
def test_contracts_closed_beyond_a_trades_size_are_left_out_of_its_result(
    side: Side, sign: int
) -> None:
    wanted = plan(side=side)
    closing = fill(intent(OrderRole.EXIT, wanted), "160", "101", at_ms=NOON + 1)
    turned = apply_fill(opened(side), closing, OrderRole.EXIT)
    assert (turned.quantity, turned.signed) == (D(-60), D(-60 * sign))
    result = closed_trade(correct_trade(turned, D(0), D(90), LATER), NOON)
    assert (result.quantity, result.exit_price) == (D(100), D(101))
    assert result.pnl_gross == 10 * sign  # 10 base units, 1 above the entry price


@pytest.mark.parametrize(("side", "sign"), [(Side.LONG, 1), (Side.SHORT, -1)])
def test_an_inverted_position_is_averaged_from_the_price_of_the_inverting_fill(
    side: Side, sign: int
) -> None:
    wanted = plan(side=side)
    entry, close = intent(OrderRole.ENTRY, wanted), intent(OrderRole.EXIT, wanted)
    turned = apply_fill(opened(side), fill(close, "150", "104"), OrderRole.EXIT)
    assert turned.open_cost == -50 * 104
    assert turned.unrealized_pnl(D(105)) == -5 * sign
    assert turned.margin == 104  # 5 base units at 104, with leverage 5
    assert turned.notional(D(104)) == 520
    flat = apply_fill(turned, fill(entry, "50", "102"), OrderRole.ENTRY)
    assert (flat.quantity, flat.open_cost) == (D(0), D(0))


@pytest.mark.parametrize(("side", "sign"), [(Side.LONG, 1), (Side.SHORT, -1)])
def test_the_exit_price_of_a_trade_closed_in_parts_is_the_average_of_its_exits(
    side: Side, sign: int
) -> None:
    wanted = plan(side=side)
    trade = opened(side)
    for quantity, price in (("40", "106"), ("60", "101")):
        trade = apply_fill(
            trade, fill(intent(OrderRole.EXIT, wanted), quantity, price), OrderRole.EXIT
        )
    result = closed_trade(trade, NOON)
    assert (result.exit_price, result.pnl_gross) == (D(103), D(30 * sign))
    assert (result.fees, result.slippage) == (D("1.5"), D("0.3"))


@pytest.mark.parametrize("side", list(Side))
def test_a_correction_of_a_flat_trade_keeps_the_value_of_its_exits_to_the_last_digit(
    side: Side,
) -> None:
    """Its entry may still fill, and its numbers are thirds after a change of the contract size."""
    closing = fill(intent(OrderRole.EXIT, plan(side=side)), "100", "97")
    flat = apply_fill(opened(side), closing, OrderRole.EXIT)
    restated = restate_trade(
        flat,
        TradeRestated(
            at_ms=LATER,
            trade_id=flat.trade_id,
            symbol=flat.symbol,
            contract_size=D("0.3"),  # after 0.1
            tick=D("0.01"),
            stop_price=flat.stop_price,
        ),
    )
    assert restated.quantity == 0
    for quantity in (D(0), D(5)):
        corrected = correct_trade(restated, quantity, D(98), LATER)
        assert (corrected.quantity, corrected.exited) == (quantity, restated.exited)
        assert corrected.exited_value == restated.exited_value
