"""A walk of the tape has each quote and trade once, whatever its steps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import DAY_MS
from kamou.core.market.flow import FLOW_WINDOW_MS
from kamou.core.market.flow_gatherer import QUOTE_COLUMNS
from kamou.core.market.flow_stream import StreamedFlow
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.market.market import WalkedSource
from kamou.venue.market.tape import QUOTES_PER_WINDOW, market_trades, window_quotes

ORIGIN_MS = 1_735_689_600_000
MARKET = GeneratedMarket(seed=5, origin_ms=ORIGIN_MS, symbols=9, step_ms=60_000)
CHOSEN = (MARKET.symbols[7], MARKET.symbols[0], MARKET.symbols[3])


def test_the_generated_market_can_be_walked() -> None:
    assert isinstance(MARKET, WalkedSource)


@settings(max_examples=25, deadline=None)
@given(
    window=st.integers(0, 600),
    steps=st.lists(st.integers(0, FLOW_WINDOW_MS), min_size=0, max_size=6),
)
def test_the_steps_of_a_walk_have_the_quotes_and_trades_of_each_symbol(
    window: int, steps: list[int]
) -> None:
    start_ms = ORIGIN_MS + window * FLOW_WINDOW_MS
    times = [start_ms, *sorted(start_ms + each for each in steps), start_ms + FLOW_WINDOW_MS]
    walk = MARKET.walk_flow(CHOSEN)
    batches = [walk.read(a, b) for a, b in pairwise(times)]
    for batch, (a, b) in zip(batches, pairwise(times), strict=True):
        assert (batch.since_ms, batch.until_ms) == (a, b)
        for at_ms in (batch.quote_ms, batch.trade_ms):
            assert ((a < at_ms) & (at_ms <= b)).all()
            assert (np.diff(at_ms) >= 0).all()
    for place, symbol in enumerate(CHOSEN):
        quotes = window_quotes(MARKET, symbol, window)
        mine = [batch.quote_columns == place for batch in batches]
        times_of = [batch.quote_ms[own] for batch, own in zip(batches, mine, strict=True)]
        assert np.concatenate(times_of).tolist() == quotes.at_ms.tolist()
        for name in QUOTE_COLUMNS:
            read = [getattr(b.book, name)[own] for b, own in zip(batches, mine, strict=True)]
            np.testing.assert_array_equal(
                np.concatenate([each for each in read if len(each)]), getattr(quotes.book, name)
            )
        trades = market_trades(MARKET, symbol, times[0], times[-1])
        traded = [batch.trade_columns == place for batch in batches]
        for name, wanted in (
            ("trade_ms", trades.at_ms),
            ("quantity", trades.quantity),
            ("bought", trades.bought),
        ):
            found = [getattr(b, name)[rows] for b, rows in zip(batches, traded, strict=True)]
            np.testing.assert_array_equal(np.concatenate(found), wanted)


def test_there_are_no_quotes_and_trades_before_the_origin() -> None:
    read = MARKET.walk_flow(CHOSEN).read(ORIGIN_MS - DAY_MS, ORIGIN_MS)
    assert len(read.quote_ms) == len(read.trade_ms) == 0
    first = MARKET.walk_flow(CHOSEN).read(ORIGIN_MS - DAY_MS, ORIGIN_MS + FLOW_WINDOW_MS)
    assert len(first.quote_ms) == QUOTES_PER_WINDOW * len(CHOSEN)


def test_a_walk_of_a_symbol_without_a_market_is_refused() -> None:
    with pytest.raises(ValueError, match="index"):
        MARKET.walk_flow(("NONEUSDT",))


@pytest.mark.parametrize("step_ms", [60_000, 300_000, 3_600_000])
def test_the_windows_of_a_walk_over_midnight_are_the_series_of_order_flow(step_ms: int) -> None:
    source = GeneratedMarket(seed=8, origin_ms=ORIGIN_MS, symbols=6, step_ms=step_ms)
    start_ms = ORIGIN_MS + DAY_MS - 4 * FLOW_WINDOW_MS
    walk, flow = source.walk_flow(source.symbols), StreamedFlow(source.symbols, start_ms)
    steps = range(start_ms, start_ms + 8 * FLOW_WINDOW_MS, 5_000)
    found = [window for at_ms in steps for window in flow.take(walk.read(at_ms, at_ms + 5_000))]
    values = np.concatenate([each.values for each in found])[1:]  # the first one was not complete
    series = source.flow_windows(start_ms + FLOW_WINDOW_MS, steps.stop)
    np.testing.assert_allclose(values[:, :-1], series.values[:, :-1], rtol=1e-9, atol=1e-12)
    # The spread is constant in ticks of the first price; in bps it follows the window's prices.
    for row, end_ms in enumerate(series.end_ms.tolist()):
        times = range(end_ms - FLOW_WINDOW_MS, end_ms + 1, 5_000)
        prices = np.stack([source.prices(at_ms) for at_ms in times])
        ratio = values[row, -1] / series.values[row, -1]
        assert (ratio > 0.999 * (prices[0] / prices).min(axis=0)).all()
        assert (ratio < 1.001 * (prices[0] / prices).max(axis=0)).all()
