"""A backtest that scores blocks of bars has the journal of one that scores bar by bar."""

from __future__ import annotations

from decimal import Decimal as D

import attrs
import numpy as np
import pytest

from kamou.core.arrays import Ints
from kamou.core.day import HOUR_MS
from kamou.core.indicators.regime_terms import RegimeTerms
from kamou.core.market.bars import Bars, Dataset, Series, empty_series
from kamou.core.market.panel_block import PanelBlock
from kamou.core.ranking.recorded_scores import RecordedScores
from kamou.core.record.backtest_document import BacktestReport
from kamou.core.risk.limits import (
    LATER_VETOES,
    VETOES_OF_BACKTESTS,
    RegimeTable,
    VetoLimits,
)
from kamou.core.strategies.base import StrategyScores
from kamou.core.strategies.mean_reversion import MeanReversion
from kamou.exchange.embedded import SimulatedExchange
from kamou.runs.backtest import BACKTEST_PARTS, ReplayParts, replay
from kamou.settings.config import Settings
from kamou.settings.strategies import StrategySettings
from kamou.venue.market.recorded import RecordedMarket
from tests.core.market.rough_markets import draw_market
from tests.core.strategies.test_scores_in_blocks import EAGER

BARS, SYMBOLS = 260, 6
SETTINGS = Settings(
    strategies=StrategySettings(enabled=tuple(EAGER), parameters=EAGER), equity=D(10_000)
)
BAR_BY_BAR = ReplayParts(adapter=SimulatedExchange)
SPAN = (100 * HOUR_MS, None)  # after the warm-up


def market() -> RecordedMarket:
    """Return a market with symbols that miss bars, start late or end early."""
    rough = draw_market(2, BARS, SYMBOLS)
    symbols = tuple(f"S{at}USDT" for at in range(SYMBOLS))
    _, *columns = rough.bars(0, BARS)
    whole = np.logical_and.reduce([np.isfinite(column) & (column >= 0) for column in columns])
    names = ("open", "high", "low", "close", "volume")
    parts = {n: np.where(whole, c, np.nan) for n, c in zip(names, columns, strict=True)}
    parts["volume"] = parts["volume"] * 1e6
    return RecordedMarket(
        Dataset(
            name="rough",
            bars=Bars(
                symbols=symbols,
                period_ms=HOUR_MS,
                open_ms=np.arange(BARS, dtype=np.int64) * HOUR_MS,
                **parts,
            ),
            funding=empty_series(symbols, 8 * HOUR_MS),
            open_interest=Series(
                symbols=symbols,
                available_ms=rough.interest_ms,
                values=rough.interest,
                period_ms=HOUR_MS,
            ),
        )
    )


def trade(parts: ReplayParts = BACKTEST_PARTS, settings: Settings = SETTINGS) -> BacktestReport:
    return replay(settings, market(), timerange=SPAN, parts=parts)


ALL_VETOES = VetoLimits(
    backtest=(*VETOES_OF_BACKTESTS, *LATER_VETOES),
    depth_min=D(0),
    regimes=RegimeTable(mean_reversion=("range", "trend-")),
)
QUICK = RegimeTerms(adx_period=3, efficiency_period=3, days_max=5, days_min=1, confirm_bars=1)


@pytest.mark.parametrize(
    ("shards", "veto", "fewest"), [(1, VetoLimits(), 6), (3, VetoLimits(), 6), (3, ALL_VETOES, 1)]
)
def test_a_backtest_in_blocks_has_the_journal_of_one_bar_by_bar(
    shards: int, veto: VetoLimits, fewest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = attrs.evolve(SETTINGS, cycle=attrs.evolve(SETTINGS.cycle, shards=shards))
    settings = attrs.evolve(settings, veto=veto, regime=QUICK)
    expected = trade(BAR_BY_BAR, settings)
    assert expected["trades"] >= fewest
    excluded = [row["count"] for row in expected["refusals"] if row["code"] == "REGIME_EXCLUDED"]
    assert bool(excluded) == (veto is ALL_VETOES)
    taken = []
    ranking = RecordedScores.ranking

    def counted(scores: RecordedScores, bar_closed_at_ms: int, now_ms: int) -> object:
        taken.append(ranking(scores, bar_closed_at_ms, now_ms))
        return taken[-1]

    monkeypatch.setattr(RecordedScores, "ranking", counted)
    assert trade(settings=settings) == expected
    assert len(taken) == expected["cycles"]
    assert None not in taken


def test_a_backtest_goes_on_bar_by_bar_after_a_block_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = attrs.evolve(SETTINGS, cycle=attrs.evolve(SETTINGS.cycle, shards=1))
    expected = trade(BAR_BY_BAR, settings)
    evaluate_block, blocks = MeanReversion.evaluate_block, []

    def raising(self: MeanReversion, block: PanelBlock, now_ms: Ints) -> StrategyScores:
        blocks.append(block)
        assert len(blocks) < 2, "a defect of the strategy"
        return evaluate_block(self, block, now_ms)

    monkeypatch.setattr(MeanReversion, "evaluate_block", raising)
    assert trade(settings=settings) == expected
    assert len(blocks) == 2
