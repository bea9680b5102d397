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
    HORIZON_TRADES,
    Deterioration,
    calibrate_limits,
    measure_deterioration,
    resample_paths,
    sort_trades,
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


def test_paths_are_whole_blocks_of_the_record_in_their_order() -> None:
    """Each trade has an R of its own, so that its neighbors in a path can be told."""
    record = made([str(Decimal(n) / 100) for n in range(60)], 4)
    blocks = {tuple(range(first, first + 4)) for first in range(0, 60, 4)}
    seen = set()
    (first, *_others) = resample_paths(sort_trades(record))
    for path in first[:50]:
        numbers = [round(float(each) * 100) for each in path]
        assert len(numbers) == HORIZON_TRADES
        found = {tuple(numbers[at : at + 4]) for at in range(0, HORIZON_TRADES, 4)}
        assert found <= blocks
        seen |= found
    assert seen == blocks


def test_neighboring_days_stay_together_in_two_of_three_draws() -> None:
    """The mean length is the third root of the days: 27 days, 3 days."""
    record = made([str(Decimal(n) / 100) for n in range(27)], 1)
    (paths, *_others) = resample_paths(sort_trades(record))
    steps = np.diff(np.rint(paths[:200, :27] * 100), axis=1) % 27
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
