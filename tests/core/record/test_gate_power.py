"""The simulation of the gate, compared path by path with the gate itself."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import DAY_MS
from kamou.core.record import gate_power
from kamou.core.record.e_values import Block, ResultOfTrade, block_e_value
from kamou.core.record.gate_power import (
    RISK_USD,
    PowerPlan,
    PromotionRule,
    block_e_values,
    first_promotions,
    share_standard_error,
    simulate_promotions,
    win_probability,
)
from kamou.core.record.promotion import (
    E_VALUE_MIN,
    LIVE_FACTOR,
    GateDecision,
    GateTerms,
    evaluate_strategy,
)
from tests.core.record.test_promotion import START_MS

SPACING_MS = 1_800_000  # up to 48 trades a day
LIVE_E_VALUE = 120
USUAL = st.sampled_from(["2.3", "-1"])
WINNING = st.sampled_from(["2.3", "2.3", "-1"])
ODD = st.sampled_from(["0", "0.7", "-1.3", "12", "31", "-2", "2.3", "-1"])
M0 = st.sampled_from([0.0, 0.05, 0.15])


@settings(max_examples=700)
@given(data=st.data(), per_day=st.integers(1, 6), m0=M0)
def test_the_e_value_of_every_path_is_that_of_the_gate_after_every_block(
    data: st.DataObject, per_day: int, m0: float
) -> None:
    days = data.draw(st.integers(1, 25))
    results = data.draw(st.sampled_from([USUAL, WINNING, ODD]))
    size = days * per_day
    paths = data.draw(st.lists(st.lists(results, min_size=size, max_size=size), max_size=3))
    means = [
        [
            sum(map(Fraction, path[day * per_day : (day + 1) * per_day])) / per_day
            for day in range(days)
        ]
        for path in paths
    ]
    found = block_e_values(np.array(means, dtype=np.float64).reshape(len(paths), days), m0)
    assert found.shape == (len(paths), days)
    for path, values in zip(means, found, strict=True):
        blocks = [Block(day=str(n), trades=per_day, mean_r=Fraction(m)) for n, m in enumerate(path)]
        for day, value in enumerate(values):
            right = block_e_value(blocks[: day + 1], m0)
            assert math.isclose(value, right, rel_tol=1e-10), (day, value, right)


@st.composite
def paths_of_results(draw: st.DrawFn, per_day: int) -> list[str]:
    results = draw(st.sampled_from([USUAL, WINNING, WINNING, ODD]))
    days = draw(st.integers(1, max(1, 66 // per_day)))
    extra = draw(st.integers(0, per_day - 1))  # trades after the last whole day do not count
    size = days * per_day + extra
    return draw(st.lists(results, min_size=size, max_size=size))


def looked_at(path: list[str], per_day: int, terms: GateTerms) -> dict[PromotionRule, int]:
    """Return the first promotions by asking the gate itself at every look."""
    trades = [
        ResultOfTrade(
            strategy="one",
            symbol=f"S{number % 13}",
            opened_at_ms=START_MS + number // per_day * DAY_MS + number % per_day * SPACING_MS,
            closed_at_ms=START_MS + number // per_day * DAY_MS + number % per_day * SPACING_MS + 1,
            r=Decimal(r),
            pnl=Decimal(r) * int(RISK_USD),
        )
        for number, r in enumerate(path)
    ]
    first = dict.fromkeys(PromotionRule, 0)
    for n in range(1, len(path) // per_day * per_day + 1):
        found = evaluate_strategy("one", trades[:n], terms)
        assert not found.halted
        e_value, factor = found.e_value_blocks, 2 ** (terms.attempt - 1)
        canary = found.decision is GateDecision.CANARY
        passes = {
            PromotionRule.ORIGINAL_BY_DAYS: found.original_rule_passes,
            PromotionRule.CANARY_E_VALUE: e_value >= E_VALUE_MIN * factor,
            PromotionRule.CANARY: canary,
            PromotionRule.LIVE_E_VALUE: e_value >= LIVE_E_VALUE * factor,
            PromotionRule.LIVE: canary and e_value >= LIVE_E_VALUE * factor,
        }
        passes = {rule: holds and n % per_day == 0 for rule, holds in passes.items()}
        passes[PromotionRule.ORIGINAL_BY_TRADES] = found.original_rule_passes
        for rule, holds in passes.items():
            if holds and not first[rule]:
                first[rule] = n
    return first


def check_path(path: list[str], per_day: int, terms: GateTerms) -> dict[PromotionRule, int]:
    """Compare the simulation's first promotions with the gate's, and return them."""
    right = looked_at(path, per_day, terms)
    found = first_promotions(np.array([path], dtype=np.float64), per_day, terms)
    assert {rule: int(first[0]) for rule, first in found.items()} == right
    return right


@settings(max_examples=250)
@given(
    data=st.data(),
    per_day=st.sampled_from([1, 2, 3, 5, 10]),
    terms=st.builds(
        GateTerms,
        equity=st.sampled_from([10_000.0, 10_000.0, 700.0]),
        m0=M0,
        attempt=st.sampled_from([1, 1, 2]),
    ),
)
def test_every_path_is_promoted_at_the_look_at_which_the_gate_promotes_it(
    data: st.DataObject, per_day: int, terms: GateTerms
) -> None:
    check_path(data.draw(paths_of_results(per_day)), per_day, terms)


@settings(max_examples=200)
@given(
    data=st.data(),
    per_day=st.sampled_from([1, 2, 3, 15]),
    pairs=st.integers(14, 32),
    cents=st.integers(20, 110),
    equity=st.sampled_from([10_000.0, 3_000.0]),
)
def test_paths_with_a_sharpe_ratio_near_its_minimum_pass_the_original_rule_as_in_the_gate(
    data: st.DataObject, per_day: int, pairs: int, cents: int, equity: float
) -> None:
    rest = data.draw(st.permutations(["1", "-1"] * pairs))
    path = [str(cents / 100), *rest, "0"]
    check_path(path, per_day, GateTerms(equity=equity))


R = PromotionRule


@pytest.mark.parametrize(
    ("path", "per_day", "equity", "first"),
    [
        pytest.param(
            ["2.3", "2.3", "-1"] * 22,
            2,
            10_000.0,
            {R.CANARY: 50, R.CANARY_E_VALUE: 24},
            id="trades",
        ),
        pytest.param(
            ["2.3"] * 72, 6, 10_000.0, {R.CANARY_E_VALUE: 42, R.CANARY: 0}, id="12 blocks"
        ),
        pytest.param(["2.3"] * 90, 6, 10_000.0, {R.CANARY: 84, R.LIVE: 84}, id="14 blocks"),
        pytest.param(
            ["2.3", "-1", "0"] * 11, 15, 10_000.0, {R.ORIGINAL_BY_DAYS: 30}, id="two days"
        ),
        pytest.param(["2.3", "-1"] * 30, 30, 10_000.0, {R.ORIGINAL_BY_TRADES: 31}, id="one day"),
        pytest.param(
            ["-1"] * 8 + ["2.3"] * 60, 1, 700.0, {R.LIVE_E_VALUE: 25, R.LIVE: 0}, id="equity"
        ),
    ],
)
def test_each_condition_alone_holds_a_promotion_back(
    path: list[str], per_day: int, equity: float, first: dict[PromotionRule, int]
) -> None:
    found = check_path(path, per_day, GateTerms(equity=equity))
    assert {rule: found[rule] for rule in first} == first


def shares(edge: float, per_day: int, *, m0: float = 0.05) -> dict[PromotionRule, float]:
    plan = PowerPlan(paths=4_000, seed=7, terms=GateTerms(m0=m0))
    return {each.rule: each.share for each in simulate_promotions(plan, edge, per_day)}


@pytest.mark.parametrize(
    ("per_day", "canary", "live"), [(2, 0.71, 0.45), (5, 0.56, 0.18), (10, 0.06, 0.0)]
)
def test_the_power_at_an_edge_of_0_32_r_has_the_reference_values(
    per_day: int, canary: float, live: float
) -> None:
    """Reference: an independent simulation of 300 independent trades, m0 0.05, rounded to 1 %."""
    found = shares(0.32, per_day)
    for rule, right in ((PromotionRule.CANARY, canary), (PromotionRule.LIVE, live)):
        error = math.sqrt(right * (1 - right) / 4_000)
        assert abs(found[rule] - right) < 4 * error + 0.005


def test_the_original_rule_promotes_most_strategies_without_an_edge() -> None:
    """Reference: 85.4 % within 300 trades, looked at after every trade."""
    for per_day in (1, 2, 5, 10):
        found = shares(0.0, per_day)
        assert 0.80 < found[PromotionRule.ORIGINAL_BY_TRADES] < 0.90
        assert found[PromotionRule.ORIGINAL_BY_DAYS] <= found[PromotionRule.ORIGINAL_BY_TRADES]


@pytest.mark.parametrize("m0", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("per_day", [1, 2, 5])
def test_a_strategy_that_earns_just_m0_stays_below_the_bounds_of_the_e_values(
    m0: float, per_day: int
) -> None:
    found = shares(m0, per_day, m0=m0)
    for rule, bound in (
        (PromotionRule.CANARY_E_VALUE, 1 / 20),
        (PromotionRule.LIVE_E_VALUE, 1 / 120),
    ):
        assert found[rule] < bound + 4 * math.sqrt(bound * (1 - bound) / 4_000)


def test_the_same_seed_gives_the_same_figures_whatever_fits_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = PowerPlan(paths=700, seed=3, trades=100)
    one = simulate_promotions(plan, 0.32, 2)
    monkeypatch.setattr(gate_power, "CHUNK_PATHS", 64)
    assert simulate_promotions(plan, 0.32, 2) == one
    other = simulate_promotions(PowerPlan(paths=700, seed=4, trades=100), 0.32, 2)
    assert other != one
    assert [each.paths for each in one] == [700] * 6
    assert {each.blocks for each in one} == {50}


@given(edge=st.floats(-0.99, 2.29))
def test_the_probability_of_a_win_gives_the_edge(edge: float) -> None:
    chance = win_probability(edge)
    assert chance * 2.3 - (1 - chance) == pytest.approx(edge)


def test_the_names_of_the_rules_have_the_thresholds_of_the_gate() -> None:
    assert f">= {GateTerms().e_value_min} " in PromotionRule.CANARY
    assert f">= {GateTerms().e_value_min * LIVE_FACTOR} " in PromotionRule.LIVE


# --- standard errors --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "of", "error"), [(0, 50, 0.02), (50, 50, 0.02), (25, 50, 0.0707107)]
)
def test_the_standard_error_of_a_share_is_never_0(count: int, of: int, error: float) -> None:
    assert share_standard_error(count, of) == pytest.approx(error, rel=1e-5)


def test_the_standard_errors_are_the_spread_of_repeated_simulations() -> None:
    rows = [
        next(
            each
            for each in simulate_promotions(PowerPlan(paths=200, seed=seed, trades=250), 0.32, 1)
            if each.rule is PromotionRule.CANARY
        )
        for seed in range(150)
    ]
    for figure in ("share", "median_trades", "any_of_six"):
        values = np.array([getattr(row, figure) for row in rows])
        of_error = "standard_error" if figure == "share" else f"{figure}_standard_error"
        stated = float(np.mean([getattr(row, of_error) for row in rows]))
        # The spread of 150 values is known to about 6 %; trades are whole numbers.
        rounding = 0.5 if figure == "median_trades" else 1e-4
        assert abs(values.std(ddof=1) - stated) < 0.25 * stated + rounding, figure


def test_a_rule_that_promotes_nothing_has_no_median() -> None:
    rows = simulate_promotions(PowerPlan(paths=100, trades=20), 0.0, 2)
    assert rows[0].median_trades is rows[0].median_trades_standard_error is None
    assert (rows[0].share, rows[0].any_of_six, rows[0].standard_error) == (0.0, 0.0, 0.01)
    assert rows[0].any_of_six_standard_error == pytest.approx(0.06)
