"""The value of the refiner's verdicts, beside its definition and reference values."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import RefinerVerdict
from kamou.core.record import refiner_value
from kamou.core.record.refiner_value import (
    JudgedTrade,
    find_trades_per_arm,
    measure_refiner_value,
)
from tests.core.record.refiner_value_by_definition import (
    Line,
    lowest_scores_refused,
    p_value,
    uplift,
)

START_MS = 1_735_689_600_000  # 2025-01-01
APPROVE, REFUSE, SHRINK = RefinerVerdict.APPROVE, RefinerVerdict.REFUSE, RefinerVerdict.SHRINK


def judged(
    number: int, r: str, verdict: RefinerVerdict, *, day: int = 0, p_win_pct: int | None = None
) -> JudgedTrade:
    opened = START_MS + day * DAY_MS + number
    return JudgedTrade(
        strategy="one",
        symbol=f"S{number}",
        opened_at_ms=opened,
        closed_at_ms=opened + HOUR_MS,
        r=Decimal(r),
        verdict=verdict,
        score=number / 100,
        p_win_pct=p_win_pct,
        cost_usd=Decimal("0.01"),
    )


def test_uplift_and_exact_p_value_of_one_day_are_the_reference_values() -> None:
    # llm_ablation_permutation of the reference vectors: all 792 choices of 5 of 12.
    gains, approved = "WLLWLWLLWLLW", "AxxAxAxAAxxx"
    trades = [
        judged(number, "2.22" if gain == "W" else "-1.08", APPROVE if taken == "A" else REFUSE)
        for number, (gain, taken) in enumerate(zip(gains, approved, strict=True))
    ]
    value = measure_refiner_value(trades, seed=1)
    assert value.uplift_r == pytest.approx(2.1685714285714286, rel=1e-12)
    assert value.p_value == pytest.approx(0.045454545454545456, rel=1e-12)
    assert (value.arrangements, value.counted_all) == (792, True)


def test_trades_per_arm_are_the_reference_values() -> None:
    assert find_trades_per_arm(1.52) == ((0.1, 2857), (0.2, 714), (0.3, 317), (0.5, 114))


def test_brier_score_and_skill_are_the_reference_values() -> None:
    stated, gains = (60, 70, 30, 80, 40, 55), (1, 1, 0, 0, 0, 1)
    trades = [
        judged(n, "1" if gain else "-1", APPROVE, p_win_pct=p)
        for n, (p, gain) in enumerate(zip(stated, gains, strict=True))
    ]
    value = measure_refiner_value([*trades, judged(9, "2", REFUSE)], seed=1)
    assert value.brier == pytest.approx(0.22375, rel=1e-12)
    assert value.brier_skill == pytest.approx(0.105, rel=1e-12)
    assert value.p_wins == 6


@st.composite
def small_records(draw: st.DrawFn) -> list[JudgedTrade]:
    """Draw up to seven trades on up to three days, so that all orders can be listed."""
    results = st.sampled_from(["2.22", "-1.08", "0", "-1", "0.5"])
    verdicts = st.sampled_from([APPROVE, REFUSE])
    count = draw(st.integers(2, 7))
    return [
        judged(n, draw(results), draw(verdicts), day=draw(st.integers(0, 2))) for n in range(count)
    ]


@settings(max_examples=60)
@given(small_records())
def test_uplift_p_value_and_score_baseline_are_those_of_the_definition(
    trades: list[JudgedTrade],
) -> None:
    verdicts = {each.verdict for each in trades}
    value = measure_refiner_value(trades, seed=1)
    assert measure_refiner_value(trades[::-1], seed=1) == value
    if verdicts != {APPROVE, REFUSE}:
        assert (value.uplift_r, value.p_value, value.score_uplift_r) == (None, None, None)
        return
    lines: list[Line] = [
        (each.opened_at_ms, each.verdict, Fraction(each.r), each.score) for each in trades
    ]
    lines.sort()
    assert value.uplift_r == pytest.approx(float(uplift(lines, [each[1] for each in lines])))
    assert value.p_value == pytest.approx(float(p_value(lines)))
    assert value.score_uplift_r == pytest.approx(float(lowest_scores_refused(lines)), abs=1e-12)


def record(rng: np.random.Generator, *, days: int, skill: float) -> list[JudgedTrade]:
    """Draw trades of days that move together, refused by chance or (``skill``) as losers."""
    made = []
    for day in range(days):
        common = rng.normal()  # the same for all trades of the day
        day_refusals = rng.random()  # and the model refuses more on some days
        for number in range(6):
            r = common + rng.normal()
            refuse = r < 0 if rng.random() < skill else rng.random() < day_refusals
            made.append(judged(number, f"{r:.6f}", REFUSE if refuse else APPROVE, day=day))
    return made


def test_drawn_p_values_without_skill_are_uniform_although_days_move_together() -> None:
    rng = np.random.default_rng(20)
    found = []
    for seed in range(300):
        value = measure_refiner_value(record(rng, days=12, skill=0.0), seed)
        assert value.p_value is not None
        found.append(value.p_value)
    # 300 uniform draws: the share below a level has a deviation of at most 2.9 %.
    for level in (0.05, 0.25, 0.5, 0.75):
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=0.09)


def test_skill_within_days_is_found_and_lies_beyond_the_placebo() -> None:
    value = measure_refiner_value(record(np.random.default_rng(3), days=40, skill=0.5), seed=1)
    assert value.uplift_r is not None
    assert value.p_value is not None
    assert value.placebo_r is not None
    assert value.p_value < 0.001
    assert value.uplift_r > value.placebo_r[1]


def test_drawn_and_counted_p_values_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    trades = record(np.random.default_rng(5), days=3, skill=0.2)
    counted = measure_refiner_value(trades, seed=1)
    monkeypatch.setattr(refiner_value, "ARRANGEMENTS_MAX", 0)
    drawn = measure_refiner_value(trades, seed=1)
    assert (counted.counted_all, drawn.counted_all) == (True, False)
    assert counted.p_value is not None
    assert drawn.p_value == pytest.approx(counted.p_value, abs=0.015)


def test_shrunk_trades_are_an_arm_of_their_own_and_in_no_uplift() -> None:
    pair = [judged(0, "2", APPROVE), judged(1, "-1", REFUSE)]
    value = measure_refiner_value([*pair, judged(2, "7", SHRINK)], seed=1)
    assert value.uplift_r == 3.0
    assert [(each.verdict, each.n, each.mean_r) for each in value.arms] == [
        (APPROVE, 1, 2.0),
        (SHRINK, 1, 7.0),
        (REFUSE, 1, -1.0),
    ]
    assert (value.n, value.cost_usd) == (3, Decimal("0.03"))


def test_a_verdict_that_no_model_gave_is_refused() -> None:
    with pytest.raises(ValueError, match="off is no verdict of a model"):
        measure_refiner_value([judged(0, "1", RefinerVerdict.OFF)], seed=1)
