"""The ratio fade agrees with a computation per symbol, and abstains without ratios."""

from __future__ import annotations

import csv
import gzip
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
from kamou.core.indicators.long_short_ratio import RatioZ, split_ratios
from kamou.core.market.panel import Panel
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import StrategyScores
from kamou.core.strategies.conformance import SYMBOLS, MadeMarket, make_market
from kamou.core.strategies.ratio_fade import RatioFade, RatioFadeParameters

PARAMETERS = RatioFadeParameters(window_days=2, warmup_hours=40, z_entry=1)
BARS = 160


def evaluate(market: MadeMarket, bars: int) -> tuple[Panel, StrategyScores]:
    strategy = RatioFade(PARAMETERS)
    panel = make_panel([strategy], [f"S{s}" for s in range(SYMBOLS)], HOUR_MS)
    market.feed(panel, 0, bars)
    return panel, strategy.evaluate(panel, panel.close_ms)


def find_z(accounts: Floats, top_traders: Floats) -> float:
    """Return the z-score of the last of hourly ratios against the 48 before it."""
    logs = [math.log(ratio) for ratio in accounts]
    if not math.isnan(top_traders[-1]):
        logs = [log - math.log(top) for log, top in zip(logs, top_traders, strict=True)]
    past = logs[-49:-1]
    middle = statistics.median(past)
    spread = 1.4826 * statistics.median(abs(each - middle) for each in past)
    return (logs[-1] - middle) / max(spread, 0.01)


def expect(market: MadeMarket, bars: int, s: int) -> tuple[Abstain, float, float]:
    """Return the code, the z-score and the ATR of one symbol."""
    high, low, close = (
        np.ascontiguousarray(column[:bars, s]) for column in (market.high, market.low, market.close)
    )
    z = find_z(market.ratios[:bars, s], market.top_ratios[:bars, s])
    atr = talib.ATR(high, low, close, timeperiod=14)[-1]
    if abs(z) < 1:
        return Abstain.NO_TRIGGER, z, atr
    efficiency = abs(close[-1] - close[-11]) / np.abs(np.diff(close[-11:])).sum()
    new_extreme = high[-1] > high[-25:-1].max() if z > 0 else low[-1] < low[-25:-1].min()
    trending = talib.ADX(high, low, close, timeperiod=14)[-1] >= 20 and new_extreme
    if efficiency >= 0.3 or trending:
        return Abstain.REGIME_WRONG, z, atr
    return Abstain.NONE, z, atr


def test_the_ratio_fade_agrees_with_a_computation_per_symbol() -> None:
    seen: set[tuple[Abstain, str]] = set()
    for seed in range(4):
        market = make_market(seed, BARS)
        for bars in range(49, BARS + 1, 7):
            _, scores = evaluate(market, bars)
            for s in range(SYMBOLS):
                code, z, atr = expect(market, bars, s)
                proxy = "no_top_traders" if math.isnan(market.top_ratios[0, s]) else ""
                seen.add((code, proxy))
                assert scores.abstain[s] == code, (bars, s)
                assert scores.features[0, s] == pytest.approx(z, rel=1e-9)
                assert RatioFade.proxies[scores.proxy[s]] == proxy
                if code is Abstain.NONE:
                    assert scores.score[s] == pytest.approx(-math.tanh(z / 2), rel=1e-9)
                    assert scores.weight[s] == 1
                    assert scores.stop_distance[s] == pytest.approx(1.5 * atr, rel=1e-9)
                    assert scores.target_distance[s] == pytest.approx(3 * atr, rel=1e-9)
    codes = (Abstain.NONE, Abstain.NO_TRIGGER, Abstain.REGIME_WRONG)
    assert seen == {(code, proxy) for code in codes for proxy in ("", "no_top_traders")}


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), bars=st.integers(60, BARS))
def test_a_score_is_always_against_the_side_with_unusually_many_accounts(
    seed: int, bars: int
) -> None:
    market = make_market(seed, BARS)
    market.top_ratios[:] = np.nan
    _, scores = evaluate(market, bars)
    crowd = market.ratios[bars - 1] / np.median(market.ratios[bars - 49 : bars - 1], axis=0)
    scored = scores.abstain == 0
    assert (np.sign(scores.score[scored]) == -np.sign(np.log(crowd[scored]))).all()


def test_a_pair_of_ratios_needs_both_and_a_symbol_without_top_traders_uses_all_accounts() -> None:
    market = make_market(3, BARS)
    market.top_ratios[100, 1] = np.nan  # the newest pair of a symbol that had top traders
    _, scores = evaluate(market, 101)
    assert RatioFade.proxies[scores.proxy[1]] == "no_top_traders"
    expected = find_z(market.ratios[:101, 1], np.full(101, np.nan))
    assert scores.features[0, 1] == pytest.approx(expected, rel=1e-9)


def test_ratios_that_are_missing_stale_or_too_few_are_an_abstention_with_its_reason() -> None:
    market = make_market(4, BARS)
    market.ratios[:, 0] = np.nan
    market.ratios[97:, 1] = np.nan  # the newest is 3 h old
    market.ratios[98:, 2] = np.nan  # the newest is 2 h old
    market.ratios[:61, 3] = np.nan  # 38 past hours
    market.ratios[:59, 4] = np.nan  # 40 past hours
    _, scores = evaluate(market, 100)
    assert scores.abstain[[0, 1, 3]].tolist() == [
        Abstain.SOURCE_MISSING,
        Abstain.SOURCE_STALE,
        Abstain.SOURCE_WARMING_UP,
    ]
    sources = {Abstain.SOURCE_MISSING, Abstain.SOURCE_STALE, Abstain.SOURCE_WARMING_UP}
    assert not sources & {Abstain(code) for code in scores.abstain[[2, 4]].tolist()}
    assert scores.features[0, 2] == pytest.approx(
        find_z(market.ratios[49:98, 2], market.top_ratios[49:98, 2])
    )


def find_shared(name: str) -> Path:
    """Return a file of the shared data; skip the test without the data."""
    shared = os.environ.get("KAMOU_SHARED")
    if not shared:
        pytest.skip("KAMOU_SHARED is not set; set it to the directory of the shared data")
    return Path(shared) / name


@pytest.mark.real
def test_the_figures_of_the_reference_vectors_are_the_logs_of_the_ratios() -> None:
    vectors = json.loads(find_shared("vectors/quant.json").read_text())["lsr"]
    panel = make_panel([RatioFade()], ["A", "B", "C"], HOUR_MS)
    bar = np.ones(3)
    panel.append(0, bar, bar, bar, bar, bar)
    panel.append_ratios(HOUR_MS, np.array(vectors["ratios"]), np.full(3, np.nan))
    read = split_ratios(RatioZ(past=3, known_min=1, deviation_min=1).read(*panel.ratios(HOUR_MS)))
    np.testing.assert_allclose(read.log_ratio, vectors["log_ratio"], rtol=1e-12)
    shares = 1 / (1 + np.exp(-read.log_ratio))
    np.testing.assert_allclose(shares, vectors["long_share=r/(1+r)"], rtol=1e-12)


@pytest.mark.real
def test_recorded_ratios_of_5_minutes_give_the_z_score_of_the_last_of_each_hour() -> None:
    path = find_shared("data/long_short_ratio_5m/long_short_oi_5m.csv.gz")
    with gzip.open(path, "rt") as lines:
        rows = list(csv.DictReader(lines))
    strategy = RatioFade(
        RatioFadeParameters(
            window_days=1,
            warmup_hours=6,
            z_entry=0,
            atr_period=2,
            efficiency_period=2,
            extreme_bars=2,
            deviation_min=0.0001,
        )
    )
    panel = make_panel([strategy], ["BTCUSDT"], 15 * MINUTE_MS)
    hours: dict[int, tuple[float, float]] = {}
    scored = 0
    for row in rows:
        at_ms, ratio, top = (
            int(row["ts"]),
            float(row["global_account_ls"]),
            float(row["top_account_ls"]),
        )
        panel.append_ratios(at_ms, np.array([ratio]), np.array([top]))
        hours[math.ceil(at_ms / HOUR_MS)] = (math.log(ratio), math.log(top))
        if at_ms % (15 * MINUTE_MS):
            continue
        price = np.array([float(row["implied_price"])])
        panel.append(at_ms - 15 * MINUTE_MS, price, price + 9, price - 9, price, price)
        scores = strategy.evaluate(panel, panel.close_ms)
        first_hour = panel.close_ms // (15 * MINUTE_MS) - int(panel.count[0])
        kept = [each for hour, each in hours.items() if hour * 4 > first_hour]
        spreads = [each - other for each, other in kept]
        if len(spreads) < 7:
            continue
        middle = statistics.median(spreads[:-1])
        spread = 1.4826 * statistics.median(abs(each - middle) for each in spreads[:-1])
        z = (spreads[-1] - middle) / max(spread, 0.0001)
        assert scores.features[0, 0] == pytest.approx(z, rel=1e-9)
        assert scores.abstain[0] in (Abstain.NONE, Abstain.REGIME_WRONG, Abstain.WARMING_UP)
        if not scores.abstain[0]:
            assert scores.score[0] == pytest.approx(-math.tanh(z / 2), rel=1e-9)
            scored += 1
    assert scored > 3


def test_the_defaults_are_those_of_the_design() -> None:
    strategy = RatioFade()
    p = strategy.parameters
    assert 14 <= p.window_days <= 30
    assert (p.stop_atr, p.target_atr) == (1.5, 3)
    assert strategy.warmup_bars(HOUR_MS) == 200
    assert strategy.warmup_bars(15 * MINUTE_MS) == 800
    panel = make_panel([strategy], ["A"], HOUR_MS)
    assert panel.history_ms >= (14 * 24 + 2) * HOUR_MS
    assert RatioFadeParameters(window_days=8).contradictions()
    assert not RatioFadeParameters(window_days=9).contradictions()
