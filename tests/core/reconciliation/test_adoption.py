"""The stop price of an adopted position."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from kamou.core.model import OrderRole, Side
from kamou.core.reconciliation.adoption import adopted_stop
from kamou.core.reconciliation.reconciliation import ReconcileInputs, reconcile
from kamou.core.risk.costs import ExpectedHold, trade_costs
from kamou.core.risk.limits import CostModel, TradingParameters
from tests.core.trading_cases import (
    INSTRUMENTS,
    NOON,
    D,
    Story,
    intent,
    plan,
    venue_position,
)
from tests.core.venue_views import HELD, kinds, look

PLAN = plan()
NEXT_MS = NOON + 300_000
INPUTS = ReconcileInputs(parameters=TradingParameters())


# --- adoption ------------------------------------------------------------------------------


def stop_for(quantity: str, atr: str | None = None, **changes: Any) -> Decimal:
    return adopted_stop(
        attrs.evolve(venue_position("SOLUSDT", quantity), **changes),
        instrument=INSTRUMENTS["SOLUSDT"],
        sizing_equity=D(10000),
        parameters=TradingParameters(),
        gap=D("0.25"),
        atr=D(atr) if atr else None,
    )


def test_the_stop_of_an_adopted_position_risks_the_limit_of_one_trade() -> None:
    assert stop_for("100") == D("92.07")  # (100 / 10 - 0.08) / 1.25 = 7.936, towards the mark
    assert stop_for("-100") == D("107.93")


def test_the_stop_of_an_adopted_position_is_2_atr_away_if_that_is_nearer() -> None:
    assert stop_for("100", "1.5") == 97
    assert stop_for("100", "9") == D("92.07")


def test_a_position_too_large_for_any_stop_gets_a_stop_one_tick_from_the_mark() -> None:
    assert stop_for("1000000") == D("99.99")
    assert stop_for("-1000000") == D("100.01")


def test_the_stop_of_an_adopted_position_keeps_its_distance_from_liquidation() -> None:
    assert stop_for("1") == 60  # a long cannot lose more than its price: 100 / 2.5
    assert stop_for("100", liquidation_price=D(90)) == 96
    assert stop_for("-100", liquidation_price=D(110)) == 104


@pytest.mark.parametrize(("own", "set_bps"), [("0.0010", "6"), ("0.0002", "6"), ("0.0006", "9")])
def test_sizing_and_adoption_assume_the_higher_of_the_instruments_fee_and_the_setting(
    own: str, set_bps: str
) -> None:
    worse = max(D(own), D(set_bps) / 10_000)
    of = attrs.evolve(INSTRUMENTS["SOLUSDT"], taker_fee=D(own))
    costs = CostModel(taker_bps=D(set_bps), slippage_bps=D(0))
    found = trade_costs(
        instrument=of,
        costs=costs,
        spread=D(0),
        price=D(100),
        hold=ExpectedHold(side=Side.LONG, hold_ms=0),
    )
    assert (found.fee_in, found.fee_out) == (worse, worse)
    stop = adopted_stop(
        venue_position("SOLUSDT", "100"),
        instrument=of,
        sizing_equity=D(10_000),
        parameters=TradingParameters(costs=costs),
        gap=D("0.25"),
        atr=None,
    )
    # 10 units may lose 100: (10 - exit costs at 100) / 1.25, towards the mark.
    assert stop == (100 - (10 - 100 * worse) / D("1.25")).quantize(D("0.01"), "ROUND_CEILING")


def test_an_atr_of_zero_does_not_move_the_stop_of_an_adopted_position() -> None:
    assert stop_for("100", "0") == stop_for("100")


def test_a_fill_that_is_committed_before_the_adoption_keeps_its_trade() -> None:
    """The order manager recorded the fill after the reconciler had read its book."""
    story = Story()
    story.ready()
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    found = reconcile(story.book, look(positions=HELD), INPUTS, cycle_at_ms=NEXT_MS, now_ms=NEXT_MS)
    assert "PositionAdopted" in kinds(found.events)
    story.fill(entry, "100", "100")
    story.say(*found.events)
    trade = story.book.trades.open["SOLUSDT"]
    assert (trade.trade_id, trade.adopted) == (PLAN.signal_id, False)
