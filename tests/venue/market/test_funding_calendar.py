"""Later settlements change no earlier funding interval; missing ones are assumed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.day import HOUR_MS
from kamou.core.market.bars import Series
from kamou.venue.market.funding_calendar import FundingCalendar, find_intervals

START_MS = 1_735_689_600_000
GAPS = st.lists(st.sampled_from((1, 1, 1, 4, 4, 8, 8, 8, 16, 24)), min_size=1, max_size=60)


def settlements(gaps: list[int]) -> list[int]:
    return [START_MS + hours * HOUR_MS for hours in np.cumsum([0, *gaps]).tolist()]


def calendar_of(times: list[int]) -> FundingCalendar:
    return FundingCalendar(
        Series(
            symbols=("AAA",),
            available_ms=np.array(times, dtype=np.int64),
            values=np.full((len(times), 1), 0.0001),
            period_ms=8 * HOUR_MS,
        )
    )


@given(gaps=GAPS, share=st.floats(0, 1))
def test_a_later_settlement_changes_no_interval_and_no_payment_before(
    gaps: list[int], share: float
) -> None:
    times = settlements(gaps)
    last = times[0] + round(share * (times[-1] - times[0]) / HOUR_MS) * HOUR_MS
    kept = [each for each in times if each <= last]
    assert find_intervals(np.array(kept)) == [
        each for each in find_intervals(np.array(times)) if each[0] <= last
    ]
    whole, cut = calendar_of(times), calendar_of(kept)
    assert cut.changes(0, last) == whole.changes(0, last)
    for hour_ms in range(times[0], last + HOUR_MS, HOUR_MS):
        for interval_h in (1, 4, 8):
            assert cut.assumed_hours("AAA", hour_ms, interval_h) == whole.assumed_hours(
                "AAA", hour_ms, interval_h
            )


@given(gaps=st.lists(st.sampled_from((1, 2, 4)), min_size=1, max_size=60))
def test_no_settlement_is_assumed_between_recorded_ones_at_most_four_hours_apart(
    gaps: list[int],
) -> None:
    times = settlements(gaps)
    calendar = calendar_of(times)
    for hour_ms in range(times[0], times[-1], HOUR_MS):
        if hour_ms not in times:
            assert calendar.assumed_hours("AAA", hour_ms, 1) is None


@pytest.mark.parametrize(
    ("gaps", "hours"),
    [
        ([8, 8, 8], [8]),
        ([8, 8, 1, 1, 1], [8, 1]),
        ([1, 1, 8, 8, 8], [1, 8]),
        ([8, 16, 8, 8], [8]),  # one settlement is missing
        ([8, 16, 16], [8, 16]),
        ([16, 8, 8], [8]),  # one settlement is missing
        ([24, 24, 8], [24, 8]),
        ([4, 1, 1, 4, 4], [4, 1, 4]),
        ([], []),
    ],
)
def test_an_interval_becomes_longer_only_when_two_distances_are_equal(
    gaps: list[int], hours: list[int]
) -> None:
    assert [each for _, each in find_intervals(np.array(settlements(gaps)))] == hours


def test_after_the_record_settlements_are_assumed_every_8_h_and_before_it_by_interval() -> None:
    calendar = calendar_of(settlements([1] * 16))
    hours = [START_MS + hour * HOUR_MS for hour in range(17, 41)]
    due = [each for each in hours if calendar.assumed_hours("AAA", each, 1) == 8]
    assert [(each - START_MS) // HOUR_MS for each in due] == [24, 32, 40]
    assert calendar.assumed_hours("AAA", START_MS - HOUR_MS, 1) == 1
    assert calendar.assumed_hours("AAA", START_MS - HOUR_MS, 8) is None
