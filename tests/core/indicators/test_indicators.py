"""Indicators compared with TA-Lib and with definitions, and states with batches."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats
from kamou.core.indicators.adx import Adx, AdxState, directional
from kamou.core.indicators.atr import Atr, atr
from kamou.core.indicators.base import Indicator
from kamou.core.indicators.beta import beta, slope
from kamou.core.indicators.efficiency import efficiency_ratio
from kamou.core.indicators.ema import Ema, ema
from kamou.core.indicators.half_life import half_life, reversion_speed
from kamou.core.indicators.open_interest import InterestChange, spacing_ms
from kamou.core.indicators.robust_zscore import median_known, robust_z
from kamou.core.indicators.rsi import Rsi, rsi
from kamou.core.indicators.variance_ratio import variance_ratio
from kamou.core.indicators.vwap import vwap
from kamou.core.indicators.window import mean_and_deviation, sma, stddev, zscore
from kamou.core.market.panel import Panel

MINUTE = 60_000


def market(bars: int, symbols: int, seed: int) -> tuple[Floats, ...]:
    """Return open, high, low, close and volume of random walks, ``[bars, symbols]``."""
    chance = np.random.default_rng(seed)
    moves = chance.standard_t(4, size=(bars, symbols)) * 0.005
    close = np.round(100 * np.exp(np.cumsum(moves, axis=0)), 2)
    open_ = np.vstack([np.full(symbols, 100.0), close[:-1]])
    wick = np.abs(chance.normal(size=(2, bars, symbols))) * 0.3
    high = np.round(np.maximum(open_, close) + wick[0], 2)
    low = np.round(np.minimum(open_, close) - wick[1], 2)
    return open_, high, low, close, chance.uniform(1, 100, size=(bars, symbols))


def per_symbol(function, *columns: Floats, **options: int) -> Floats:  # type: ignore[no-untyped-def]  # TA-Lib has no types
    """Return a TA-Lib function's values for every column."""
    width = columns[0].shape[1]
    return np.stack(
        [
            function(*(np.ascontiguousarray(c[:, s]) for c in columns), **options)
            for s in range(width)
        ],
        axis=1,
    )


def agree(computed: Floats, reference: Floats, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(computed, reference, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_batch_indicators_agree_with_talib_on_every_bar(seed: int) -> None:
    _, high, low, close, _ = market(150, 4, seed)
    agree(sma(close, 14), per_symbol(talib.SMA, close, timeperiod=14))
    agree(stddev(close, 14), per_symbol(talib.STDDEV, close, timeperiod=14), 1e-6)
    agree(ema(close, 10), per_symbol(talib.EMA, close, timeperiod=10))
    agree(atr(high, low, close, 14), per_symbol(talib.ATR, high, low, close, timeperiod=14))
    agree(rsi(close, 14), per_symbol(talib.RSI, close, timeperiod=14))
    agree(rsi(close, 2), per_symbol(talib.RSI, close, timeperiod=2))
    plus, minus, adx = directional(high, low, close, 14)
    agree(plus, per_symbol(talib.PLUS_DI, high, low, close, timeperiod=14))
    agree(minus, per_symbol(talib.MINUS_DI, high, low, close, timeperiod=14))
    agree(adx, per_symbol(talib.ADX, high, low, close, timeperiod=14))


def test_beta_agrees_with_talib_whose_second_series_is_the_asset() -> None:
    *_, close, _ = market(60, 2, 5)
    computed = beta(close[:, 0], close[:, 1], 14)
    agree(computed, talib.BETA(close[:, 0].copy(), close[:, 1].copy(), timeperiod=14), 1e-7)


@pytest.mark.parametrize(
    ("values", "first"),
    [("sma", 13), ("ema", 13), ("rsi", 14), ("atr", 14), ("di", 14), ("adx", 27), ("beta", 14)],
)
def test_an_indicator_of_14_bars_is_nan_before_its_first_valid_index_and_known_after(
    values: str, first: int
) -> None:
    _, high, low, close, _ = market(60, 2, 7)
    made = {
        "sma": sma(close, 14),
        "ema": ema(close, 14),
        "rsi": rsi(close, 14),
        "atr": atr(high, low, close, 14),
        "di": directional(high, low, close, 14)[0],
        "adx": directional(high, low, close, 14)[2],
        "beta": beta(close[:, :1], close[:, 1:], 14),
    }[values]
    assert np.isnan(made[:first]).all()
    assert np.isfinite(made[first:]).all()


@pytest.mark.parametrize("bars", [1, 2, 9])
def test_indicators_of_series_shorter_than_their_period_are_all_nan(bars: int) -> None:
    _, high, low, close, volume = market(bars, 2, 1)
    for made in (
        sma(close, 10),
        stddev(close, 10),
        zscore(close, 10),
        ema(close, 10),
        rsi(close, 10),
        atr(high, low, close, 10),
        efficiency_ratio(close, 10),
        vwap(high, low, close, volume, 10),
        beta(close[:, 0], close[:, 1], 10),
        directional(high, low, close, 10)[2],
    ):
        assert np.isnan(made).all()
        assert len(made) == bars


def incremental(spec: Indicator, *columns: Floats) -> Floats:
    """Return the state's value after every bar, ``[bars, symbols]``."""
    open_, high, low, close, volume = columns
    panel = Panel([str(s) for s in range(close.shape[1])], MINUTE, 2, [spec])
    values = []
    for t in range(len(close)):
        panel.append(t * MINUTE, open_[t], high[t], low[t], close[t], volume[t])
        values.append(panel.indicator(spec))
    return np.array(values)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), period=st.integers(2, 20))
def test_incremental_states_equal_the_batch_computation(seed: int, period: int) -> None:
    columns = market(90, 3, seed)
    _, high, low, close, _ = columns
    batch: dict[Indicator, Floats] = {
        Ema(period): ema(close, period),
        Atr(period): atr(high, low, close, period),
        Rsi(period): rsi(close, period),
        Adx(period): directional(high, low, close, period)[2],
    }
    for spec, expected in batch.items():
        np.testing.assert_allclose(
            incremental(spec, *columns), expected, rtol=1e-10, atol=1e-10, err_msg=repr(spec)
        )


def test_incremental_directional_indices_equal_the_batch_computation() -> None:
    open_, high, low, close, volume = market(40, 3, 11)
    spec = Adx(14)
    panel = Panel(["a", "b", "c"], MINUTE, 2, [spec])
    panel.extend(np.arange(40) * MINUTE, open_, high, low, close, volume)
    state = panel.state(spec)
    assert isinstance(state, AdxState)
    plus, minus, _ = directional(high, low, close, 14)
    np.testing.assert_allclose(state.indices, (plus[-1], minus[-1]), rtol=1e-10)


def test_the_adx_of_bars_without_direction_is_that_of_talib() -> None:
    open_, high, low, close, volume = market(80, 2, 13)
    for column in (open_, high, low, close):
        column[40:60] = column[40]  # twenty identical bars: no movement either way
    low[40:60] = np.minimum(open_, close)[40:60] - 1
    high[40:60] = np.maximum(open_, close)[40:60] + 1
    expected = per_symbol(talib.ADX, high, low, close, timeperiod=14)
    agree(directional(high, low, close, 14)[2], expected)
    agree(incremental(Adx(14), open_, high, low, close, volume), expected)


def test_the_adx_of_a_market_without_movement_is_0() -> None:
    flat = np.full((40, 1), 5.0)
    assert incremental(Adx(14), flat, flat, flat, flat, flat)[-1] == [0.0]


def test_rsi_of_flat_prices_is_nan() -> None:
    flat = np.full((20, 1), 5.0)
    assert np.isnan(rsi(flat, 2)).all()
    assert np.isnan(incremental(Rsi(2), flat, flat, flat, flat, flat)).all()


def test_a_missing_close_restarts_the_indicators_of_its_symbol_only() -> None:
    columns = market(80, 2, 17)
    columns[3][30, 0] = np.nan
    for spec in (Ema(10), Atr(10), Rsi(10), Adx(10)):
        gapped = incremental(spec, *columns)
        fresh = incremental(spec, *(c[31:] for c in columns))
        whole = incremental(spec, *(c[:, 1:] for c in columns))
        assert np.isnan(gapped[30, 0])
        np.testing.assert_array_equal(gapped[31:, 0], fresh[:, 0], err_msg=repr(spec))
        np.testing.assert_array_equal(gapped[:, 1], whole[:, 0], err_msg=repr(spec))


def test_window_statistics_are_exact_again_after_one_bad_price() -> None:
    chance = np.random.default_rng(3)
    values = chance.normal(100, 1, size=(300, 1))
    values[50] = 1e9
    for end in range(100, 301):  # the bad price is in the windows that end at 100 to 150
        window = values[end - 100 : end]
        mean, deviation = mean_and_deviation(window)
        assert (mean > 1e6) == (end <= 150)
        assert mean == pytest.approx(window.mean(axis=0), rel=1e-14)
        assert deviation == pytest.approx(window.std(axis=0, ddof=1), rel=1e-14)


def test_the_efficiency_ratio_is_one_on_a_straight_line_and_nan_for_flat_prices() -> None:
    line = np.arange(1.0, 30.0)
    assert efficiency_ratio(line, 10)[10:] == pytest.approx(1.0)
    assert np.isnan(efficiency_ratio(np.full(30, 2.0), 10)).all()


def test_variance_ratio_separates_trend_from_reversion() -> None:
    noise = np.random.default_rng(5).normal(size=2000)
    assert variance_ratio(np.cumsum(noise), 5) == pytest.approx(1.0, abs=0.15)
    assert variance_ratio(noise, 5) < 0.4
    persistent = np.convolve(noise, np.ones(5), mode="valid")
    assert variance_ratio(np.cumsum(persistent), 5) > 2
    assert np.isnan(variance_ratio(np.full(20, 3.0), 5))


def test_the_variance_ratio_is_the_debiased_statistic_of_lo_and_mackinlay() -> None:
    levels = np.cumsum(np.random.default_rng(6).normal(0.1, 1, size=13))
    n, q = 12, 3
    drift = (levels[n] - levels[0]) / n
    single = sum((levels[t] - levels[t - 1] - drift) ** 2 for t in range(1, n + 1)) / (n - 1)
    m = q * (n - q + 1) * (1 - q / n)
    many = sum((levels[t] - levels[t - q] - q * drift) ** 2 for t in range(q, n + 1)) / m
    assert variance_ratio(levels, q) == pytest.approx(many / single, rel=1e-12)


def test_half_life_recovers_the_speed_of_a_simulated_process() -> None:
    chance = np.random.default_rng(9)
    level = np.zeros(20_000)
    for t in range(1, len(level)):
        level[t] = 0.9 * level[t - 1] + chance.normal()
    assert half_life(level) == pytest.approx(np.log(2) / -np.log(0.9), rel=0.05)


def test_a_process_that_does_not_revert_has_no_half_life() -> None:
    growing = 1.1 ** np.arange(50.0)
    assert reversion_speed(growing) > 0
    assert np.isnan(half_life(growing))
    assert np.isnan(half_life(np.full(10, 4.0)))


def test_the_variance_ratio_and_half_life_of_several_columns_equal_those_of_each() -> None:
    *_, close, _ = market(101, 3, 21)
    logs = np.log(close)
    for function in (lambda x: variance_ratio(x, 5), half_life):
        alone = [float(function(logs[:, s])) for s in range(3)]
        np.testing.assert_allclose(function(logs), alone, rtol=1e-12)


def test_vwap_weighs_typical_prices_by_volume_and_is_nan_without_volume() -> None:
    close = np.array([1.0, 2.0, 4.0, 4.0, 4.0])
    volume = np.array([1.0, 3.0, 0.0, 0.0, 0.0])
    made = vwap(close + 1.5, close, close, volume, 2)  # typical: close + 0.5
    assert made[1:3] == pytest.approx([(1.5 + 3 * 2.5) / 4, 2.5])
    assert np.isnan(made[[0, 3, 4]]).all()


def test_an_outlier_in_the_past_hardly_changes_robust_z() -> None:
    past = np.append(np.linspace(-1, 1, 41), 1e6)[:, np.newaxis]
    z = robust_z(np.array([2.0]), past, known_min=10, deviation_min=1e-9)
    assert z == pytest.approx(2.6, abs=0.3)


@pytest.mark.parametrize("symbols", [1, 5, 140])
@pytest.mark.parametrize("decimals", [0, 1, 9])
@pytest.mark.parametrize("unknown", [0.0, 0.1, 0.9])
def test_robust_z_is_that_of_medians_by_definition(
    symbols: int, decimals: int, unknown: float
) -> None:
    chance = np.random.default_rng(symbols + decimals)
    for rows in (1, 2, 3, 8, 41):
        past = np.round(chance.standard_normal((rows, symbols)), decimals)
        past[chance.random(past.shape) < unknown] = np.nan
        value = chance.standard_normal(symbols)
        z = robust_z(value, past, known_min=1, deviation_min=1e-3)
        for column in range(symbols):
            known = [each for each in past[:, column].tolist() if each == each]
            if not known:
                assert np.isnan(z[column])
                continue
            centre = statistics.median(known)
            spread = statistics.median(abs(each - centre) for each in known)
            expected = (value[column] - centre) / max(1.4826 * spread, 1e-3)
            assert z[column] == pytest.approx(expected, rel=1e-12)


def test_robust_z_has_a_minimum_deviation_and_is_nan_without_enough_past() -> None:
    pinned = np.zeros((30, 2))
    pinned[5:, 1] = np.nan
    z = robust_z(np.array([0.01, 0.01]), pinned, known_min=10, deviation_min=0.005)
    assert z[0] == pytest.approx(2.0)
    assert np.isnan(z[1])
    assert np.isnan(robust_z(np.zeros(2), pinned[:0], known_min=0, deviation_min=1.0)).all()


@given(
    rows=st.lists(
        st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=3, max_size=3),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60)
def test_the_median_of_known_values_equals_the_nanmedian_of_numpy(
    rows: list[list[float | None]],
) -> None:
    values = np.array([[np.nan if x is None else x for x in row] for row in rows])
    median, known = median_known(values)
    for s in range(3):
        column = values[~np.isnan(values[:, s]), s]
        assert known[s] == len(column)
        if len(column):
            assert median[s] == pytest.approx(np.median(column))
        else:
            assert np.isnan(median[s])


DAY = 86_400_000
CHANGE = InterestChange(lag_ms=DAY, span_ms=30 * DAY, known_min=5, deviation_min=1e-3)


def test_the_change_of_open_interest_uses_the_row_nearest_to_a_lag_ago() -> None:
    chance = np.random.default_rng(1)
    times = np.arange(40) * (DAY // 6) + chance.integers(0, 5_000, 40)
    logs = np.cumsum(chance.normal(0, 0.01, size=(40, 2)), axis=0)
    changes = logs[6:] - logs[:-6]
    expected = robust_z(changes[-1], changes[:-1], known_min=5, deviation_min=1e-3)
    np.testing.assert_allclose(CHANGE.z(times, logs), expected, rtol=1e-12)


def test_the_change_of_open_interest_ignores_changes_older_than_its_span() -> None:
    times = np.arange(60) * DAY
    logs = np.cumsum(np.random.default_rng(2).normal(0, 0.01, size=(60, 1)), axis=0)
    changes = np.diff(logs, axis=0)
    expected = robust_z(changes[-1], changes[-31:-1], known_min=5, deviation_min=1e-3)
    np.testing.assert_allclose(CHANGE.z(times, logs), expected, rtol=1e-12)


def test_the_change_of_open_interest_is_nan_across_a_gap_and_from_one_row() -> None:
    times = np.append(np.arange(20) * DAY, 40 * DAY)
    assert np.isnan(CHANGE.z(times, np.random.default_rng(3).normal(size=(21, 1)))).all()
    assert np.isnan(CHANGE.z(times[:1], np.zeros((1, 1)))).all()
    assert np.isnan(spacing_ms(times[:1]))


def test_open_interest_sparser_than_twice_the_lag_has_no_change() -> None:
    times = np.arange(20) * 3 * DAY
    assert np.isnan(CHANGE.z(times, np.random.default_rng(3).normal(size=(20, 1)))).all()


@pytest.mark.real
def test_indicators_reproduce_the_reference_vectors() -> None:
    shared = os.environ.get("KAMOU_SHARED")
    if not shared:
        pytest.skip("KAMOU_SHARED is not set; set it to the directory of the shared data")
    vectors = json.loads((Path(shared) / "vectors" / "quant.json").read_text())
    bars = {name: np.array(values) for name, values in vectors["bars"].items()}
    high, low, close, volume = (bars[n] for n in ("high", "low", "close", "volume"))
    expected = vectors["indicators"]
    plus, minus, adx = directional(high, low, close, 14)
    made = {
        "EMA10": ema(close, 10),
        "ATR14": atr(high, low, close, 14),
        "RSI14": rsi(close, 14),
        "RSI2": rsi(close, 2),
        "ADX14": adx,
        "PLUS_DI14": plus,
        "MINUS_DI14": minus,
        "STDDEV20_ddof0": stddev(close, 20),
        "z20_ddof1": zscore(close, 20),
        "efficiency_ratio10": efficiency_ratio(close, 10),
        "vwap20_typical": vwap(high, low, close, volume, 20),
    }
    for name, values in made.items():
        agree(values, np.array(expected[name], dtype=float), 1e-7)
    returns = np.diff(np.log(np.stack((bars["btc_close"], close))))[:, -30:]
    assert slope(*returns) == pytest.approx(expected["beta30_logret_vs_btc"], rel=1e-9)
    rates = np.array(vectors["funding"]["rates_8h"])[:, np.newaxis]
    z = robust_z(rates[-1], rates[:-1], known_min=3, deviation_min=1e-12)
    prior = vectors["funding"]["robust_z_vs_prior=(x-med)/(1.4826*MAD)"]
    assert z == pytest.approx(prior, rel=1e-9)
    ou = vectors["ou"]
    levels = np.array(ou["x"])
    assert reversion_speed(levels) == pytest.approx(ou["b"], rel=1e-9)
    assert half_life(levels) == pytest.approx(ou["half_life=-ln2/ln(1+b)"], rel=1e-9)
    assert variance_ratio(levels, 5) == pytest.approx(ou["VR5_arch"], rel=1e-9)
