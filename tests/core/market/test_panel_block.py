"""A block of bars gives a panel and its indicators what single bars give, bit for bit."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats
from kamou.core.indicators.adx import Adx
from kamou.core.indicators.atr import Atr
from kamou.core.indicators.base import BarRow, BlockState, Indicator, IndicatorState
from kamou.core.indicators.efficiency import efficiency_of
from kamou.core.indicators.ema import Ema
from kamou.core.indicators.rsi import Rsi
from kamou.core.indicators.window import mean_and_deviation, sum_products
from kamou.core.market.panel import PANEL_FIELDS, Panel
from kamou.errors import InvalidDataError
from tests.core.market.rough_markets import (
    PERIOD_MS,
    RoughMarket,
    draw_market,
    feed_bars,
    feed_blocks,
)

WINDOW = 30
BARS, CUT = 80, 60


@attrs.frozen
class Highest:
    """An indicator whose state takes single bars only and changes its array in place."""

    bars: ClassVar[int] = 1

    def start(self, symbols: int) -> IndicatorState:
        return HighestState(symbols)


class HighestState:
    def __init__(self, symbols: int) -> None:
        self.value = np.full(symbols, -np.inf)

    def update(self, bar: BarRow) -> None:
        np.fmax(self.value, bar.high, out=self.value)


INDICATORS: tuple[Indicator, ...] = (Atr(5), Adx(4), Rsi(2), Ema(7), Highest())


def make_panel(market: RoughMarket) -> Panel:
    panel = Panel(market.symbols, PERIOD_MS, WINDOW, INDICATORS, open_interest_rows=5)
    panel.keep_funding(7)
    panel.keep_flow(40)
    return panel


def kernels(window: Floats) -> tuple[Floats, ...]:
    return (*mean_and_deviation(window), efficiency_of(window), sum_products(window, window))


def same(one: object, other: object) -> None:
    assert np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True), (one, other)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    symbols=st.integers(1, 5),
    bars_max=st.integers(1, 60),
)
def test_blocks_of_any_size_equal_single_bars_bit_for_bit(
    seed: int, symbols: int, bars_max: int
) -> None:
    market = draw_market(seed, BARS, symbols)
    single, chance = make_panel(market), np.random.default_rng(seed)
    steps = feed_bars(single, market)
    for rows, block in feed_blocks(make_panel(market), market, chance, bars_max):
        shown = {spec: block.indicator(spec) for spec in INDICATORS}
        for b, t in enumerate(range(rows.start, rows.stop)):
            assert next(steps) == t
            assert block.close_ms[b] == single.close_ms
            same(block.count[b], single.count)
            same(block.last_close_ms[b], single.last_close_ms)
            for spec in INDICATORS:
                same(shown[spec][b], single.indicator(spec))
            for field in PANEL_FIELDS:
                same(block.row(field, 2)[b], single.row(field, 2))
                same(block.view(field, WINDOW)[:, b], single.view(field, WINDOW))
            for one, other in zip(
                kernels(block.view("close", 20, back=3)),
                kernels(single.view("close", 20, back=3)),
                strict=True,
            ):
                same(one[b], other)
            times, logs = single.open_interest(single.close_ms)
            same(block.interest[b].times, times)
            same(block.interest[b].logs, logs)
            settled, rates = single.funding(single.close_ms)
            same(block.funding[b].times, settled)
            same(block.funding[b].rates, rates)
            ends, flow = single.flow(single.close_ms)
            ends_of_block, flow_of_block = block.flow[b].known(single.close_ms)
            same(ends_of_block, ends)
            same(flow_of_block, flow)
    assert next(steps, None) is None


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), bars_max=st.integers(1, 60))
def test_a_panel_gives_the_same_for_single_bars_after_blocks_as_for_single_bars_alone(
    seed: int, bars_max: int
) -> None:
    market = draw_market(seed, BARS, 3)
    single, mixed, chance = make_panel(market), make_panel(market), np.random.default_rng(seed)
    for _ in feed_bars(single, market.cut(CUT)):
        pass
    for rows, _ in feed_blocks(mixed, market.cut(CUT), chance, bars_max):
        assert mixed.bars == rows.stop
    for t in range(CUT, BARS):
        open_ms, *columns = market.bars(t, t + 1)
        masks = [
            panel.append(int(open_ms[0]), *(c[0] for c in columns)) for panel in (single, mixed)
        ]
        same(*masks)
        for spec in INDICATORS:
            same(mixed.indicator(spec), single.indicator(spec))
        for field in PANEL_FIELDS:
            same(mixed.view(field, WINDOW), single.view(field, WINDOW))


def test_kamous_own_indicators_take_blocks() -> None:
    assert all(isinstance(spec.start(2), BlockState) for spec in INDICATORS[:-1])
    assert not isinstance(Highest().start(2), BlockState)


def test_a_block_of_bars_with_a_gap_between_them_is_invalid() -> None:
    market = draw_market(1, 10, 2)
    times = np.arange(10, dtype=np.int64) * PERIOD_MS
    times[6:] += PERIOD_MS
    with pytest.raises(InvalidDataError, match="append them in parts"):
        make_panel(market).append_block(times, *market.bars(0, 10)[1:])
