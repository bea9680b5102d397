"""Rankings of recorded data in blocks equal those of shards that take bar by bar."""

from __future__ import annotations

from itertools import pairwise

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.regime import RegimeIndicator
from kamou.core.indicators.regime_terms import RegimeTerms
from kamou.core.market.bars import Bars, RatioSeries, Series, resample
from kamou.core.market.flow import FlowWindows
from kamou.core.market.market_rows import find_market_rows
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import PanelBlock
from kamou.core.ranking import recorded_scores
from kamou.core.ranking.ranking import Ranking, merge_shards
from kamou.core.ranking.recorded_scores import RecordedScores, ScoringTimes
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import BlockStrategy, StrategyScores
from kamou.core.strategies.mean_reversion import MeanReversion
from tests.core.market.rough_markets import PERIOD_MS, RoughMarket, draw_market
from tests.core.strategies.test_scores_in_blocks import BARS, EAGER, make_strategy

DELAY_MS = 2_000
TOP = 3
STRATEGIES = {name: make_strategy(name) for name in EAGER}


@attrs.frozen(kw_only=True, eq=False)
class Recorded:
    """A rough market as recorded data; its bars may be made coarser."""

    data: Bars
    interest: Series
    funding: Series
    flow: FlowWindows
    ratios: RatioSeries
    premium: Series

    @classmethod
    def of(cls, market: RoughMarket) -> Recorded:
        symbols = tuple(market.symbols)
        return cls(
            data=Bars(
                symbols=symbols,
                period_ms=PERIOD_MS,
                # recorded bars are evenly spaced
                open_ms=np.arange(len(market.open_ms), dtype=np.int64) * PERIOD_MS,
                open=market.open,
                high=market.high,
                low=market.low,
                close=market.close,
                volume=market.volume,
            ),
            interest=Series(
                symbols=symbols,
                available_ms=market.interest_ms,
                values=market.interest,
                period_ms=PERIOD_MS,
            ),
            funding=Series(
                symbols=symbols,
                available_ms=market.funding_ms,
                values=market.funding,
                period_ms=PERIOD_MS,
            ),
            flow=FlowWindows(symbols=symbols, end_ms=market.flow_ms, values=market.flow),
            ratios=RatioSeries(
                symbols=symbols,
                available_ms=market.ratios_ms,
                values=market.ratios,
                top_traders=market.top_ratios,
                period_ms=PERIOD_MS,
            ),
            premium=Series(
                symbols=symbols,
                available_ms=market.premium_ms,
                values=market.premium,
                period_ms=PERIOD_MS,
            ),
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.data.symbols

    @property
    def first_ms(self) -> int:
        return int(self.data.open_ms[0])

    def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        opened = self.data.open_ms
        known = (opened >= since_ms) & (opened + PERIOD_MS <= until_ms)
        names = ("open_ms", "open", "high", "low", "close", "volume")
        columns = {name: getattr(self.data, name)[known] for name in names}
        return resample(attrs.evolve(self.data, **columns), period_ms)

    def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return self.interest.between(since_ms, until_ms)

    def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        return self.funding.between(since_ms, until_ms)

    def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        ended = (since_ms < self.flow.end_ms) & (self.flow.end_ms <= until_ms)
        return attrs.evolve(
            self.flow, end_ms=self.flow.end_ms[ended], values=self.flow.values[ended]
        )

    def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        return self.ratios.between(since_ms, until_ms)

    def premium_index(self, since_ms: int, until_ms: int) -> Series:
        return self.premium.between(since_ms, until_ms)


@attrs.frozen(kw_only=True, eq=False)
class Answer:
    shard: int
    bar_closed_at_ms: int
    close: Floats
    columns: tuple[StrategyScores, ...]
    regimes: Floats


def scan_shards(recorded: Recorded, times: ScoringTimes, edges: list[int]) -> dict[int, Ranking]:
    """Return the rankings by close time, from panels that take one bar at a time."""
    parts = [slice(a, b) for a, b in pairwise(edges)]
    panels = [
        make_panel(STRATEGIES.values(), recorded.symbols[part], times.period_ms, regime(times))
        for part in parts
    ]
    start_ms = times.start_ms // times.period_ms * times.period_ms
    since_ms = start_ms - panels[0].history_ms
    until_ms = int(recorded.data.open_ms[-1]) + PERIOD_MS
    bars, seen_ms, found = recorded.bars(times.period_ms, since_ms, until_ms), since_ms, {}
    whole = find_market_rows(bars.symbols, bars.open, bars.close)
    for t, open_ms in enumerate(bars.open_ms.tolist()):
        close_ms = open_ms + times.period_ms
        new = recorded.open_interest(seen_ms, close_ms)
        funding = recorded.funding_rates(seen_ms, close_ms)
        flow = recorded.flow_windows(seen_ms, close_ms)
        ratios = recorded.ratios.between(seen_ms, close_ms)
        premium = recorded.premium_index(seen_ms, close_ms)
        seen_ms = close_ms
        for panel, part in zip(panels, parts, strict=True):
            feed_interest(panel, new, part)
            for settled_ms, rates in zip(funding.available_ms, funding.values, strict=True):
                panel.append_funding(int(settled_ms), rates[part])
            panel.append_flow(flow.end_ms, flow.values[..., part])
            feed_ratios(panel, ratios, part)
            feed_premium(panel, premium, part)
            panel.give_market(bars.open_ms[[t]], whole[[t]])
            panel.append(
                open_ms,
                *(c[t, part] for c in (bars.open, bars.high, bars.low, bars.close, bars.volume)),
            )
        if close_ms >= start_ms:
            found[close_ms] = merge(panels, times)
    return found


def feed_interest(panel: Panel, new: Series, part: slice) -> None:
    before = -1
    for at_ms, values in zip(new.available_ms.tolist(), new.values, strict=True):
        if at_ms > before:  # of two observations at one instant, a scanner takes the first
            panel.append_interest(at_ms, values[part])
        before = at_ms


def regime(times: ScoringTimes) -> RegimeIndicator:
    terms = RegimeTerms(adx_period=3, efficiency_period=3, days_max=5, days_min=2, confirm_bars=2)
    return RegimeIndicator(terms=terms, period_ms=times.period_ms)


def feed_ratios(panel: Panel, new: RatioSeries, part: slice) -> None:
    before = -1
    for row, at_ms in enumerate(new.available_ms.tolist()):
        if at_ms > before:  # as of open interest
            panel.append_ratios(at_ms, new.values[row, part], new.top_traders[row, part])
        before = at_ms


def feed_premium(panel: Panel, new: Series, part: slice) -> None:
    before = -1
    for at_ms, values in zip(new.available_ms.tolist(), new.values, strict=True):
        if at_ms > before:  # as of open interest
            panel.append_premium(at_ms, values[part])
        before = at_ms


def merge(panels: list[Panel], times: ScoringTimes) -> Ranking:
    answers = [
        Answer(
            shard=at,
            bar_closed_at_ms=panel.close_ms,
            close=panel.row("close").copy(),
            columns=tuple(
                s.evaluate(panel, panel.close_ms + DELAY_MS) for s in STRATEGIES.values()
            ),
            regimes=panel.indicator(regime(times)),
        )
        for at, panel in enumerate(panels)
    ]
    return merge_shards(
        answers,
        universe=[panel.symbols for panel in panels],
        strategies=STRATEGIES,
        period_ms=times.period_ms,
        top=TOP,
    )


def same(one: Ranking, other: Ranking) -> None:
    assert one == other
    assert one.names == other.names
    for left, right in zip(one.scored, other.scored, strict=True):
        assert np.array_equal(left.score, right.score, equal_nan=True)
        assert np.array_equal(left.abstain, right.abstain)
        assert np.array_equal(left.features()[1], right.features()[1], equal_nan=True)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    symbols=st.integers(1, 7),
    bars_of=st.sampled_from([1, 1, 2]),
    start=st.integers(0, 140 * 4),
    block=st.integers(1, 100),
    cuts=st.lists(st.integers(1, 6), max_size=2, unique=True),
)
def test_rankings_of_blocks_equal_those_of_any_shards_that_take_bar_by_bar(
    seed: int, symbols: int, bars_of: int, start: int, block: int, cuts: list[int]
) -> None:
    recorded = Recorded.of(draw_market(seed, BARS, symbols))
    times = ScoringTimes(
        start_ms=start * PERIOD_MS // 4, period_ms=bars_of * PERIOD_MS, delay_ms=DELAY_MS
    )
    edges = [0, *sorted(cut for cut in cuts if cut < symbols), symbols]
    expected = scan_shards(recorded, times, edges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorded_scores, "BLOCK_BARS", block)
        shards = [slice(a, b) for a, b in pairwise(edges)]
        scores = RecordedScores(
            recorded, STRATEGIES, times, shards=shards, top=TOP, regime=regime(times)
        )
        for close_ms, ranking in expected.items():
            found = scores.ranking(close_ms, close_ms + DELAY_MS)
            assert found is not None
            same(found, ranking)
        newest_ms = int(recorded.data.open_ms[-1]) + 9 * PERIOD_MS
        assert scores.ranking(newest_ms, newest_ms + DELAY_MS) is None


def start_scores(strategy: BlockStrategy) -> tuple[RecordedScores, Ints]:
    recorded = Recorded.of(draw_market(3, BARS, 4))
    times = ScoringTimes(start_ms=0, period_ms=PERIOD_MS, delay_ms=DELAY_MS)
    closes = recorded.data.open_ms + PERIOD_MS
    scores = RecordedScores(
        recorded, {strategy.name: strategy}, times, shards=[slice(0, 4)], top=TOP
    )
    return scores, closes


def test_a_bar_that_is_evaluated_late_or_again_after_its_block_has_no_recorded_ranking() -> None:
    scores, closes = start_scores(STRATEGIES["mean_reversion"])
    first, other, later = int(closes[0]), int(closes[1]), int(closes[100])
    assert scores.ranking(first, first + DELAY_MS + 1) is None
    assert scores.ranking(other, other + DELAY_MS) is not None
    assert scores.ranking(first, first + DELAY_MS) is not None, (
        "no ranking, although its block is in memory"
    )
    assert scores.ranking(first + 1, first + 1 + DELAY_MS) is None
    assert scores.ranking(later, later + DELAY_MS) is not None
    assert scores.ranking(first, first + DELAY_MS) is None, (
        "a ranking, although a later block has replaced its own"
    )


class Raising(MeanReversion):
    def evaluate_block(self, block: PanelBlock, now_ms: Ints) -> StrategyScores:
        raise ZeroDivisionError("a defect")


def test_after_a_strategy_raises_no_bar_of_its_block_has_a_recorded_ranking() -> None:
    scores, closes = start_scores(Raising())
    first, other = closes[:2].tolist()
    with pytest.raises(ZeroDivisionError):
        scores.ranking(first, first + DELAY_MS)
    for close_ms in (first, other):
        assert scores.ranking(close_ms, close_ms + DELAY_MS) is None
