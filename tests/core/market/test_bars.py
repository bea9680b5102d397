"""Resampling, trailing ATR and checks of bars, compared with plain computations."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.market.bar_checks import (
    BarRows,
    count_grid_bars,
    find_problems,
    infer_period_ms,
    to_grid,
)
from kamou.core.market.bars import Bars, concatenate, empty_series, resample, trailing_atr
from kamou.errors import InvalidDataError

MINUTE_MS = 60_000
START_MS = 1_700_000_040_000  # on the minute, not on the quarter hour


def made_bars(count: int, symbols: int, seed: int, *, first_ms: int = START_MS) -> Bars:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.001 * rng.standard_normal((count, symbols)), axis=0))
    opened = close * np.exp(0.001 * rng.standard_normal(close.shape))
    return Bars(
        symbols=tuple(f"S{at}" for at in range(symbols)),
        period_ms=MINUTE_MS,
        open_ms=first_ms + MINUTE_MS * np.arange(count, dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) + rng.random(close.shape),
        low=np.minimum(opened, close) - rng.random(close.shape),
        close=close,
        volume=rng.random(close.shape),
    )


@settings(max_examples=60)
@given(
    bars=st.integers(0, 90),
    factor=st.sampled_from([1, 3, 5, 15, 60]),
    seed=st.integers(0, 2**16),
    offset=st.integers(0, 59),
    holes=st.lists(st.integers(0, 89), max_size=4),
)
def test_resampled_bars_equal_those_of_a_loop_over_buckets(
    bars: int, factor: int, seed: int, offset: int, holes: list[int]
) -> None:
    fine = made_bars(bars, 2, seed, first_ms=START_MS + offset * MINUTE_MS)
    for hole in holes:
        if hole < bars:
            for field in (fine.open, fine.high, fine.low, fine.close, fine.volume):
                field[hole, 0] = np.nan
    period = factor * MINUTE_MS
    coarse = resample(fine, period)
    starts = [at for at in range(bars) if fine.open_ms[at] % period == 0 and at + factor <= bars]
    assert coarse.period_ms == period
    assert coarse.open_ms.tolist() == [int(fine.open_ms[at]) for at in starts]
    for row, at in enumerate(starts):
        for column in range(2):
            part = slice(at, at + factor)
            got = [
                getattr(coarse, name)[row, column]
                for name in ("open", "high", "low", "close", "volume")
            ]
            if np.isnan(fine.close[part, column]).any():
                assert np.isnan(got).all()
                continue
            assert got[:4] == [
                fine.open[at, column],
                max(fine.high[part, column]),
                min(fine.low[part, column]),
                fine.close[at + factor - 1, column],
            ]
            assert got[4] == pytest.approx(sum(fine.volume[part, column]), rel=1e-12)


def test_a_coarser_period_that_is_not_a_multiple_of_the_bars_period_is_invalid() -> None:
    fine = made_bars(10, 1, 1)
    for period in (90_000, 30_000):
        with pytest.raises(InvalidDataError, match="multiple"):
            resample(fine, period)


def test_concatenated_parts_equal_the_whole_bars() -> None:
    whole = made_bars(10, 2, 3)
    names = ("open_ms", "open", "high", "low", "close", "volume")
    pieces = [
        attrs.evolve(whole, **{name: getattr(whole, name)[rows] for name in names})
        for rows in (slice(0, 4), slice(4, 10))
    ]
    joined = concatenate(pieces)
    for name in names:
        assert np.array_equal(getattr(joined, name), getattr(whole, name))
    assert concatenate([whole]) is whole


def test_the_trailing_atr_uses_only_earlier_bars() -> None:
    bars = made_bars(40, 3, 5)
    atr = trailing_atr(bars.high, bars.low, bars.close, window=14)
    assert np.isnan(atr[:15]).all()
    for row in (15, 27, 39):
        for column in range(3):
            ranges = [
                max(bars.high[at, column], bars.close[at - 1, column])
                - min(bars.low[at, column], bars.close[at - 1, column])
                for at in range(row - 14, row)
            ]
            assert atr[row, column] == pytest.approx(np.mean(ranges), rel=1e-12)
    bars.high[39] *= 2
    assert np.array_equal(trailing_atr(bars.high, bars.low, bars.close)[39], atr[39]), (
        "the range of the last bar changed its own ATR"
    )


def test_the_trailing_atr_of_too_few_bars_is_nan() -> None:
    bars = made_bars(5, 1, 1)
    assert np.isnan(trailing_atr(bars.high, bars.low, bars.close)).all()


def test_a_series_between_two_times_excludes_the_first_and_includes_the_last() -> None:
    series = attrs.evolve(
        empty_series(("A",), 60),
        available_ms=np.array([10, 20, 30]),
        values=np.array([[1.0], [2.0], [3.0]]),
    )
    cut = series.between(10, 30)
    assert cut.available_ms.tolist() == [20, 30]
    assert cut.values[:, 0].tolist() == [2.0, 3.0]


# --- invalid rows ---------------------------------------------------------------------

NOW_MS = START_MS + 1_000 * MINUTE_MS


def rows_of(bars: Bars) -> BarRows:
    count, width = bars.close.shape
    return BarRows(
        symbols=bars.symbols,
        code=np.repeat(np.arange(width), count),
        source=np.zeros(count * width, dtype=np.int64),
        row=np.arange(1, count * width + 1),
        open_ms=np.tile(bars.open_ms, width),
        open=bars.open.T.ravel(),
        high=bars.high.T.ravel(),
        low=bars.low.T.ravel(),
        close=bars.close.T.ravel(),
        volume=bars.volume.T.ravel(),
    )


NOTHING = ((), 0, (), 0)


def problems_of(rows: BarRows, **given_: Any) -> Any:
    defaults = {"now_ms": NOW_MS, "allow_gaps": False, "gaps_max": 10}
    return attrs.astuple(
        find_problems(rows, period_ms=MINUTE_MS, **(defaults | given_)), recurse=False
    )


def test_valid_rows_have_no_problems_and_give_back_their_grid() -> None:
    bars = made_bars(30, 3, 2)
    rows = rows_of(bars)
    assert problems_of(rows) == NOTHING
    assert infer_period_ms(rows) == MINUTE_MS
    grid = to_grid(rows, MINUTE_MS)
    for name in ("open_ms", "open", "high", "low", "close"):
        assert np.array_equal(getattr(grid, name), getattr(bars, name))
    assert np.allclose(grid.volume, bars.volume, rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("open", np.nan, "NaN, infinite or missing"),
        ("volume", np.inf, "NaN, infinite or missing"),
        ("low", 0.0, "not positive"),
        ("close", -1.0, "not positive"),
        ("volume", -1.0, "not positive or the volume is negative"),
        ("high", 1.0, "high is below"),
        ("low", 1e6, "low is above"),
        ("close", 1e-10, "not between 1e-09 and 1e+12"),
        ("high", 1e300, "not between 1e-09 and 1e+12"),
        ("volume", 1e300, "the volume is above 1e+18"),
        ("open_ms", START_MS + 17 * MINUTE_MS + 1, "grid of UTC"),
        ("open_ms", START_MS + 3 * MINUTE_MS, "not sorted by time"),
        ("open_ms", START_MS // 1000, "is before 2009, older than any crypto data"),
        ("open_ms", NOW_MS, "closes in the future"),
        ("open_ms", START_MS + 16 * MINUTE_MS, "is there twice"),
    ],
)
def test_each_invalid_row_is_listed_with_its_symbol_time_and_reason(
    field: str, value: float, reason: str
) -> None:
    rows = rows_of(made_bars(30, 2, 4))
    getattr(rows, field)[47] = value  # the second symbol's 18th bar
    problems, total, *_ = problems_of(rows)
    found = [each for each in problems if each.row == 48]
    assert total >= 1
    assert any(reason in each.reason for each in found), problems
    assert {(each.symbol, each.at_ms) for each in found} == {("S1", rows.open_ms[47])}


def test_a_gap_is_a_problem_unless_gaps_are_allowed() -> None:
    rows = rows_of(made_bars(30, 2, 4))
    keep = np.ones(60, dtype=bool)
    keep[[40, 41]] = False
    names = [field.name for field in attrs.fields(BarRows) if field.name != "symbols"]
    rows = attrs.evolve(rows, **{name: getattr(rows, name)[keep] for name in names})
    problems, total, gaps, gaps_total = problems_of(rows)
    assert total == 1
    assert problems[0].row == 43
    assert "missing, 2 of them" in problems[0].reason
    assert problems_of(rows, allow_gaps=True) == ((), 0, gaps, 1)
    assert gaps_total == 1
    assert [(gap.symbol, gap.bars) for gap in gaps] == [("S1", 2)]
    assert gaps[0].before_ms - gaps[0].after_ms == 3 * MINUTE_MS
    assert np.isnan(to_grid(rows, MINUTE_MS).close[10:12, 1]).all()


def keep_rows(rows: BarRows, kept: list[int]) -> BarRows:
    names = [field.name for field in attrs.fields(BarRows) if field.name != "symbols"]
    return attrs.evolve(rows, **{name: getattr(rows, name)[kept] for name in names})


@pytest.mark.parametrize("allow_gaps", [False, True])
def test_a_symbol_with_a_longer_period_of_its_own_is_invalid_and_has_no_gaps(
    allow_gaps: bool,
) -> None:
    rows = keep_rows(rows_of(made_bars(30, 2, 4)), [*range(30), *range(31, 60, 4)])
    problems, total, _, gaps_total = problems_of(rows, allow_gaps=allow_gaps)
    assert total == 8
    assert [(each.row, each.symbol, each.rows) for each in problems] == [(32, "S1", 8)]
    assert "longer period than the others: 240000 ms between its bars" in problems[0].reason
    assert gaps_total == 0


def test_a_symbol_with_a_gap_at_nearly_each_bar_has_gaps() -> None:
    steps = [30, 33, 36, 39, 40, 44]  # of its bars 39 and 40 are neighbors
    rows = keep_rows(rows_of(made_bars(30, 2, 4)), [*range(30), *steps])
    assert problems_of(rows, allow_gaps=True)[1] == 0
    assert problems_of(keep_rows(rows, [*range(30), 30, 32, 34]), allow_gaps=True)[3] == 2


def test_a_row_that_is_there_twice_names_the_row_whose_time_it_has() -> None:
    rows = keep_rows(rows_of(made_bars(30, 2, 4)), [*range(60), 35])
    rows.source[60], rows.row[60] = 1, 1
    problems, total, *_ = problems_of(rows)
    assert (total, problems[0].source, problems[0].row) == (1, 1, 1)
    assert problems[0].repeats == (0, 36)


def test_a_symbol_may_begin_late_and_end_early() -> None:
    rows = rows_of(made_bars(30, 2, 4))
    keep = np.ones(60, dtype=bool)
    keep[30:35] = keep[55:] = False
    names = [field.name for field in attrs.fields(BarRows) if field.name != "symbols"]
    rows = attrs.evolve(rows, **{name: getattr(rows, name)[keep] for name in names})
    assert problems_of(rows) == NOTHING


def test_of_each_kind_of_problem_the_first_row_is_listed_and_all_rows_are_counted() -> None:
    rows = rows_of(made_bars(30, 2, 4))
    rows.close[:] = np.nan
    rows.volume[7:] = -1.0
    problems, total, *_ = problems_of(rows)
    counted = {each.reason.partition(" (")[0]: (each.row, each.rows) for each in problems}
    assert counted == {"a price or the volume is NaN, infinite or missing": (1, 60)} | {
        reason: found for reason, found in counted.items() if "negative" in reason
    }
    assert [found for reason, found in counted.items() if "negative" in reason] == [(8, 53)]
    assert total == 60


def test_rows_that_interleave_the_symbols_are_valid() -> None:
    rows = rows_of(made_bars(30, 2, 4))
    order = np.lexsort((rows.code, rows.open_ms))
    names = [field.name for field in attrs.fields(BarRows) if field.name not in ("symbols", "row")]
    rows = attrs.evolve(rows, **{name: getattr(rows, name)[order] for name in names})
    assert infer_period_ms(rows) == MINUTE_MS
    assert problems_of(rows) == NOTHING


def test_fewer_than_two_bars_of_each_symbol_or_a_period_that_does_not_divide_a_day_is_invalid() -> (
    None
):
    with pytest.raises(InvalidDataError, match="no symbol has two bars"):
        infer_period_ms(rows_of(made_bars(1, 3, 1)))
    odd = rows_of(made_bars(9, 1, 1))
    odd.open_ms[:] = START_MS + 7 * MINUTE_MS * np.arange(9)
    with pytest.raises(InvalidDataError, match="it must divide a day"):
        infer_period_ms(odd)


def test_extreme_64_bit_times_are_invalid_and_do_not_wrap_around() -> None:
    for wild in (2**63 - 1, 9_223_372_036_854_000_000, -(2**63), -(2**62)):
        rows = rows_of(made_bars(30, 2, 4))
        rows.open_ms[47] = wild
        assert infer_period_ms(rows) == MINUTE_MS
        problems, *_ = problems_of(rows)
        assert 48 in [each.row for each in problems], wild


def test_gaps_are_listed_by_symbol_and_time_and_all_are_counted() -> None:
    rows = rows_of(made_bars(30, 2, 4))
    keep = np.ones(60, dtype=bool)
    keep[[5, 10, 40, 45]] = False
    names = [field.name for field in attrs.fields(BarRows) if field.name != "symbols"]
    rows = attrs.evolve(rows, **{name: getattr(rows, name)[keep] for name in names})
    *_, gaps, total = problems_of(rows, allow_gaps=True, gaps_max=3)
    assert total == 4
    assert [gap.symbol for gap in gaps] == ["S0", "S0", "S1"]
    assert gaps[0].after_ms == START_MS + 4 * MINUTE_MS


def test_the_grid_of_two_distant_rows_counts_every_bar_between_them() -> None:
    rows = rows_of(made_bars(2, 1, 1))
    rows.open_ms[1] = START_MS + MINUTE_MS * 10**9
    assert count_grid_bars(rows, MINUTE_MS) == 10**9 + 1
