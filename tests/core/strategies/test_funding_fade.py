"""The funding fade agrees with a computation per symbol, and abstains without funding."""

from __future__ import annotations

import math
import statistics

import attrs
import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats
from kamou.core.codes import Abstain
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.market.panel import Panel
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import StrategyScores
from kamou.core.strategies.conformance import SYMBOLS, MadeMarket, make_market
from kamou.core.strategies.funding_fade import FundingFade, FundingFadeParameters

PARAMETERS = FundingFadeParameters(settlements=12, apr_min_pct=20)
WARM = 15 * 8  # bars: 12 settlements and 3 more, 8 h each
BARS = 260


def evaluate(market: MadeMarket, bars: int) -> tuple[Panel, StrategyScores]:
    strategy = FundingFade(PARAMETERS)
    panel = make_panel([strategy], [f"S{s}" for s in range(SYMBOLS)], HOUR_MS)
    market.feed(panel, 0, bars)
    return panel, strategy.evaluate(panel, panel.close_ms)


def z_score(figures: list[float], floor: float) -> float:
    """Return the robust z-score of the last figure against those before it."""
    *past, newest = figures
    middle = statistics.median(past)
    spread = 1.4826 * statistics.median(abs(each - middle) for each in past)
    return (newest - middle) / max(spread, floor)


def expect(market: MadeMarket, bars: int, s: int) -> tuple[Abstain, float, float]:
    """Return the code, the z-score and the ATR of one symbol with funding every 8 h.

    The z-score is that of the premium index of 8 h where the market has one.
    """
    high, low, close = (
        np.ascontiguousarray(column[:bars, s]) for column in (market.high, market.low, market.close)
    )
    settled = market.funding[7:bars:8, s]
    premium = market.premium[bars - 13 * 8 : bars, s].tolist()
    if math.isnan(premium[-1]):
        z = z_score(settled[-13:].tolist(), 0.00002)
    else:
        means = [statistics.fmean(premium[at : at + 8]) for at in range(0, 13 * 8, 8)]
        z = z_score(means, 0.00002)
    atr = talib.ATR(high, low, close, timeperiod=14)[-1]
    apr = settled[-1] / 8 * 8760
    if abs(apr) <= 0.2 or z * apr <= 0:
        return Abstain.NO_TRIGGER, z, atr
    efficiency = abs(close[-1] - close[-11]) / np.abs(np.diff(close[-11:])).sum()
    if talib.ADX(high, low, close, timeperiod=14)[-1] > 25 and efficiency > 0.35:
        return Abstain.REGIME_WRONG, z, atr
    new_extreme = high[-1] > high[-25:-1].max() if apr > 0 else low[-1] < low[-25:-1].min()
    interest = market.open_interest[3:bars:4, s]
    if new_extreme and interest[-1] >= interest[-7]:
        return Abstain.NOT_CONFIRMED, z, atr
    return Abstain.NONE, z, atr


def test_the_funding_fade_agrees_with_a_computation_per_symbol() -> None:
    seen: set[Abstain] = set()
    proxies: set[str] = set()
    for seed in range(3):
        market = make_market(seed, BARS)
        for bars in range(WARM, BARS + 1, 5):
            _, scores = evaluate(market, bars)
            for s in range(SYMBOLS):
                code, z, atr = expect(market, bars, s)
                seen.add(code)
                assert scores.abstain[s] == code, (bars, s)
                if code is Abstain.NONE:
                    assert scores.score[s] == pytest.approx(-math.tanh(z / 2), rel=1e-9)
                    listed = not math.isnan(market.premium[bars - 1, s])
                    assert scores.weight[s] == (1 if listed else 0.7)
                    proxy = FundingFade.proxies[scores.proxy[s]]
                    assert proxy == ("" if listed else "rate")
                    proxies.add(proxy)
                    assert scores.stop_distance[s] == pytest.approx(2 * atr, rel=1e-9)
                    assert scores.target_distance[s] == pytest.approx(3.5 * atr, rel=1e-9)
    assert seen == {
        Abstain.NONE,
        Abstain.NO_TRIGGER,
        Abstain.REGIME_WRONG,
        Abstain.NOT_CONFIRMED,
    }
    assert proxies == {"", "rate"}


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), bars=st.integers(WARM, BARS))
def test_a_score_is_always_against_the_side_that_pays_more_than_the_minimum(
    seed: int, bars: int
) -> None:
    market = make_market(seed, BARS)
    _, scores = evaluate(market, bars)
    paid = market.funding[7:bars:8][-1]
    scored = scores.abstain == 0
    assert (np.sign(scores.score[scored]) == -np.sign(paid[scored])).all()
    assert (np.abs(paid[scored]) * 1095 > 0.2).all()


def test_funding_that_is_missing_stale_or_too_short_is_an_abstention_with_its_reason() -> None:
    market = make_market(4, BARS)
    market.funding[:, 0] = np.nan
    market.funding[200:, 1] = np.nan
    market.funding[:200, 2] = np.nan
    market.funding[231, 3] = np.nan  # a hole, and the newest settlement follows it
    _, scores = evaluate(market, 240)
    assert scores.abstain[:4].tolist() == [
        Abstain.SOURCE_MISSING,
        Abstain.SOURCE_STALE,
        Abstain.SOURCE_WARMING_UP,
        Abstain.SOURCE_MISSING,  # its interval is unknown
    ]


def test_funding_is_stale_after_two_of_its_own_intervals() -> None:
    strategy = FundingFade(attrs.evolve(PARAMETERS, settlements=6))
    market = make_market(5, BARS)
    panel = make_panel([strategy], [f"S{s}" for s in range(SYMBOLS)], HOUR_MS)
    for t in range(BARS):
        rows = (market.open, market.high, market.low, market.close, market.volume)
        panel.append(t * HOUR_MS, *(column[t] for column in rows))
        settles = np.where(np.arange(SYMBOLS) % 2 == 0, t % 4 == 3, t % 8 == 7)
        if t < BARS - 12 and settles.any():
            panel.append_funding((t + 1) * HOUR_MS, np.where(settles, market.funding[t], np.nan))
    settled_ms = panel.funding(panel.close_ms)[0][-1]
    for at_h in range(-1, 2):
        now_ms = panel.close_ms + at_h * HOUR_MS
        stale = strategy.evaluate(panel, now_ms).abstain == Abstain.SOURCE_STALE
        limit = np.where(np.arange(SYMBOLS) % 2 == 0, 8, 16) * HOUR_MS
        np.testing.assert_array_equal(stale, now_ms - settled_ms > limit)


def test_a_rate_inside_its_clamp_gives_no_signal_whatever_the_minimum() -> None:
    market = make_market(6, BARS)
    market.premium[:] = np.nan
    market.funding[:] = 0.00005
    market.funding[231:] = 0.0001  # 0.01 % per 8 h, z-score 2.5
    strategy = FundingFade(attrs.evolve(PARAMETERS, apr_min_pct=0))
    panel = make_panel([strategy], [f"S{s}" for s in range(SYMBOLS)], HOUR_MS)
    market.feed(panel, 0, 240)
    scores = strategy.evaluate(panel, panel.close_ms)
    assert (figure(scores, "funding_z") > 2).all()
    assert (scores.abstain == Abstain.NO_TRIGGER).all()


def test_inside_the_clamp_the_premium_index_has_a_z_score_where_the_rate_has_none() -> None:
    market = make_market(6, BARS)
    market.funding[:] = 0.0001  # pinned: 0.01 % per 8 h, 11 % per year
    chance = np.random.default_rng(6)
    market.premium[:] = chance.normal(0, 0.00005, size=market.premium.shape)
    market.premium[232:] = 0.0003
    strategy = FundingFade(attrs.evolve(PARAMETERS, apr_min_pct=10))
    panel = make_panel([strategy], [f"S{s}" for s in range(SYMBOLS)], HOUR_MS)
    market.feed(panel, 0, 240)
    scores = strategy.evaluate(panel, panel.close_ms)
    assert (figure(scores, "funding_z") == 0).all()
    assert (figure(scores, "premium_z") > 2).all()
    assert figure(scores, "premium_bps") == pytest.approx(3.0)
    scored = scores.abstain == Abstain.NONE
    assert scored.any()
    assert (scores.score[scored] < -0.7).all()
    strict = FundingFade(PARAMETERS).evaluate(panel, panel.close_ms)
    assert (strict.abstain == Abstain.NO_TRIGGER).all(), "11 % per year is below 20 %"


def test_the_deviation_of_the_premium_index_is_at_least_a_fifth_of_a_basis_point() -> None:
    market = make_market(6, BARS)
    market.funding[:] = 0.0003  # 33 % per year
    market.premium[:232] = 0.0002
    market.premium[232:] = 0.00023
    _, scores = evaluate(market, 240)
    assert figure(scores, "premium_z") == pytest.approx(0.3 / 0.2)


def test_a_premium_index_that_is_stale_or_short_is_an_abstention_and_none_is_a_proxy() -> None:
    market = make_market(4, BARS)
    market.premium[:, :5] = market.premium[:, [3]]  # symbol 3 has one
    market.premium[238:, 0] = np.nan  # the newest is 2 h old
    market.premium[237:, 1] = np.nan
    market.premium[:141, 2] = np.nan  # of the 12 periods before, the oldest has 3 h
    market.premium[:, 4] = np.nan
    _, scores = evaluate(market, 240)
    ages = figure(scores, "premium_age_h")
    assert ages[:4].tolist() == [2, 3, 0, 0]
    assert scores.abstain[0] not in (Abstain.SOURCE_STALE, Abstain.SOURCE_WARMING_UP)
    assert scores.abstain[1] == Abstain.SOURCE_STALE
    assert scores.abstain[2] == Abstain.SOURCE_WARMING_UP
    assert figure(scores, "premium_periods")[2] < 12
    assert [FundingFade.proxies[each] for each in scores.proxy[:5]] == ["", "", "", "", "rate"]
    assert math.isnan(ages[4])


def figure(scores: StrategyScores, name: str) -> Floats:
    found: Floats = scores.features[scores.feature_names.index(name)]
    return found


@pytest.mark.parametrize("period_ms", [15 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS])
def test_distances_are_in_the_atr_of_an_hour(period_ms: int) -> None:
    strategy = FundingFade(PARAMETERS)
    panel = make_panel([strategy], ["A"], period_ms)
    bars = max(WARM * HOUR_MS // period_ms, 30)
    column = np.full((bars, 1), 100.0)
    panel.extend(np.arange(bars) * period_ms, column, column + 1, column - 1, column, column)
    scores = strategy.evaluate(panel, panel.close_ms)
    hourly = 2 * math.sqrt(HOUR_MS / period_ms)
    assert scores.stop_distance[0] == pytest.approx(2 * hourly)
    assert scores.target_distance[0] == pytest.approx(3.5 * hourly)


def test_the_defaults_are_those_of_the_design() -> None:
    strategy = FundingFade()
    p = strategy.parameters
    assert (p.settlements, p.apr_min_pct, p.deviation_min_bps) == (60, 20, 0.2)
    assert (p.stop_atr, p.target_atr, p.no_premium_weight) == (2, 3.5, 0.7)
    assert strategy.warmup_bars(HOUR_MS) == 63 * 8
    panel = make_panel([strategy], ["A"], HOUR_MS)
    assert panel.history_ms >= (63 * 8 + 16) * HOUR_MS
