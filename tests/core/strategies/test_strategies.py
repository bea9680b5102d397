"""The two strategies, compared with a computation per symbol with TA-Lib."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import talib
from pyarrow import csv, parquet

from kamou.core import strategies as package
from kamou.core.arrays import Floats
from kamou.core.codes import Abstain
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.panel import INTEREST_PERIOD_MS, Panel
from kamou.core.strategies import make_panel, make_strategies
from kamou.core.strategies.base import StrategyScores, make_failed_scores
from kamou.core.strategies.mean_reversion import MeanReversion, MeanReversionParameters
from kamou.core.strategies.oi_momentum import MomentumParameters, OiMomentum
from kamou.errors import ConfigurationError

PERIOD = HOUR_MS
REVERSION = MeanReversionParameters(warmup=120, adx_max=30, efficiency_max=0.5)
MOMENTUM = MomentumParameters(horizons_days=(1, 2), warmup_days=4, oi_changes_min=6)


def market(bars: int, symbols: int, seed: int) -> tuple[Floats, ...]:
    """Return open, high, low, close and volume; every second symbol reverts to 100."""
    chance = np.random.default_rng(seed)
    noise = chance.standard_t(4, size=(bars, symbols)) * 0.004
    logs = np.cumsum(noise, axis=0)
    level = np.zeros(symbols)
    for t in range(bars):
        level = 0.88 * level + noise[t]
        logs[t, ::2] = level[::2]
    close = 100 * np.exp(logs)
    open_ = np.vstack([close[:1], close[:-1]])
    wick = 1 + np.abs(chance.normal(size=(2, bars, symbols))) * 0.002
    high, low = np.maximum(open_, close) * wick[0], np.minimum(open_, close) / wick[1]
    return open_, high, low, close, np.ones((bars, symbols))


def talib_at(columns: tuple[Floats, ...], s: int) -> dict[str, float]:
    """Return the indicators of one symbol at the newest bar by TA-Lib."""
    _, high, low, close, _ = (np.ascontiguousarray(c[:, s]) for c in columns)
    path = np.abs(np.diff(close[-11:])).sum()
    return {
        "atr": talib.ATR(high, low, close, timeperiod=14)[-1],
        "adx": talib.ADX(high, low, close, timeperiod=14)[-1],
        "rsi": talib.RSI(close, timeperiod=2)[-1],
        "efficiency": abs(close[-1] - close[-11]) / path,
        "mean": talib.SMA(close, timeperiod=100)[-1],
        "deviation": close[-100:].std(ddof=1),
    }


def reversion_expected(columns: tuple[Floats, ...], s: int) -> tuple[Abstain, float]:
    """Return the expected code and z of mean reversion for symbol ``s``."""
    p, of = REVERSION, talib_at(columns, s)
    close = columns[3][:, s]
    z = (close[-1] - of["mean"]) / of["deviation"]
    if of["efficiency"] >= p.efficiency_max or of["adx"] >= p.adx_max:
        return Abstain.REGIME_WRONG, z
    short = z >= p.z_entry and of["rsi"] >= p.rsi_high
    long = z <= -p.z_entry and of["rsi"] <= p.rsi_low
    if not (short or long):
        return Abstain.NO_TRIGGER, z
    logs = np.log(close[-101:])
    b = np.polyfit(logs[:-1], np.diff(logs), 1)[0]
    life = -np.log(2) / np.log1p(b) if -1 < b < 0 else np.nan
    drift, q, n = (logs[-1] - logs[0]) / 100, 5, 100
    single = ((np.diff(logs) - drift) ** 2).sum() / (n - 1)
    many = ((logs[q:] - logs[:-q] - q * drift) ** 2).sum() / (q * (n - q + 1) * (1 - q / n))
    if many / single < 1 and p.half_life_min <= life <= 100 / 3:
        return Abstain.NONE, z
    return Abstain.NOT_MEAN_REVERTING, z


def test_mean_reversion_agrees_with_a_computation_per_symbol_with_talib() -> None:
    columns = market(600, 12, 1)
    strategy = MeanReversion(REVERSION)
    panel = make_panel([strategy], [f"S{s}" for s in range(12)], PERIOD)
    seen: set[Abstain] = set()
    for t in range(600):
        panel.append(t * PERIOD, *(c[t] for c in columns))
        if t < 150:
            continue
        scores = strategy.evaluate(panel, panel.close_ms)
        past = tuple(c[: t + 1] for c in columns)
        for s in range(0, 12, 3 if t % 10 else 1):
            code, z = reversion_expected(past, s)
            seen.add(code)
            assert scores.abstain[s] == code
            if code is Abstain.NONE:
                of = talib_at(past, s)
                assert scores.score[s] == pytest.approx(-np.tanh(z / 2), rel=1e-9)
                assert scores.stop_distance[s] == pytest.approx(1.5 * of["atr"], rel=1e-9)
                distance = abs(past[3][-1, s] - of["mean"])
                assert scores.target_distance[s] == pytest.approx(distance, rel=1e-9)
    assert seen == {
        Abstain.NONE,
        Abstain.REGIME_WRONG,
        Abstain.NO_TRIGGER,
        Abstain.NOT_MEAN_REVERTING,
    }


def momentum_panel(columns: tuple[Floats, ...], strategy: OiMomentum) -> Panel:
    bars, symbols = columns[3].shape
    panel = make_panel([strategy], [f"S{s}" for s in range(symbols)], PERIOD)
    panel.extend(np.arange(bars) * PERIOD, *columns)
    return panel


def test_momentum_is_the_mean_volatility_scaled_return_without_the_last_bar() -> None:
    columns = market(300, 12, 2)
    scores = OiMomentum(MOMENTUM).evaluate(
        momentum_panel(columns, OiMomentum(MOMENTUM)), 300 * PERIOD
    )
    logs = np.log(columns[3])
    returns = np.diff(logs, axis=0)[-49:-1]  # 48 returns: the longest horizon, last bar skipped
    volatility = np.sqrt((returns**2).mean(axis=0))
    day = (logs[-2] - logs[-26]) / (volatility * np.sqrt(24))
    two = (logs[-2] - logs[-50]) / (volatility * np.sqrt(48))
    np.testing.assert_allclose(scores.raw, (day + two) / 2, rtol=1e-9)
    for s in range(12):
        of = talib_at(columns, s)
        trending = of["efficiency"] > 0.35 and of["adx"] > 25
        assert scores.abstain[s] == (Abstain.NONE if trending else Abstain.REGIME_WRONG)
        assert scores.stop_distance[s] == pytest.approx(2 * of["atr"], rel=1e-9)
        assert scores.target_distance[s] == pytest.approx(4.6 * of["atr"], rel=1e-9)


def open_interest_told(last_change: float, rows: int = 24) -> StrategyScores:
    """Return momentum scores of two symbols, of which the first has open interest.

    Args:
        last_change: newest daily change of its logarithm.
        rows: number of observations, 4 h apart.
    """
    columns = market(300, 2, 3)
    strategy = OiMomentum(MOMENTUM)
    panel = momentum_panel(columns, strategy)
    chance = np.random.default_rng(4)
    logs = np.cumsum(chance.normal(0, 0.01, size=rows))
    logs[-1] = logs[-7] + last_change
    for k, value in enumerate(logs):
        at_ms = panel.close_ms - (rows - 1 - k) * INTEREST_PERIOD_MS
        panel.append_interest(at_ms, np.array([np.exp(value), np.nan]))
    return strategy.evaluate(panel, panel.close_ms)


def test_rising_open_interest_gives_full_weight_and_falling_does_not() -> None:
    rising, falling = open_interest_told(0.2), open_interest_told(-0.2)
    assert (rising.weight[0], falling.weight[0]) == (1.0, 0.3)
    assert rising.proxy[0] == falling.proxy[0] == 0


def test_missing_or_short_open_interest_gives_the_proxy_no_oi() -> None:
    missing = open_interest_told(0.2)
    assert (missing.weight[1], missing.proxy[1]) == (0.3, 1)
    assert OiMomentum.proxies[1] == "no_oi"
    short = open_interest_told(0.2, rows=8)
    assert (short.weight[0], short.proxy[0]) == (0.3, 1)


def test_stale_open_interest_under_fresh_bars_gives_a_weight_of_0_3() -> None:
    columns = market(300, 1, 3)
    strategy = OiMomentum(MOMENTUM)
    panel = momentum_panel(columns, strategy)
    for k in range(24):
        at_ms = panel.close_ms - (24 - k) * INTEREST_PERIOD_MS - 5 * HOUR_MS
        panel.append_interest(at_ms, np.array([np.exp(0.01 * k**2)]))
    assert strategy.evaluate(panel, panel.close_ms - HOUR_MS).weight[0] == 1.0
    assert strategy.evaluate(panel, panel.close_ms).weight[0] == 0.3


def test_the_warm_up_lookback_and_time_limit_of_a_strategy_follow_from_the_bar_period() -> None:
    strategy = OiMomentum()
    assert strategy.warmup_bars(900_000) == 2880
    assert strategy.warmup_bars(HOUR_MS) == 720
    assert strategy.lookback_bars(900_000) == 674
    assert strategy.hold_ms(900_000) == 3 * DAY_MS
    assert MeanReversion().hold_ms(900_000) == DAY_MS


def test_the_history_of_a_panel_covers_the_warm_up_of_its_strategies() -> None:
    strategies = make_strategies(["mean_reversion", "oi_momentum"], {})
    panel = make_panel(strategies.values(), ["a"], 900_000)
    assert panel.window == 674  # the longest lookback
    assert panel.history_ms == (2880 + 500) * 900_000  # the longest warm-up and 500 bars
    momentum = strategies["oi_momentum"]
    assert make_panel([momentum], ["a"], DAY_MS).history_ms == (30 + 500) * DAY_MS
    assert momentum.open_interest_span_ms == 32 * DAY_MS


def test_a_panel_loaded_with_its_history_gives_the_features_of_one_that_took_all_bars() -> None:
    columns = market(1200, 6, 8)
    strategy = MeanReversion(REVERSION)
    kept = make_panel([strategy], list("abcdef"), PERIOD)
    kept.extend(np.arange(1200) * PERIOD, *columns)
    loaded = make_panel([strategy], list("abcdef"), PERIOD)
    first = 1200 - loaded.history_ms // PERIOD
    assert first > 500
    loaded.extend(np.arange(first, 1200) * PERIOD, *(c[first:] for c in columns))
    one, other = (strategy.evaluate(p, p.close_ms) for p in (kept, loaded))
    np.testing.assert_allclose(one.features, other.features, rtol=1e-12)
    np.testing.assert_array_equal(one.abstain, other.abstain)


def test_an_unknown_strategy_fails_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=", ".join(sorted(package.discover_strategies()))):
        make_strategies(["astrology"], {})


def test_a_strategy_is_made_with_the_parameters_of_its_name_or_with_defaults() -> None:
    made = make_strategies(["oi_momentum", "mean_reversion"], {"oi_momentum": MOMENTUM})
    assert list(made) == ["oi_momentum", "mean_reversion"]
    assert made["oi_momentum"].warmup_bars(HOUR_MS) == 96
    assert made["mean_reversion"].warmup_bars(HOUR_MS) == 200


def test_a_strategy_file_without_a_strategy_fails_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = types.ModuleType("kamou.core.strategies.mean_reversion")
    monkeypatch.setitem(sys.modules, "kamou.core.strategies.mean_reversion", empty)
    with pytest.raises(ConfigurationError, match=r"mean_reversion\.py cannot be loaded"):
        package.discover_strategies()


def test_a_failed_strategy_abstains_from_every_symbol() -> None:
    scores = make_failed_scores("mean_reversion", 3)
    assert (scores.abstain == Abstain.STRATEGY_FAILED).all()
    assert scores.features.shape == (0, 3)


def test_a_panel_for_no_strategy_still_takes_bars() -> None:
    panel = make_panel([], ["a"], PERIOD)
    one = np.ones(1)
    assert panel.append(0, one, one, one, one, one).all()


@pytest.mark.real
def test_both_strategies_give_signals_on_recorded_hours_with_and_without_open_interest() -> None:
    shared = os.environ.get("KAMOU_SHARED")
    if not shared:
        pytest.skip("KAMOU_SHARED is not set; set it to the directory of the shared data")
    folder = Path(shared) / "data" / "um_1h_wide"
    table = parquet.read_table(folder / "candles_1h.parquet")
    symbols, column = np.unique(np.asarray(table["symbol"]).astype(str), return_inverse=True)
    times, row = np.unique(table["ts"].to_numpy(), return_inverse=True)
    columns = np.full((5, len(times), len(symbols)), np.nan)
    for values, name in zip(columns, ("open", "high", "low", "close", "volume"), strict=True):
        values[row, column] = table[name].to_numpy()
    open_interest = csv.read_csv(folder / "open_interest_4h.csv.gz")
    known = np.isin(np.asarray(open_interest["symbol"]).astype(str), symbols)
    at, when = np.unique(open_interest["ts"].to_numpy()[known], return_inverse=True)
    observed = np.full((len(at), len(symbols)), np.nan)
    where = np.searchsorted(symbols, np.asarray(open_interest["symbol"]).astype(str)[known])
    observed[when, where] = open_interest["sum_open_interest"].to_numpy()[known]
    made = make_strategies(["mean_reversion", "oi_momentum"], {})
    panel = make_panel(made.values(), symbols.tolist(), PERIOD)
    signals = dict.fromkeys(("mean_reversion", "oi_momentum", "confirmed", "no_oi"), 0)
    next_row = 0
    for t, open_ms in enumerate(times.tolist()):
        assert panel.append(open_ms, *columns[:, t]).all()
        while next_row < len(at) and at[next_row] <= panel.close_ms:
            panel.append_interest(int(at[next_row]), observed[next_row])
            next_row += 1
        for name, strategy in made.items():
            scores = strategy.evaluate(panel, panel.close_ms)
            scored = scores.abstain == 0
            signals[name] += int(scored.sum())
            if name == "oi_momentum":
                signals["confirmed"] += int((scored & (scores.weight == 1)).sum())
                signals["no_oi"] += int((scored & (scores.proxy == 1)).sum())
    assert min(signals.values()) > 500, signals
