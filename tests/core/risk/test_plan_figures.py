"""Figures of a plan, for a long and for its mirror image."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import attrs
import pytest

from kamou.core.model import Denial, Plan, Side, TradingState
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.context import size_factor
from kamou.core.risk.limits import RiskLimits, TradingParameters
from kamou.core.risk.planning import (
    HEADROOM_USED,
    deny_without_headroom,
    entry_prices,
    plan_entry,
    size_fraction,
)
from tests.core.risk.test_planning import (
    COSTS,
    LIMITS,
    candidate,
    early_denial,
    planned,
    valued_at_noon,
)
from tests.core.trading_cases import INSTRUMENTS, NOON, Story, plan, quote, review


@pytest.mark.parametrize(
    ("side", "limit", "stop", "target"),
    [
        # ask 100.01: limit 10 bps above at 100.11001, stop 2.003 below, target 4.003 above
        (Side.LONG, "100.12", "98.00", "104.02"),
        # bid 99.99: limit 10 bps below at 99.89001, stop 2.003 above, target 4.003 below
        (Side.SHORT, "99.89", "102.00", "95.98"),
    ],
)
def test_plan_prices_are_distances_from_the_touch_rounded_away_from_it(
    side: Side, limit: str, stop: str, target: str
) -> None:
    wanted = attrs.evolve(candidate("SOLUSDT", side), stop_distance=2.003, target_distance=4.003)
    made = entry_prices(wanted, quote(), INSTRUMENTS["SOLUSDT"], COSTS)
    assert (made.limit, made.stop, made.target) == (D(limit), D(stop), D(target))


@pytest.mark.parametrize(
    ("side", "limit", "stop", "target"),
    [
        # bid 99.99: the limit is there, stop 2.003 below, target 4.003 above
        (Side.LONG, "99.99", "97.98", "104.00"),
        # ask 100.01: the limit is there, stop 2.003 above, target 4.003 below
        (Side.SHORT, "100.01", "102.02", "96.00"),
    ],
)
def test_the_prices_of_a_resting_entry_are_distances_from_its_own_side_of_the_quote(
    side: Side, limit: str, stop: str, target: str
) -> None:
    wanted = attrs.evolve(
        candidate("SOLUSDT", side), stop_distance=2.003, target_distance=4.003, rest_ms=60_000
    )
    made = entry_prices(wanted, quote(), INSTRUMENTS["SOLUSDT"], COSTS)
    assert (made.limit, made.stop, made.target) == (D(limit), D(stop), D(target))
    planned_ = planned(Story().ready(), RiskLimits(), wanted)
    assert isinstance(planned_, Plan)
    assert (planned_.rest_ms, planned_.limit_price) == (60_000, D(limit))


@pytest.mark.parametrize("side", list(Side))
def test_a_plan_has_the_side_and_hold_of_its_candidate_and_the_largest_allowed_size(
    story: Story, side: Side
) -> None:
    made = planned(story.book, LIMITS, candidate("SOLUSDT", side))
    assert isinstance(made, Plan)
    assert (made.side, made.attempt, made.hold_ms) == (side, 1, 86_400_000)
    assert (made.planned_at_ms, made.expires_at_ms) == (NOON, NOON + 30_000)
    assert made.entry_price == made.limit_price == {1: D("100.12"), -1: D("99.89")}[side.sign]
    # Exposure binds: 15 % of 10,000 at the worth of a unit, in lots of 0.1 units. A short is
    # worth the mark, which is above its limit price.
    worth = {1: D("100.12"), -1: D(100)}[side.sign]
    assert made.bound_by == "exposure"
    assert made.quantity == 1500 // (worth * D("0.1"))
    assert made.notional == made.quantity * D("0.1") * worth


def test_a_plan_uses_99_per_cent_of_the_headroom(story: Story) -> None:
    story.open(plan("BTCUSDT"))  # 1,000
    limits = RiskLimits(notional_total_max=D("0.2"))  # of 9,999.5: 999.9 are left
    made = planned(story.book, limits, candidate())
    assert isinstance(made, Plan)
    assert made.bound_by == "notional_total"
    left = (D("0.2") * D("9999.5") - 1000) * HEADROOM_USED
    assert made.quantity == left // (D("100.12") * D("0.1"))


def test_a_symbol_with_existing_notional_is_planned_with_the_rest_of_its_cap(story: Story) -> None:
    story.grant(plan(permit_id="x", signal_id="x"))  # 1,000 of 1,500
    made = planned(story.book, LIMITS, candidate())
    assert isinstance(made, Plan)
    assert made.quantity == 500 // (D("100.12") * D("0.1"))


@pytest.mark.parametrize(
    ("rate", "side", "costs"),
    [
        (None, Side.LONG, "3"),  # 1 bps for each 8 of 24 hours
        (D("0.0002"), Side.LONG, "6"),
        (D("0.0002"), Side.SHORT, "0"),  # funding that would be received counts as 0
        (D("-0.0002"), Side.SHORT, "6"),
    ],
)
def test_funding_that_is_paid_over_the_hold_is_part_of_a_plans_risk(
    story: Story, rate: D | None, side: Side, costs: str
) -> None:
    wanted = candidate("SOLUSDT", side)
    made = plan_entry(
        wanted,
        valued_at_noon(story.book, LIMITS, quote()),
        fraction=D(1),
        attempt=0,
        parameters=TradingParameters(),
        funding_rate=rate,
    )
    assert isinstance(made, Plan)
    entry, stop, units = made.limit_price, made.stop_price, made.quantity * D("0.1")
    distance = abs(entry - stop)
    slip = D("0.01") / 100 + D("0.0002")
    per_unit = distance * D("1.25") + (D("0.0006") + slip) * (entry + stop)
    assert made.risk == (per_unit + D(costs) * D("0.0001") * entry) * units


def figures(denial: Denial | None) -> dict[str, str]:
    assert denial is not None
    return {f.name: f.value for f in denial.figures}


def test_a_candidate_is_denied_only_if_the_headroom_is_below_the_smallest_order(
    story: Story,
) -> None:
    """The minimum notional of the instrument is 5."""
    story.open(plan("BTCUSDT"))
    wanted: Any = candidate("ETHUSDT")
    for left, denied in (("5.06", False), ("5.04", True)):  # of which 99 % may be used
        limits = RiskLimits(notional_total_max=(1000 + D(left)) / D("9999.5"))
        assert (early_denial(story.book, limits, wanted) is not None) is denied, left
    shown = figures(early_denial(story.book, limits, wanted))
    assert (shown["left"], shown["bound_by"]) == ("4.99", "notional_total")


def test_the_denial_of_a_candidate_without_risk_headroom_names_the_limit(story: Story) -> None:
    story.open(plan("BTCUSDT"))
    shown = figures(
        early_denial(story.book, RiskLimits(open_risk_max=D("0.003")), candidate("ETHUSDT"))
    )
    assert (shown["left"], shown["bound_by"]) == ("0.00", "open_risk")


def test_a_candidate_in_a_symbol_without_headroom_is_denied_by_exposure(story: Story) -> None:
    story.grant(plan(permit_id="x", signal_id="x", notional=D(1500)))
    shown = figures(early_denial(story.book, LIMITS, candidate()))
    assert (shown["left"], shown["bound_by"]) == ("0.00", "exposure")


@pytest.mark.parametrize(
    ("multiplier", "granted", "state", "expected"),
    [
        ("1", None, TradingState.ACTIVE, "1"),
        ("0.5", None, TradingState.ACTIVE, "0.5"),
        ("1", "0.25", TradingState.ACTIVE, "0.25"),
        ("1", None, TradingState.REDUCED_SIZE, "0.4"),
        ("0.5", "0.25", TradingState.REDUCED_SIZE, "0.05"),
    ],
)
def test_refiner_grant_and_state_each_scale_the_size(
    story: Story, multiplier: str, granted: str | None, state: TradingState, expected: str
) -> None:
    limits = RiskLimits(reduced_size=D("0.4"))
    grant = granted and LiveGrant(strategy="test", basis="canary", size_fraction=D(granted))
    story.book.trading.state = state
    assert size_fraction(story.book, grant or None, D(multiplier), limits) == D(expected)
    assert size_factor(state, limits) == (D("0.4") if state is TradingState.REDUCED_SIZE else 1)


@pytest.mark.parametrize(("minimum", "denied"), [("999.9", False), ("999.91", True)])
def test_a_smallest_order_equal_to_the_headroom_passes_and_a_larger_one_is_denied(
    minimum: str, denied: bool
) -> None:
    """A position of 1,000 leaves 999.9 of the symbol's cap, 20 % of 9,999.5."""
    story = Story()
    story.ready()
    story.open(plan())
    limits = RiskLimits(exposure_per_symbol=D("0.2"))
    listed = attrs.evolve(INSTRUMENTS["SOLUSDT"], notional_min=D(minimum))
    story.book.instruments["SOLUSDT"] = listed
    found = deny_without_headroom(
        candidate(),
        valued_at_noon(story.book, limits),
        fraction=D(1),
        limits=limits,
    )
    assert (found is not None) is denied


@pytest.mark.parametrize(
    ("changes", "mid", "highest"),
    [
        ({"limit_price": D(101)}, "100", "101"),
        ({"side": Side.SHORT, "stop_price": D(110), "entry_price": D(102)}, "100", "102"),
        ({}, "103", "103.01"),  # a long's touch is the ask
        ({"side": Side.SHORT, "stop_price": D(110)}, "103", "103"),
    ],
)
def test_the_notional_of_a_plan_uses_the_highest_price_that_its_position_may_be_valued_at(
    changes: dict[str, Any], mid: str, highest: str
) -> None:
    story = Story()
    story.ready()
    context = review(story.book, plan(**changes), quote=quote(mid=mid))
    assert context.notional == 10 * D(highest)


@pytest.mark.parametrize(("fraction", "denied"), [("1", False), ("0.5", True)])
def test_a_size_fraction_of_one_half_halves_the_exposure_cap_of_a_candidate(
    fraction: str, denied: bool
) -> None:
    """The position of 1,000 exceeds half of the cap, 750, and not the whole, 1,500."""
    story = Story()
    story.ready()
    story.open(plan())
    found = deny_without_headroom(
        candidate(),
        valued_at_noon(story.book, LIMITS),
        fraction=D(fraction),
        limits=LIMITS,
    )
    assert (found is not None) is denied


def test_a_candidate_is_not_denied_early_if_its_exposure_cap_is_unused() -> None:
    """The unused cap of 0.01 % of 10,000 is below the venue's smallest order."""
    story = Story()
    story.ready()
    limits = attrs.evolve(LIMITS, exposure_per_symbol=D("0.0001"))
    found = deny_without_headroom(
        candidate(),
        valued_at_noon(story.book, limits),
        fraction=D(1),
        limits=limits,
    )
    assert found is None
