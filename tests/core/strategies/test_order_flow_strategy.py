"""The order flow strategy agrees with a computation per symbol, and abstains with reasons."""

from __future__ import annotations

import math
import statistics

import attrs
import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.codes import Abstain
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.indicators.order_flow import LEVELS, SPREAD, TRADE_IMBALANCE, WINDOW_FIGURES
from kamou.core.market.flow import FLOW_WINDOW_MS
from kamou.core.market.panel import Panel
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import RestingStrategy, StrategyScores
from kamou.core.strategies.conformance import SYMBOLS, MadeMarket, make_market
from kamou.core.strategies.order_flow import OrderFlow, OrderFlowParameters

PARAMETERS = OrderFlowParameters(
    windows=60, missing_max=6, z_min=1.0, spread_ratio_max=1.6, levels=2
)
BARS = 60
WARM = 29  # bars: twice the period of ATR and one more


def evaluate(
    market: MadeMarket, bars: int, parameters: OrderFlowParameters = PARAMETERS, late_ms: int = 0
) -> tuple[Panel, StrategyScores]:
    strategy = OrderFlow(parameters)
    panel = make_panel([strategy], [f"S{s}" for s in range(SYMBOLS)], HOUR_MS)
    market.feed(panel, 0, bars)
    return panel, strategy.evaluate(panel, panel.close_ms + late_ms)


def z_of(rows: list[float]) -> float:
    past = rows[-61:-1]
    middle = statistics.median(past)
    spread = 1.4826 * statistics.median(abs(x - middle) for x in past)
    return (rows[-1] - middle) / max(spread, 0.01)


def expect(market: MadeMarket, bars: int, s: int) -> tuple[Abstain, float, float]:
    """Return the code, the z-score and the ATR of 15 minutes of one symbol."""
    high, low, close = (
        np.ascontiguousarray(column[:bars, s]) for column in (market.high, market.low, market.close)
    )
    windows = market.flow[:bars, :, :, s].reshape(-1, WINDOW_FIGURES)
    atr = talib.ATR(high, low, close, timeperiod=14)[-1] / 2  # an hour is four quarters
    z = z_of([(row[0] + row[1]) / 2 for row in windows])
    spreads = windows[:, SPREAD].tolist()
    if spreads[-1] > 1.6 * statistics.median(spreads[-61:-1]):
        return Abstain.REGIME_WRONG, z, atr
    return (Abstain.NO_TRIGGER if abs(z) < 1 else Abstain.NONE), z, atr


def test_the_order_flow_agrees_with_a_computation_per_symbol() -> None:
    seen: set[Abstain] = set()
    for seed in range(3):
        market = make_market(seed, BARS)
        for bars in range(WARM, BARS + 1, 3):
            _, scores = evaluate(market, bars)
            for s in range(SYMBOLS):
                code, z, atr = expect(market, bars, s)
                seen.add(code)
                assert scores.abstain[s] == code, (bars, s)
                if code is Abstain.NONE:
                    assert scores.score[s] == pytest.approx(math.tanh(z / 2), rel=1e-9)
                    assert scores.weight[s] == 1.0
                    assert OrderFlow.proxies[scores.proxy[s]] == ""
                    assert scores.stop_distance[s] == pytest.approx(1.5 * atr, rel=1e-9)
                    assert scores.target_distance[s] == pytest.approx(3 * atr, rel=1e-9)
    assert seen == {Abstain.NONE, Abstain.NO_TRIGGER, Abstain.REGIME_WRONG}


def test_trades_replace_quotes_with_a_label_and_less_weight() -> None:
    market = make_market(7, BARS)
    market.flow[:, :, :LEVELS] = np.nan
    market.flow[:, :, SPREAD] = np.nan  # a venue with trades only
    parameters = attrs.evolve(PARAMETERS, z_min=0.0)
    _, scores = evaluate(market, BARS, parameters)
    assert not scores.abstain.any()
    assert (scores.weight == 0.7).all()
    assert {OrderFlow.proxies[proxy] for proxy in scores.proxy.tolist()} == {"tfi"}
    for s in range(SYMBOLS):
        z = z_of(market.flow[:, :, TRADE_IMBALANCE, s].reshape(-1).tolist())
        assert scores.score[s] == pytest.approx(math.tanh(z / 2), rel=1e-9)


def test_flow_that_is_missing_stale_or_too_short_is_an_abstention_with_its_reason() -> None:
    market = make_market(4, BARS)
    market.flow[:, :, :, 0] = np.nan
    market.flow[-1, -1, :, 1] = np.nan  # the newest window
    market.flow[: BARS - 5, :, :, 2] = np.nan  # 59 past windows
    market.flow[-1, -1, SPREAD, 3] = np.nan
    parameters = attrs.evolve(PARAMETERS, z_min=0.0, spread_ratio_max=100)
    _, scores = evaluate(market, BARS, parameters)
    assert scores.abstain[:5].tolist() == [
        Abstain.SOURCE_MISSING,
        Abstain.SOURCE_MISSING,
        Abstain.SOURCE_WARMING_UP,
        Abstain.SOURCE_MISSING,
        Abstain.NONE,
    ]
    market.flow[BARS - 6, -1, :, 2] = 1.0  # the 60th
    _, scores = evaluate(market, BARS, parameters)
    assert scores.abstain[2] == Abstain.NONE


def test_a_venue_without_order_flow_makes_every_symbol_abstain_as_missing() -> None:
    market, strategy = make_market(4, BARS), OrderFlow()
    panel = make_panel([strategy], [f"S{s}" for s in range(SYMBOLS)], HOUR_MS)
    for t in range(BARS):
        rows = (market.open, market.high, market.low, market.close, market.volume)
        panel.append(t * HOUR_MS, *(column[t] for column in rows))
    assert (strategy.evaluate(panel, panel.close_ms).abstain == Abstain.SOURCE_MISSING).all()


@pytest.mark.parametrize(("late_ms", "stale"), [(0, False), (600_000, False), (600_001, True)])
def test_flow_is_stale_after_two_windows(late_ms: int, stale: bool) -> None:
    _, scores = evaluate(make_market(5, BARS), BARS, late_ms=late_ms)
    assert (scores.abstain == Abstain.SOURCE_STALE).all() == stale
    assert (scores.abstain == Abstain.SOURCE_STALE).any() == stale


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), bars=st.integers(WARM, BARS))
def test_a_score_is_always_in_the_direction_of_an_unusual_imbalance(seed: int, bars: int) -> None:
    market = make_market(seed, BARS)
    _, scores = evaluate(market, bars)
    scored = scores.abstain == 0
    names = scores.feature_names
    z = scores.features[names.index("ofi_z")]
    assert (np.sign(scores.score[scored]) == np.sign(z[scored])).all()
    assert (np.abs(z[scored]) >= 1).all()
    ratio = (
        scores.features[names.index("spread_bps")]
        / scores.features[names.index("spread_median_bps")]
    )
    assert (ratio[scored] <= 1.6).all()


@pytest.mark.parametrize("period_ms", [5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS])
def test_distances_are_in_the_atr_of_a_quarter_of_an_hour(period_ms: int) -> None:
    strategy = OrderFlow()
    panel = make_panel([strategy], ["A"], period_ms)
    column = np.full((40, 1), 100.0)
    panel.extend(np.arange(40) * period_ms, column, column + 1, column - 1, column, column)
    scores = strategy.evaluate(panel, panel.close_ms)
    quarter = 2 * math.sqrt(15 * MINUTE_MS / period_ms)
    assert scores.stop_distance[0] == pytest.approx(1.5 * quarter)
    assert scores.target_distance[0] == pytest.approx(3 * quarter)


def test_the_defaults_are_those_of_the_design() -> None:
    strategy = OrderFlow()
    p = strategy.parameters
    assert (p.windows, p.spread_ratio_max, p.trade_weight) == (300, 3, 0.7)
    assert (p.stop_atr, p.target_atr, strategy.hold_ms(HOUR_MS)) == (1.5, 3, HOUR_MS)
    panel = make_panel([strategy], ["A"], HOUR_MS)
    assert panel.history_ms >= 331 * FLOW_WINDOW_MS
    assert strategy.warmup_bars(5 * MINUTE_MS) >= 301


@pytest.mark.parametrize("deadline_s", [0, 1, 120, 600])
def test_entries_rest_for_the_deadline_of_the_settings_and_take_without_one(
    deadline_s: int,
) -> None:
    made = OrderFlow(OrderFlowParameters(entry_deadline_s=deadline_s))
    assert isinstance(made, RestingStrategy)
    assert made.entry_rest_ms == deadline_s * 1_000
    assert OrderFlow().entry_rest_ms == 120_000
