"""The limits of demotion, judged by paths that share nothing with their calibration."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from numpy.random import default_rng

from kamou.core.day import DAY_MS
from kamou.core.record.demotion import (
    HORIZON_BLOCKS,
    HORIZON_TRADES,
    RESAMPLED_PATHS,
    Deterioration,
    calibrate_limits,
    draw_paths,
    find_highest,
    measure_deterioration,
)
from kamou.core.record.e_values import ResultOfTrade
from tests.core.record.test_gate_transitions import by_line, trade
from tests.core.record.transitions_by_definition import walk_blocks, worst_levels


def made(results: list[str], per_day: int) -> list[ResultOfTrade]:
    return [
        trade(n // per_day * DAY_MS + n % per_day * 60_000, 1, r, f"S{n % per_day}")
        for n, r in enumerate(results)
    ]


def drawn(seed: int, count: int, wins: float) -> list[str]:
    chance = default_rng(seed)
    return ["2.3" if chance.random() < wins else "-1" for _ in range(count)]


def share(answers: Iterable[bool]) -> float:
    known = list(answers)
    return sum(known) / len(known)


@pytest.mark.parametrize(
    ("seed", "count", "per_day", "wins"),
    [(1, 60, 3, 0.5), (2, 140, 2, 0.45), (3, 90, 10, 0.55), (4, 50, 1, 0.6)],
)
def test_the_limits_keep_their_rates_on_new_paths_of_the_same_record(
    seed: int, count: int, per_day: int, wins: float
) -> None:
    """At most 2 % exceed the CUSUM's limit in 300 trades, and 5 % the drawdown's."""
    record = made(drawn(seed, count, wins), per_day)
    limits = calibrate_limits(record)
    lines = [by_line(each) for each in record]
    k = Fraction(limits.reference_mean) / 2
    chance, paths = default_rng(seed + 99), 1_500
    worst = [worst_levels(walk_blocks(lines, HORIZON_TRADES, chance), k) for _ in range(paths)]
    # Three standard errors of 1,500 paths: 0.011 and 0.017. Few blocks give many equal values, so
    # the limits are judged from both sides.
    rounding = Fraction(1, 100_000)
    assert share(level > limits.cusum for level, _ in worst) <= 0.02 + 0.011
    assert share(level > Fraction(limits.cusum) - rounding for level, _ in worst) >= 0.017 - 0.011
    assert share(fall > limits.drawdown for _, fall in worst) <= 0.05 + 0.017
    assert share(fall > Fraction(limits.drawdown) - rounding for _, fall in worst) >= 0.05 - 0.017


def test_forty_percent_wins_have_the_reference_limit_of_the_cusum() -> None:
    """Reference: h of 39.7 R for independent wins of 2.3 R and losses of 1 R, k 0.16."""
    chance = default_rng(5)
    results = np.array(["2.3"] * 4_000 + ["-1"] * 6_000)
    chance.shuffle(results)
    limits = calibrate_limits(made([str(each) for each in results], 1))
    assert limits.reference_mean == Decimal("0.32")
    assert limits.cusum == pytest.approx(Decimal("39.7"), abs=Decimal("2.0"))


def test_the_limits_do_not_depend_on_the_order_of_the_rows() -> None:
    record = made(drawn(6, 60, 0.5), 3)
    assert calibrate_limits(record) == calibrate_limits(record[::-1])


@pytest.mark.parametrize("seed", range(10))
def test_the_highest_level_of_a_path_is_that_of_its_trades_walked_one_by_one(seed: int) -> None:
    chance = default_rng(seed)
    lengths = chance.integers(1, 40, 20)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    steps = np.round(chance.normal(-0.2, 1.5, int(lengths.sum())), 3)
    drawn, walked = draw_paths(steps, starts)
    assert len(drawn) == RESAMPLED_PATHS
    found = find_highest(steps, starts, drawn, walked)
    blocks = np.split(steps, starts[1:])
    for path in range(0, RESAMPLED_PATHS, 500):
        level = highest = 0.0
        trades, count = 0, 0
        for block in drawn[path]:
            if trades >= HORIZON_TRADES and count >= HORIZON_BLOCKS:
                break
            for step in blocks[block]:
                level = max(0.0, level + float(step))
                highest = max(highest, level)
            trades, count = trades + len(blocks[block]), count + 1
        assert trades >= HORIZON_TRADES
        assert count == walked[path] >= HORIZON_BLOCKS
        assert found[path] == pytest.approx(highest, abs=1e-9)


def test_a_busy_record_is_judged_over_a_month_of_days() -> None:
    """Over 300 trades, two of its days, the limit would be that of two days."""
    chance = default_rng(11)
    good, bad = (["2"] * 120 + ["-1"] * 30, ["-1"] * 80 + ["2"] * 70)
    days = [bad if day % 7 == 3 else good for day in range(14)]
    record = made([each for day in days for each in chance.permutation(day)], 150)
    limits = calibrate_limits(record)
    k = Fraction(limits.reference_mean) / 2
    worst = [
        worst_levels(walk_blocks([by_line(each) for each in record], 4_500, chance), k)[0]
        for _ in range(60)
    ]
    assert share(level > limits.cusum for level in worst) <= 0.02 + 3 * 0.018


def test_neighboring_days_stay_together_in_two_of_three_draws() -> None:
    """The mean length is the third root of the days: 27 days, 3 days."""
    drawn, walked = draw_paths(np.arange(27.0), np.arange(27))
    assert (walked == HORIZON_TRADES).all()  # one trade a block
    steps = np.diff(drawn[:200, :27], axis=1) % 27
    assert np.mean(steps == 1) == pytest.approx(2 / 3 + 1 / 3 / 27, abs=0.02)


@pytest.mark.parametrize("seed", range(20))
def test_cusum_and_drawdown_follow_from_their_definitions(seed: int) -> None:
    chance = default_rng(seed)
    results = [str(round(float(each), 2)) for each in chance.normal(0.1, 1.5, 80)]
    record = made(results, 3)
    mean = Decimal(str(round(float(chance.normal(0.3, 0.4)), 3)))
    found = measure_deterioration(record[::-1], mean)
    cusum, fall = worst_levels([Fraction(each) for each in results], Fraction(mean) / 2)
    assert (Fraction(found.cusum), Fraction(found.drawdown)) == (cusum, fall)


def test_a_record_without_monitored_trades_has_not_deteriorated() -> None:
    found = measure_deterioration([], Decimal("0.5"))
    assert found == Deterioration(cusum=Decimal(0), drawdown=Decimal(0))
