"""The macro strategy agrees with weighted regressions per symbol that share nothing with it."""

from __future__ import annotations

import json
import math
import os
import statistics
from pathlib import Path

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats
from kamou.core.codes import Abstain
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.indicators.macro_beta import (
    BITCOIN_MOVE,
    ETHER_MOVE,
    MARKET_FIGURES,
    MEAN_MOVE,
    MacroBeta,
)
from kamou.core.market.market_rows import find_market_rows
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import StrategyScores
from kamou.core.strategies.conformance import SYMBOLS, MadeMarket, make_market
from kamou.core.strategies.macro import Macro, MacroParameters

PARAMETERS = MacroParameters(window_days=4, half_life_days=1, horizon_hours=6, z_entry=1)
ROWS = 4 * 24 - 1
BARS = 140
NAMES = [f"S{s}" for s in range(SYMBOLS)]


def evaluate(market: MadeMarket, bars: int) -> StrategyScores:
    panel = make_panel([Macro(PARAMETERS)], NAMES, HOUR_MS)
    market.feed(panel, 0, bars)
    return Macro(PARAMETERS).evaluate(panel, panel.close_ms)


def limit(values: Floats, weights: Floats) -> Floats:
    most = 4 * math.sqrt(math.pi / 2) * np.average(np.abs(values), weights=weights)
    return np.array([max(-most, min(most, value)) for value in values])


def regress(x: Floats, other: Floats, y: Floats, weights: Floats) -> tuple[float, float, float]:
    """Return the slope on x alone, that on the other given x, and the weighted mean of squares."""
    root = np.sqrt(weights)
    alone = np.linalg.lstsq(root[:, None] * np.c_[np.ones_like(x), x], root * y, rcond=None)[0]
    table = np.c_[np.ones_like(x), x, other]
    both = np.linalg.lstsq(root[:, None] * table, root * y, rcond=None)[0]
    return alone[1], both[2], float(np.average((y - table @ both) ** 2, weights=weights))


def find_z(series: Floats, horizon: int) -> float:
    moves = [sum(series[end - horizon : end]) for end in range(horizon, len(series) + 1)]
    middle = statistics.median(moves[:-1])
    spread = 1.4826 * statistics.median(abs(move - middle) for move in moves[:-1])
    return (moves[-1] - middle) / max(spread, 1e-6)


def expect(market: MadeMarket, bars: int, s: int) -> tuple[float, float, float, tuple[float, ...]]:
    """Return the expected move, the two betas and the three z-scores of one symbol."""
    weights = np.array([0.5 ** (age / 24) for age in range(ROWS)][::-1])
    rows = slice(bars - ROWS, bars)
    moves = np.log(market.close[rows, :2] / market.open[rows, :2])
    bitcoin, ether, mean = (limit(x, weights) for x in (*moves.T, moves.mean(axis=1)))
    returns = limit(np.diff(np.log(market.close[bars - ROWS - 1 : bars, s])), weights)
    on_bitcoin, on_ether, rest = regress(bitcoin, ether, returns, weights)
    target_bitcoin, target_ether, _ = regress(bitcoin, ether, mean, weights)
    root = np.sqrt(weights)
    line = np.linalg.lstsq(root[:, None] * np.c_[np.ones(ROWS), bitcoin], root * ether, rcond=None)[
        0
    ]
    ether_spread = np.average((ether - line[0] - line[1] * bitcoin) ** 2, weights=weights)
    bitcoin_spread = np.cov(bitcoin, aweights=weights, ddof=0)
    effective = weights.sum() ** 2 / (weights**2).sum()
    betas = []
    for slope, target, spread in (
        (on_bitcoin, target_bitcoin, bitcoin_spread),
        (on_ether, target_ether, ether_spread),
    ):
        error = rest / effective / spread
        share = 0.25 / (0.25 + error)
        betas.append(share * slope + (1 - share) * target)
    breadth = np.sign(moves).mean(axis=1)
    z = tuple(find_z(x, 6) for x in (bitcoin, ether - line[1] * bitcoin, breadth))
    return betas[0] * (z[0] + z[2]) / 2 + betas[1] * z[1], betas[0], betas[1], z


def test_the_macro_strategy_agrees_with_a_computation_per_symbol() -> None:
    seen: set[Abstain] = set()
    for seed in range(6):
        market = make_market(seed, BARS)
        market.close[110, 5] *= 1.5  # one bad print
        market.high[110, 5] *= 1.5
        for bars in range(96, BARS + 1, 11):
            scores = evaluate(market, bars)
            for s in range(0, SYMBOLS, 3 if seed else 1):
                expected, on_bitcoin, on_ether, z = expect(market, bars, s)
                found = scores.features[:6, s]
                np.testing.assert_allclose(
                    found, (expected, on_bitcoin, on_ether, *z), rtol=1e-7, atol=1e-9
                )
                code = Abstain.NONE
                if abs(expected) < 1:
                    code = Abstain.NO_TRIGGER
                elif z[0] * z[2] <= 0:
                    code = Abstain.REGIME_WRONG
                seen.add(code)
                assert scores.abstain[s] == code, (bars, s)
                if code is Abstain.NONE:
                    high, low, close = (
                        np.ascontiguousarray(column[:bars, s])
                        for column in (market.high, market.low, market.close)
                    )
                    atr = talib.ATR(high, low, close, timeperiod=14)[-1]
                    assert scores.score[s] == pytest.approx(math.tanh(expected / 2), rel=1e-7)
                    assert scores.stop_distance[s] == pytest.approx(2 * atr, rel=1e-9)
                    assert scores.target_distance[s] == pytest.approx(4 * atr, rel=1e-9)
    assert seen == {Abstain.NONE, Abstain.NO_TRIGGER, Abstain.REGIME_WRONG}


SPEC = MacroBeta(half_life=24, limit=1e6, beta_deviation=1e6, horizon=6)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), symbols=st.integers(1, 9))
def test_without_a_limit_the_mean_of_the_betas_is_the_beta_of_the_mean_return(
    seed: int, symbols: int
) -> None:
    chance = np.random.default_rng(seed)
    market = chance.normal(size=(60, MARKET_FIGURES)) * 0.01
    returns = chance.normal(size=(60, symbols)) * 0.01 + chance.normal(size=symbols) * market[:, :1]
    market[:, MEAN_MOVE] = returns.mean(axis=1)
    read = SPEC.read(returns, market)
    whole = SPEC.read(market[:, [MEAN_MOVE]], market)
    for betas, mean in (
        (read.beta_bitcoin, whole.beta_bitcoin),
        (read.beta_ether, whole.beta_ether),
    ):
        assert betas.mean() == pytest.approx(mean[0], rel=1e-6, abs=1e-9)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_less_betas_are_assumed_to_differ_the_nearer_they_are_to_the_mean(seed: int) -> None:
    chance = np.random.default_rng(seed)
    market = chance.normal(size=(80, MARKET_FIGURES)) * 0.01
    returns = chance.normal(size=(80, 5)) * 0.01
    distance = np.full(5, np.inf)
    for deviation in (1e6, 1.0, 0.3, 0.1, 1e-9):
        spec = MacroBeta(half_life=24, limit=1e6, beta_deviation=deviation, horizon=6)
        target = spec.read(market[:, [MEAN_MOVE]], market).beta_bitcoin
        nearer = np.abs(spec.read(returns, market).beta_bitcoin - target)
        assert (nearer <= distance).all()
        distance = nearer
    assert (distance < 1e-6).all()


def test_one_bad_print_moves_a_beta_by_less_than_without_the_limit() -> None:
    chance = np.random.default_rng(1)
    market = chance.normal(size=(700, MARKET_FIGURES)) * 0.01
    returns = 1.2 * market[:, [BITCOIN_MOVE]] + 0.002 * chance.normal(size=(700, 1))
    bad = returns.copy()
    bad[650] = 5.0
    market[650, BITCOIN_MOVE] = 0.01
    moved = []
    for size in (4.0, 1e6):
        spec = MacroBeta(half_life=240, limit=size, beta_deviation=0.5, horizon=24)
        clean, spoiled = spec.read(returns, market), spec.read(bad, market)
        moved.append(abs(float((spoiled.beta_bitcoin - clean.beta_bitcoin)[0])))
    assert moved[0] < 0.1 < 0.5 < moved[1]


def test_rows_without_bitcoin_or_ether_have_no_weight_and_few_rows_are_an_abstention() -> None:
    market = make_market(2, BARS)
    for hole, missing in ((slice(100, 120), False), (slice(60, 120), True)):
        spoiled = market.copy()
        spoiled.market[hole, ETHER_MOVE] = np.nan
        scores = evaluate(spoiled, 130)
        assert (scores.abstain == Abstain.SOURCE_MISSING).all() == missing
        assert (scores.abstain == Abstain.SOURCE_MISSING).any() == missing
        assert np.isnan(scores.features[0]).all() == missing
    no_bitcoin = market.copy()
    no_bitcoin.market[:] = find_market_rows(["ETH", "SOL"], market.open[:, :2], market.close[:, :2])
    assert (evaluate(no_bitcoin, 130).abstain == Abstain.SOURCE_MISSING).all()
    still = market.copy()
    still.market[:, ETHER_MOVE] = still.market[:, BITCOIN_MOVE]
    assert (evaluate(still, 130).abstain == Abstain.SOURCE_MISSING).all()


@pytest.mark.parametrize("period_ms", [15 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS])
def test_returns_are_hourly_or_of_longer_bars(period_ms: int) -> None:
    strategy = Macro()
    per_hour = max(1, HOUR_MS // period_ms)
    assert strategy.warmup_bars(period_ms) == 30 * 24 * HOUR_MS // period_ms
    lookback = strategy.lookback_bars(period_ms)
    assert (lookback - 1) % per_hour == 0
    assert strategy.warmup_bars(period_ms) - per_hour <= lookback - 1 + per_hour
    assert lookback <= strategy.warmup_bars(period_ms)


def test_quarters_of_an_hour_give_the_betas_of_their_hours() -> None:
    chance = np.random.default_rng(5)
    strategy = Macro(MacroParameters(window_days=3, horizon_hours=5))
    bars = 3 * 96
    logs = np.cumsum(chance.normal(size=(bars, 4)) * 0.003, axis=0) + 5
    close, open_ = np.exp(logs), np.exp(np.vstack([logs[:1], logs[:-1]]))
    panel = make_panel([strategy], ["BTC", "ETH", "X", "Y"], 15 * MINUTE_MS)
    times = np.arange(bars, dtype=np.int64) * 15 * MINUTE_MS
    panel.give_market(times, find_market_rows(panel.symbols, open_, close))
    panel.extend(times, open_, np.maximum(open_, close), np.minimum(open_, close), close, close)
    found = strategy.evaluate(panel, panel.close_ms).features
    hourly = np.diff(logs[::-4][::-1], axis=0)
    figures = find_market_rows(panel.symbols, open_, close)[1:]
    figures = figures[len(figures) % 4 :].reshape(-1, 4, MARKET_FIGURES).sum(axis=1)
    spec = MacroBeta(half_life=240, limit=4, beta_deviation=0.5, horizon=5)
    read = spec.read(hourly, figures[-len(hourly) :])
    np.testing.assert_allclose(found[1], read.beta_bitcoin, rtol=1e-9)
    np.testing.assert_allclose(found[3], read.bitcoin_z, rtol=1e-9)


@pytest.mark.real
def test_a_beta_without_weights_and_shrinkage_is_that_of_the_reference_vectors() -> None:
    shared = os.environ.get("KAMOU_SHARED")
    if not shared:
        pytest.skip("KAMOU_SHARED is not set; set it to the directory of the shared data")
    vectors = json.loads((Path(shared) / "vectors" / "quant.json").read_text())
    bars = {name: np.log(vectors["bars"][name])[-31:] for name in ("close", "btc_close")}
    market = np.random.default_rng(1).normal(size=(30, MARKET_FIGURES))
    market[:, BITCOIN_MOVE] = np.diff(bars["btc_close"])
    spec = MacroBeta(half_life=1e12, limit=1e6, beta_deviation=1e9, horizon=6)
    read = spec.read(np.diff(bars["close"])[:, np.newaxis], market)
    expected = vectors["indicators"]["beta30_logret_vs_btc"]
    np.testing.assert_allclose(read.beta_bitcoin, expected, rtol=1e-9)


def test_the_defaults_are_those_of_the_design() -> None:
    p = Macro().parameters
    assert (p.window_days, p.half_life_days, p.stop_atr, p.target_atr) == (30, 10, 2, 4)
    assert MacroParameters(window_days=3, horizon_hours=24).contradictions()
    assert not MacroParameters(window_days=4, horizon_hours=24).contradictions()
