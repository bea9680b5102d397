"""Where the stop of a position that we did not know belongs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
from trading_cases import (
    INSTRUMENTS,
    NOON,
    D,
    plan,
    venue_position,
)

from kamou.core.adoption import adopted_stop
from kamou.core.limits import CostModel, RiskLimits
from kamou.core.reconciliation import Terms

PLAN = plan()
NEXT_MS = NOON + 300_000
TERMS = Terms(instruments=INSTRUMENTS, limits=RiskLimits(), costs=CostModel())


# --- adoption ------------------------------------------------------------------------------


def stop_for(quantity: str, atr: str | None = None, **changes: Any) -> Decimal:
    return adopted_stop(
        attrs.evolve(venue_position("SOLUSDT", quantity), **changes),
        instrument=INSTRUMENTS["SOLUSDT"],
        q=D(10000),
        limits=RiskLimits(),
        costs=CostModel(),
        gap=D("0.25"),
        atr=D(atr) if atr else None,
    )


def test_an_adopted_stop_risks_what_is_mandated() -> None:
    assert stop_for("100") == D("92.07")  # (100 / 10 - 0.08) / 1.25 = 7.936, towards the mark
    assert stop_for("-100") == D("107.93")


def test_two_atr_are_enough_where_that_is_nearer() -> None:
    assert stop_for("100", "1.5") == 97
    assert stop_for("100", "9") == D("92.07")


def test_a_position_too_large_for_any_stop_is_stopped_at_one_tick() -> None:
    assert stop_for("1000000") == D("99.99")
    assert stop_for("-1000000") == D("100.01")


def test_an_adopted_stop_keeps_its_distance_from_liquidation() -> None:
    assert stop_for("1") == 60  # a long cannot lose more than its price: 100 / 2.5
    assert stop_for("100", liquidation_price=D(90)) == 96
