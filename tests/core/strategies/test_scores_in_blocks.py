"""Scores of a block of bars equal those of single bars and depend on no later bar."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.strategies import discover_strategies, make_panel, make_strategies
from kamou.core.strategies.base import BlockStrategy, StrategyScores
from kamou.core.strategies.funding_fade import FundingFadeParameters
from kamou.core.strategies.macro import MacroParameters
from kamou.core.strategies.mean_reversion import MeanReversionParameters
from kamou.core.strategies.oi_momentum import MomentumParameters
from kamou.core.strategies.order_flow import OrderFlowParameters
from kamou.core.strategies.ratio_fade import RatioFadeParameters
from tests.core.market.rough_markets import (
    PERIOD_MS,
    RoughMarket,
    draw_market,
    feed_bars,
    feed_blocks,
)

BARS = 150
DELAY_MS = 2_000
COLUMNS = ("score", "raw", "weight", "stop_distance", "target_distance", "abstain", "proxy")
# Short windows and wide limits, so that a market of a few days has scores of every kind.
EAGER = {
    "mean_reversion": MeanReversionParameters(
        window=20,
        warmup=25,
        z_entry=0.3,
        rsi_low=40,
        rsi_high=60,
        half_life_min=0.1,
        efficiency_max=1,
        adx_max=90,
        atr_period=5,
    ),
    "oi_momentum": MomentumParameters(
        horizons_days=(1, 2), warmup_days=3, efficiency_min=0.1, adx_min=5, oi_changes_min=3
    ),
    "funding_fade": FundingFadeParameters(
        settlements=6, apr_min_pct=5, extreme_bars=5, efficiency_max=0.4, atr_period=5
    ),
    "order_flow": OrderFlowParameters(
        windows=24, missing_max=4, levels=2, z_min=0.5, spread_ratio_max=1.5, atr_period=5
    ),
    "macro": MacroParameters(window_days=2, half_life_days=1, horizon_hours=5, z_entry=0.3),
    "ratio_fade": RatioFadeParameters(
        window_days=2, warmup_hours=20, z_entry=0.5, extreme_bars=5, efficiency_max=0.6
    ),
}
NAMES = tuple(
    name
    for name, made in make_strategies(discover_strategies(), {}).items()
    if isinstance(made, BlockStrategy)
)


def make_strategy(name: str) -> BlockStrategy:
    made = make_strategies([name], EAGER)[name]
    assert isinstance(made, BlockStrategy)
    return made


def score_blocks(name: str, market: RoughMarket, seed: int, bars_max: int) -> list[StrategyScores]:
    """Return the scores of each bar, from blocks of random sizes."""
    strategy, chance = make_strategy(name), np.random.default_rng(seed)
    panel = make_panel([strategy], market.symbols, PERIOD_MS)
    found = []
    for rows, block in feed_blocks(panel, market, chance, bars_max):
        scores = strategy.evaluate_block(block, block.close_ms[:, np.newaxis] + DELAY_MS)
        found += [scores.at_bar(b) for b in range(rows.stop - rows.start)]
    return found


def score_bars(name: str, market: RoughMarket) -> list[StrategyScores]:
    strategy = make_strategy(name)
    panel = make_panel([strategy], market.symbols, PERIOD_MS)
    return [strategy.evaluate(panel, panel.close_ms + DELAY_MS) for _ in feed_bars(panel, market)]


def same(one: StrategyScores, other: StrategyScores) -> None:
    for column in (*COLUMNS, "features"):
        left, right = getattr(one, column), getattr(other, column)
        assert np.array_equal(left, right, equal_nan=True), (column, left, right)
        assert left.dtype == right.dtype
    assert one.feature_names == other.feature_names


def test_every_strategy_of_kamou_scores_blocks() -> None:
    assert set(NAMES) >= {
        "mean_reversion",
        "oi_momentum",
        "funding_fade",
        "order_flow",
        "ratio_fade",
        "macro",
    }


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), symbols=st.integers(1, 6), bars_max=st.integers(1, 70))
def test_scores_of_blocks_equal_those_of_single_bars_bit_for_bit(
    name: str, seed: int, symbols: int, bars_max: int
) -> None:
    market = draw_market(seed, BARS, symbols)
    blocks, bars = score_blocks(name, market, seed, bars_max), score_bars(name, market)
    assert len(blocks) == len(bars) == BARS
    for one, other in zip(blocks, bars, strict=True):
        same(one, other)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), bars_max=st.integers(2, 70), known=st.integers(75, BARS - 1))
def test_a_score_of_a_block_depends_on_no_later_bar_and_no_later_open_interest(
    name: str, seed: int, bars_max: int, known: int
) -> None:
    market = draw_market(seed, BARS, 4)
    whole = score_blocks(name, market, seed, bars_max)
    for one, other in zip(
        score_blocks(name, market.cut(known), seed + 1, bars_max), whole[:known], strict=True
    ):
        same(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_the_drawn_markets_have_scores_and_abstentions_of_many_kinds(name: str) -> None:
    codes: set[int] = set()
    for seed in range(12):
        for scores in score_bars(name, draw_market(seed, BARS, 6)):
            codes |= set(scores.abstain.tolist())
    assert len(codes) >= 5, codes
    assert 0 in codes
