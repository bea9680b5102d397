"""The gate's decision on closed trades, compared with its definition over random records."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import DAY_MS
from kamou.core.record.e_values import (
    BLOCK_LAMBDAS,
    ResultOfTrade,
    block_e_value,
    make_blocks,
    trade_e_value,
)
from kamou.core.record.promotion import (
    GateDecision,
    GateEvaluation,
    GateTerms,
    evaluate_strategies,
    evaluate_strategy,
)
from tests.core.record.gate_by_definition import Figures, Line, day_of, figures

START_MS = 1_735_689_600_000  # 2025-01-01
SAMPLE = "WLLWWLWWLLWLLWWLLLLLLWLLWLWLLWLWWLLWLWLWWWWLLLWWWLLLWWLLWWWW"
"""The 60 trades of the gate's reference values: W is +2.22 R, L is -1.08 R."""


def trade(opened_ms: int, hold_ms: int, symbol: int, r: str, pnl: str) -> ResultOfTrade:
    return ResultOfTrade(
        strategy="one",
        symbol=f"S{symbol}USDT",
        opened_at_ms=START_MS + opened_ms,
        closed_at_ms=START_MS + opened_ms + hold_ms,
        r=Decimal(r),
        pnl=Decimal(pnl),
    )


@st.composite
def records(draw: st.DrawFn) -> list[ResultOfTrade]:
    """Draw closed trades with an edge, without one, or with a ruinous loss."""
    usual = st.sampled_from(["2.3", "-1", "1.1", "-1.08", "0", "0.4"])
    winning = st.sampled_from(["2.3", "2.3", "0.9", "-1"])
    rare = st.sampled_from(["-4", "-4.0001", "-2", "-2.5", "12", "10", "33", "-3.99"])
    results = draw(st.sampled_from([usual, winning, usual | rare]))
    count = draw(st.integers(1, 90))
    span = draw(st.integers(1, 45)) * DAY_MS
    money = draw(st.sampled_from(["1", "7.25", "0.001", "150"]))
    made = []
    for number in range(count):
        r = draw(results)
        pnl = str(Decimal(r) * Decimal(money))
        opened = draw(st.integers(0, span - 1))
        made.append(trade(opened, draw(st.integers(0, 2 * DAY_MS)), number % 13, r, pnl))
    return made


def defined(trades: list[ResultOfTrade], terms: GateTerms) -> Figures:
    lines = [
        Line(t.strategy, str(t.opened_at_ms), str(t.closed_at_ms), t.symbol, str(t.r), str(t.pnl))
        for t in trades
        if terms.from_ms is None or t.opened_at_ms >= terms.from_ms
        if terms.to_ms is None or t.opened_at_ms < terms.to_ms
    ]
    first = None if terms.from_ms is None else day_of(str(terms.from_ms))
    return figures(
        lines, equity=terms.equity, m0=str(terms.m0), attempt=terms.attempt, first_day=first
    )


def check_equal(found: GateEvaluation, right: Figures) -> None:
    assert (found.n, found.blocks, found.symbols) == right[:3]
    for value, exact in (
        (found.sharpe_daily_annualised, right.sharpe),
        (found.expectancy_r, right.expectancy_r),
        (found.expectancy_usd_per_100, right.per_100),
        (found.e_value, right.e_value),
        (found.e_value_blocks, right.e_value_blocks),
    ):
        if exact is None or value is None:
            assert value is exact
        else:
            assert math.isclose(value, float(exact), rel_tol=1e-9, abs_tol=1e-12)
    assert found.original_rule_passes == right.original
    assert found.decision == right.decision
    assert (found.decision is GateDecision.CANARY) == (found.reasons == ())


TERMS = st.builds(
    GateTerms,
    equity=st.sampled_from([10_000.0, 500.0, 33.3]),
    m0=st.sampled_from([0.0, 0.05, 0.15]),
    attempt=st.integers(1, 3),
    from_ms=st.none() | st.integers(START_MS - 3 * DAY_MS, START_MS + 20 * DAY_MS),
    to_ms=st.none() | st.integers(START_MS + 21 * DAY_MS, START_MS + 60 * DAY_MS),
)


@settings(max_examples=300, deadline=None)
@given(trades=records(), terms=TERMS)
def test_every_figure_and_the_decision_follow_from_the_definition(
    trades: list[ResultOfTrade], terms: GateTerms
) -> None:
    check_equal(evaluate_strategy("one", trades, terms), defined(trades, terms))


@settings(max_examples=100, deadline=None)
@given(trades=records(), data=st.data())
def test_the_order_of_the_trades_changes_nothing(
    trades: list[ResultOfTrade], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(trades))
    one, two = (evaluate_strategy("one", each, GateTerms()) for each in (trades, shuffled))
    assert one == two


@settings(max_examples=100, deadline=None)
@given(trades=records(), factor=st.sampled_from(["4", "0.25", "1024"]))
def test_money_and_equity_in_another_unit_change_the_expectancy_in_money_alone(
    trades: list[ResultOfTrade], factor: str
) -> None:
    other = [attrs.evolve(each, pnl=each.pnl * Decimal(factor)) for each in trades]
    one = evaluate_strategy("one", trades, GateTerms())
    two = evaluate_strategy("one", other, GateTerms(equity=10_000 * float(factor)))
    assert one.expectancy_usd_per_100 is not None
    assert two.expectancy_usd_per_100 is not None
    assert math.isclose(
        two.expectancy_usd_per_100,
        one.expectancy_usd_per_100 * float(factor),
        rel_tol=1e-12,
        abs_tol=1e-9,
    )
    assert (one.e_value, one.e_value_blocks) == (two.e_value, two.e_value_blocks)
    assert one.sharpe_daily_annualised == two.sharpe_daily_annualised  # powers of 2: no rounding


@settings(max_examples=100, deadline=None)
@given(trades=records(), hour=st.integers(0, 23))
def test_only_the_day_of_its_opening_puts_a_trade_into_a_block(
    trades: list[ResultOfTrade], hour: int
) -> None:
    moved = [
        attrs.evolve(
            each,
            opened_at_ms=each.opened_at_ms - each.opened_at_ms % DAY_MS + hour * 3_600_000,
            closed_at_ms=each.closed_at_ms + DAY_MS,
        )
        for each in trades
    ]
    assert make_blocks(moved) == make_blocks(trades)


@settings(max_examples=100, deadline=None)
@given(trades=records())
def test_a_block_split_into_two_days_is_two_bets_on_the_means_of_its_parts(
    trades: list[ResultOfTrade],
) -> None:
    calm = [each for each in trades if each.r >= -2]
    first, second = calm[::2], calm[1::2]
    one_day = [attrs.evolve(each, opened_at_ms=START_MS) for each in first]
    next_day = [attrs.evolve(each, opened_at_ms=START_MS + DAY_MS) for each in second]
    blocks = make_blocks([*one_day, *next_day])
    wealths = []
    for share in BLOCK_LAMBDAS:
        wealth = 1.0
        for part in (first, second):
            if part:
                mean_r = sum(Fraction(each.r) for each in part) / len(part)
                wealth *= 1 + share * float(min(mean_r, Fraction(10)))
        wealths.append(wealth)
    assert block_e_value(blocks, 0.0) == pytest.approx(sum(wealths) / len(wealths))


# --- reference values and single cases --------------------------------------------------


def sample_results() -> list[Decimal]:
    return [Decimal("2.22") if each == "W" else Decimal("-1.08") for each in SAMPLE]


@pytest.mark.parametrize(
    ("count", "m0", "expected"),
    [
        (10, 0.0, 1.5149155051003076),
        (30, 0.0, 1.200113210288116),
        (60, 0.0, 11.21253864341878),
        (60, 0.05, 7.0371),
    ],
)
def test_the_e_value_of_trades_has_the_reference_values(
    count: int, m0: float, expected: float
) -> None:
    """Reference: an independent betting e-process over the same 60 trades and shares."""
    assert trade_e_value(sample_results()[:count], m0) == pytest.approx(expected, rel=1e-5)


def test_sixty_trades_that_pass_the_original_rule_do_not_make_a_canary() -> None:
    trades = [
        trade(number * DAY_MS // 2, 3_600_000, number % 12, str(r), str(r * 10))
        for number, r in enumerate(sample_results())
    ]
    found = evaluate_strategy("one", trades, GateTerms())
    assert found.original_rule_passes
    assert found.decision is GateDecision.SHADOW
    (lack,) = found.reasons
    assert lack.startswith("e-value of blocks")


@pytest.mark.parametrize(
    ("results", "decision"),
    [
        (["-4"] + ["1"] * 3, GateDecision.SHADOW),
        (["-4.000000000001"] + ["1"] * 3, GateDecision.HALTED),
        (["-2", "-2", "-2"], GateDecision.SHADOW),
        (["-2", "-2.0000000001", "-2"], GateDecision.HALTED),
        (["-1.9", "-2.1"], GateDecision.SHADOW),
    ],
)
def test_a_strategy_is_halted_strictly_below_minus_4_r_of_a_trade_and_minus_2_r_of_a_block(
    results: list[str], decision: GateDecision
) -> None:
    trades = [trade(number, 1, number, r, r) for number, r in enumerate(results)]
    found = evaluate_strategy("one", trades, GateTerms())
    assert found.decision is decision
    assert (found.e_value == found.e_value_blocks == 0) == found.halted
    if found.halted:
        (reason,) = found.reasons
        assert reason.endswith((" R, below -4 R", " R, below -2 R"))


@given(attempt=st.integers(1, 8))
def test_each_further_attempt_needs_twice_the_e_value(attempt: int) -> None:
    assert GateTerms(attempt=attempt).e_value_min == 20 * 2 ** (attempt - 1)


def canary_record(blocks: int = 25, symbols: int = 12, per_day: int = 2) -> list[ResultOfTrade]:
    """Return a record with an edge of about 1.2 R a day."""
    made = []
    for number in range(blocks * per_day):
        r = "2.3" if number % 3 else "-1"
        made.append(
            trade(number * DAY_MS // per_day, 3_600_000, number % symbols, r, f"{float(r) * 9}")
        )
    return made


def test_a_record_with_every_condition_makes_a_canary() -> None:
    found = evaluate_strategy("one", canary_record(), GateTerms())
    assert (found.n, found.blocks, found.symbols) == (50, 25, 12)
    assert (found.decision, found.reasons) == (GateDecision.CANARY, ())


@pytest.mark.parametrize(
    ("trades", "lacks"),
    [
        (canary_record()[:49], ["49 trades; a canary needs 50"]),
        (canary_record(blocks=13, per_day=8), ["13 blocks; a canary needs 14"]),
        (canary_record(symbols=9), ["9 symbols; a canary needs 10"]),
        ([attrs.evolve(t, pnl=t.pnl / 100_000) for t in canary_record()], ["expectancy"]),
    ],
    ids=["trades", "blocks", "symbols", "expectancy"],
)
def test_each_condition_alone_keeps_a_strategy_in_shadow_and_is_named(
    trades: list[ResultOfTrade], lacks: list[str]
) -> None:
    found = evaluate_strategy("one", trades, GateTerms())
    assert found.decision is GateDecision.SHADOW
    assert [reason[: len(lack)] for reason, lack in zip(found.reasons, lacks, strict=True)] == lacks


def test_equity_that_is_used_up_leaves_no_sharpe_ratio() -> None:
    trades = [trade(n * DAY_MS, 1, n, "-1", "-60") for n in range(5)]
    found = evaluate_strategy("one", trades, GateTerms(equity=100.0))
    assert found.sharpe_daily_annualised is None
    assert not found.original_rule_passes


def test_an_e_value_beyond_the_largest_float_is_the_largest_float() -> None:
    trades = [trade(n * DAY_MS, 1, n, "10", "10") for n in range(900)]
    found = evaluate_strategy("one", trades, GateTerms())
    assert math.isfinite(found.e_value_blocks)
    assert found.e_value_blocks > 1e307
    assert found.decision is GateDecision.CANARY


def test_days_without_a_close_count_from_the_given_start() -> None:
    trades = [trade(5 * DAY_MS, 1, 1, "1", "100"), trade(6 * DAY_MS, 1, 2, "-1", "-50")]
    without = evaluate_strategy("one", trades, GateTerms()).sharpe_daily_annualised
    given_start = evaluate_strategy("one", trades, GateTerms(from_ms=START_MS))
    assert without is not None
    assert given_start.sharpe_daily_annualised is not None
    returns = [0.0] * 5 + [0.01, -50 / 10_100]
    average = sum(returns) / 7
    deviation = math.sqrt(sum((each - average) ** 2 for each in returns) / 6)
    expected = average / deviation * math.sqrt(365)
    assert given_start.sharpe_daily_annualised == pytest.approx(expected)
    assert without != given_start.sharpe_daily_annualised


def test_strategies_are_evaluated_apart_and_listed_by_name() -> None:
    one = canary_record()
    two = [attrs.evolve(each, strategy="another", r=-each.r / 4, pnl=-each.pnl) for each in one]
    found = evaluate_strategies([*one, *two], GateTerms())
    assert [each.strategy for each in found] == ["another", "one"]
    assert [each.decision for each in found] == [GateDecision.SHADOW, GateDecision.CANARY]


def test_a_strategy_without_a_trade_in_the_selected_time_is_in_shadow() -> None:
    found = evaluate_strategy("one", canary_record(), GateTerms(from_ms=START_MS + 400 * DAY_MS))
    assert (found.n, found.e_value_blocks, found.expectancy_r) == (0, 1.0, None)
    assert found.decision is GateDecision.SHADOW
