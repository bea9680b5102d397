"""A panel's premium index is the newest of each hour, and its z-score that of 8 hours."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import HOUR_MS
from kamou.core.indicators.premium import PremiumZ, split_premium
from kamou.core.market.panel import Panel
from kamou.core.market.premium import PremiumRows
from kamou.errors import InvalidDataError

SYMBOLS = 3
NEVER: np.ndarray = np.full(SYMBOLS, -1, np.int64)
Z = PremiumZ(past=3, known_min=2, deviation_min=0.00002)


def draw(seed: int) -> list[tuple[int, np.ndarray]]:
    """Return observations at random times, with unknown ones."""
    chance = np.random.default_rng(seed)
    times = np.sort(chance.integers(1, 50 * HOUR_MS, size=chance.integers(1, 120)))
    found = []
    for at_ms in times.tolist():
        premium = 0.0005 * chance.standard_t(3, size=SYMBOLS)
        bad = chance.random(SYMBOLS) < chance.choice([0.1, 0.6])
        premium[bad] = chance.choice([np.nan, np.inf, -np.inf])
        found.append((at_ms, premium))
    return found


def by_hour(observations: list[tuple[int, np.ndarray]], symbol: int) -> dict[int, float]:
    """Return the newest known premium of each hour; an hour has the number of its end."""
    return {
        math.ceil(at_ms / HOUR_MS): float(premium[symbol])
        for at_ms, premium in observations
        if math.isfinite(premium[symbol])
    }


@settings(max_examples=80)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_z_score_is_of_the_mean_of_eight_hours_against_those_before(seed: int) -> None:
    rows, observations = PremiumRows(Z.hours + 4, SYMBOLS), draw(seed)
    for at_ms, premium in observations:
        rows.append(at_ms, premium)
    now_ms = observations[-1][0]
    found = split_premium(Z.read(*rows.copy().known(NEVER, now_ms)))
    for symbol in range(SYMBOLS):
        known = by_hour(observations, symbol)
        # The rows end with the newest hour of any symbol, so they may lack the oldest hours.
        oldest = math.ceil(now_ms / HOUR_MS) - (Z.hours + 4) + 1
        known = {hour: value for hour, value in known.items() if hour >= oldest}
        if not known:
            assert math.isnan(found.z[symbol])
            assert math.isnan(found.mean[symbol])
            assert math.isnan(found.available_ms[symbol])
            continue
        newest = max(known)
        means: list[float] = []
        for back in range(Z.past + 1):
            hours = range(newest - 8 * back - 7, newest - 8 * back + 1)
            values = [known[hour] for hour in hours if hour in known]
            means.append(statistics.fmean(values) if len(values) >= 4 else math.nan)
        assert found.mean[symbol] == pytest.approx(means[0], rel=1e-9, nan_ok=True)
        past = [mean for mean in means[1:] if not math.isnan(mean)]
        assert found.periods[symbol] == len(past)
        if len(past) < 2 or math.isnan(means[0]):
            assert math.isnan(found.z[symbol])
            continue
        middle = statistics.median(past)
        spread = 1.4826 * statistics.median(abs(mean - middle) for mean in past)
        expected = (means[0] - middle) / max(spread, 0.00002)
        assert found.z[symbol] == pytest.approx(expected, rel=1e-6)


def test_a_premium_index_is_known_from_its_time_on_and_comes_in_the_order_of_time() -> None:
    rows, ones = PremiumRows(4, SYMBOLS), np.ones(SYMBOLS)
    rows.append(HOUR_MS, 0.001 * ones)
    before = rows.copy()
    rows.append(2 * HOUR_MS - 5, np.array([-0.002, np.nan, np.inf]))
    times, values = rows.copy().known(NEVER, 2 * HOUR_MS)
    assert times[-1].tolist() == [2 * HOUR_MS - 5, -1, -1]
    np.testing.assert_array_equal(values[-1, 0], [-0.002, np.nan, np.nan])
    assert (before.known(NEVER, 9 * HOUR_MS)[1][-1, 0] == 0.001).all()
    earlier, _ = rows.copy().known(NEVER, 2 * HOUR_MS - 6)
    assert earlier[-1].tolist() == [-1, -1, -1]
    with pytest.raises(InvalidDataError, match="a premium index available at 1970-01-01"):
        rows.append(HOUR_MS, ones)


def test_a_panel_without_a_strategy_that_reads_the_premium_index_keeps_none() -> None:
    panel = Panel(("A",), HOUR_MS, 4)
    panel.append_premium(HOUR_MS, np.ones(1))
    assert panel.premium_hours == 0
    assert panel.premium(HOUR_MS)[0].shape == (0, 1)
    history_ms = panel.history_ms
    panel.keep_premium(100)
    assert panel.history_ms == max(history_ms, 100 * HOUR_MS)


def test_a_gap_in_the_bars_starts_the_premium_index_of_a_symbol_again() -> None:
    panel = Panel(("A", "B"), HOUR_MS, 4)
    panel.keep_premium(8)
    good, gap = np.array([100.0, 100.0]), np.array([100.0, np.nan])
    for hour in range(6):
        close = gap if hour == 3 else good
        panel.append(hour * HOUR_MS, close, close, close, close, close)
        panel.append_premium((hour + 1) * HOUR_MS, np.full(2, 0.001))
    _, values = panel.premium(panel.close_ms)
    assert np.count_nonzero(~np.isnan(values[:, 0]), axis=0).tolist() == [6, 2]
