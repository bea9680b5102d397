"""A panel's long/short ratios are the newest of each hour, and never from the future."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import HOUR_MS
from kamou.core.market.bars import RatioSeries, Series, get_top_ratios
from kamou.core.market.panel import Panel
from kamou.core.market.ratios import RatioRows
from kamou.errors import InvalidDataError

SYMBOLS, HOURS = 3, 12
NEVER: np.ndarray = np.full(SYMBOLS, -1, np.int64)


def draw(seed: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return observations at random times, with unknown and invalid ratios."""
    chance = np.random.default_rng(seed)
    times = np.sort(chance.integers(1, 30 * HOUR_MS, size=chance.integers(1, 60)))
    times[chance.random(len(times)) < 0.2] //= HOUR_MS
    found = []
    for at_ms in np.sort(np.maximum(times, 1)).tolist():
        both = np.exp(chance.normal(size=(2, SYMBOLS)))
        both[chance.random(both.shape) < 0.2] = chance.choice([np.nan, np.inf, -np.inf, 0.0, -1.0])
        found.append((at_ms, both[0], both[1]))
    return found


def is_known(ratio: float) -> bool:
    return math.isfinite(ratio) and ratio > 0


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), back_ms=st.integers(0, 3 * HOUR_MS))
def test_each_hour_has_its_newest_known_observation_of_each_symbol(seed: int, back_ms: int) -> None:
    rows, observations = RatioRows(HOURS, SYMBOLS), draw(seed)
    for observation in observations:
        rows.append(*observation)
    newest_hour = math.ceil(observations[-1][0] / HOUR_MS)
    now_ms = observations[-1][0] - back_ms
    since_ms = np.array([-1, now_ms - 5 * HOUR_MS, now_ms])
    times, logs = rows.copy().known(since_ms, now_ms)
    for row, hour in enumerate(range(newest_hour - HOURS + 1, newest_hour + 1)):
        for symbol in range(SYMBOLS):
            inside = [
                (at_ms, accounts[symbol], top[symbol])
                for at_ms, accounts, top in observations
                if math.ceil(at_ms / HOUR_MS) == hour and is_known(accounts[symbol])
            ][-1:]
            if not inside or not since_ms[symbol] < inside[0][0] <= now_ms:
                assert times[row, symbol] == -1
                assert np.isnan(logs[row, :, symbol]).all()
                continue
            at_ms, accounts, top = inside[0]
            assert times[row, symbol] == at_ms
            assert logs[row, 0, symbol] == pytest.approx(math.log(accounts))
            if is_known(top):
                assert logs[row, 1, symbol] == pytest.approx(math.log(top))
            else:
                assert math.isnan(logs[row, 1, symbol])


def test_a_snapshot_never_changes_and_observations_come_in_the_order_of_time() -> None:
    rows, ones = RatioRows(4, SYMBOLS), np.ones(SYMBOLS)
    rows.append(HOUR_MS, 2 * ones, ones)
    before = rows.copy()
    assert rows.copy() is before
    rows.append(HOUR_MS, 3 * ones, ones)
    rows.append(2 * HOUR_MS, 4 * ones, ones)
    np.testing.assert_allclose(before.known(NEVER, 9 * HOUR_MS)[1][-1, 0], math.log(2))
    np.testing.assert_allclose(rows.copy().values[-2:, 0, 0], [math.log(3), math.log(4)])
    with pytest.raises(InvalidDataError, match="older than the newest, at 1970-01-01"):
        rows.append(2 * HOUR_MS - 1, ones, ones)


def test_a_cached_figure_changes_with_the_ratios_that_are_known() -> None:
    panel = Panel(("A", "B", "C"), HOUR_MS, 2)
    panel.keep_ratios(4)
    ones = np.ones(SYMBOLS)
    for hour in (1, 2):
        panel.append_ratios(hour * HOUR_MS, math.e**hour * ones, ones)

    def total(now_ms: int) -> float:
        return float(
            panel.compute_from_ratios("sum", now_ms, lambda _t, x: np.nansum(x[:, 0], 0))[0]
        )

    assert [total(hour * HOUR_MS) for hour in (0, 1, 2)] == [0, 1, pytest.approx(3)]
    panel.append_ratios(2 * HOUR_MS, math.e**5 * ones, ones)
    assert [total(hour * HOUR_MS) for hour in (1, 2)] == [1, pytest.approx(6)]


def test_a_symbol_has_no_ratio_from_before_a_gap_in_its_bars() -> None:
    panel = Panel(("A", "B"), HOUR_MS, 2)
    panel.keep_ratios(8)
    for hour in range(8):
        bar = np.array([1.0, np.nan if hour == 4 else 1.0])
        panel.append(hour * HOUR_MS, bar, bar, bar, bar, bar)
        panel.append_ratios((hour + 1) * HOUR_MS, np.full(2, 2.0), np.full(2, 1.0))
    times, logs = panel.ratios(panel.close_ms)
    assert (times[:, 0] > 0).all()
    assert (times[:, 1] // HOUR_MS).tolist() == [-1, -1, -1, -1, -1, 6, 7, 8]
    np.testing.assert_array_equal(np.isnan(logs[:, 0, 1]), times[:, 1] < 0)


def test_rows_of_a_ratio_series_keep_their_top_traders() -> None:
    values = np.arange(1.0, 9.0).reshape(4, 2)
    times = np.arange(1, 5) * HOUR_MS
    plain = Series(symbols=("A", "B"), available_ms=times, values=values, period_ms=HOUR_MS)
    both = RatioSeries(
        symbols=("A", "B"),
        available_ms=times,
        values=values,
        top_traders=-values,
        period_ms=HOUR_MS,
    )
    part = both.between(HOUR_MS, 3 * HOUR_MS)
    np.testing.assert_array_equal(part.values, values[1:3])
    np.testing.assert_array_equal(get_top_ratios(part), -values[1:3])
    assert np.isnan(get_top_ratios(plain.between(0, 9 * HOUR_MS))).all()
    assert get_top_ratios(plain).shape == values.shape
