"""Funding per hour, its interval and its z-score agree with a loop over the definition."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.day import HOUR_MS
from kamou.core.indicators.funding import FundingZ, find_interval_hours, split_figures

PAST, SPAN_H, FLOOR = 6, 72, 0.2 / 10_000 / 8
SPEC = FundingZ(past=PAST, span_ms=SPAN_H * HOUR_MS, known_min=3, deviation_min=FLOOR)
GAPS = st.lists(st.sampled_from([1, 4, 4, 8, 8, 8, 12, 16]), max_size=12)


def hours_by_loop(times: list[int]) -> list[float]:
    """Return the interval of each settlement; NaN: unknown."""
    hours = [math.nan] * len(times)
    for i in range(2, len(times)):
        gap, before = times[i] - times[i - 1], times[i - 1] - times[i - 2]
        if times[i - 2] >= 0 and gap <= before:
            hours[i] = gap
    return hours


@given(gaps=GAPS, unknown=st.integers(0, 4), seed=st.integers(0, 2**32 - 1))
def test_the_figures_of_the_newest_settlement_are_those_of_a_loop(
    gaps: list[int], unknown: int, seed: int
) -> None:
    times = np.cumsum([100, *gaps]).tolist()
    rates = np.random.default_rng(seed).normal(0.0001, 0.0004, len(times)).tolist()
    rows = SPEC.settlements
    padded_times = ([-1] * (rows + unknown) + times)[-rows - unknown :]
    padded_rates = ([math.nan] * (rows + unknown) + rates)[-rows - unknown :]
    in_ms = np.array([[t * HOUR_MS if t >= 0 else -1] for t in padded_times], dtype=np.int64)
    found = split_figures(SPEC.read(in_ms, np.array(padded_rates)[:, np.newaxis]))

    times, rates = padded_times[-rows:], padded_rates[-rows:]
    times = [t if t >= 0 and t > times[-1] - SPAN_H else -1 for t in times]
    hours = hours_by_loop(times)
    hourly = [rate / each for rate, each in zip(rates, hours, strict=True)]
    past = [each for each in hourly[-1 - PAST : -1] if not math.isnan(each)]
    assert found.settled == sum(t >= 0 for t in times)
    assert found.settled_ms == times[-1] * HOUR_MS
    np.testing.assert_array_equal(found.interval_ms, [hours[-1] * HOUR_MS])
    np.testing.assert_allclose(found.hourly, [hourly[-1]], rtol=1e-12)
    np.testing.assert_allclose(found.per_year, [hourly[-1] * 8760], rtol=1e-12)
    if len(past) < 3 or math.isnan(hourly[-1]):
        assert np.isnan(found.z).all()
        return
    middle = statistics.median(past)
    spread = statistics.median(abs(each - middle) for each in past)
    z = (hourly[-1] - middle) / max(1.4826 * spread, FLOOR)
    assert found.z[0] == pytest.approx(z, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("hours", "intervals"),
    [
        pytest.param([0, 8, 16, 24], [8, 8], id="8 h"),
        pytest.param([0, 8, 16, 20, 24], [8, 4, 4], id="it becomes shorter: known at once"),
        pytest.param([0, 4, 8, 16, 24], [4, None, 8], id="it becomes longer: known at the second"),
        pytest.param([0, 8, 16, 32, 40], [8, None, 8], id="a settlement is missing"),
        pytest.param([0, 8, 9, 10, 11], [1, 1, 1], id="1 h"),
    ],
)
def test_the_interval_is_that_of_the_settlement_and_unknown_if_in_doubt(
    hours: list[int], intervals: list[float | None]
) -> None:
    times = np.array(hours, dtype=np.int64)[:, np.newaxis] * HOUR_MS + 5
    found = find_interval_hours(times)[:, 0].tolist()
    wanted = [math.nan, math.nan, *(math.nan if h is None else h for h in intervals)]
    np.testing.assert_array_equal(found, wanted)


def test_a_rate_that_was_pinned_gets_no_extreme_z_score_from_a_tiny_change() -> None:
    times = np.arange(1, SPEC.settlements + 1, dtype=np.int64)[:, np.newaxis] * 8 * HOUR_MS
    rates = np.full((SPEC.settlements, 1), 0.0001)
    rates[-1] = 0.00010001
    z = split_figures(SPEC.read(times, rates)).z
    assert z[0] == pytest.approx(0.0005, rel=1e-6)  # 0.000001 % over the floor of 0.002 %


@given(seed=st.integers(0, 2**32 - 1), interval=st.sampled_from([1, 2, 4]))
def test_equal_rates_per_hour_have_equal_figures_whatever_the_interval(
    seed: int, interval: int
) -> None:
    hourly = np.random.default_rng(seed).normal(0, 1e-5, (SPEC.settlements, 1))
    count = np.arange(1, SPEC.settlements + 1, dtype=np.int64)[:, np.newaxis]
    one = split_figures(SPEC.read(count * interval * HOUR_MS, hourly * interval))
    other = split_figures(SPEC.read(count * HOUR_MS, hourly))
    np.testing.assert_allclose(one.z, other.z, rtol=1e-9)
    np.testing.assert_allclose(one.per_year, other.per_year, rtol=1e-12)
