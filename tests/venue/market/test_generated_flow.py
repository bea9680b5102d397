"""The generator's series of order flow agrees with its quotes and trades, and has no edge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.indicators.order_flow import LEVELS, SPREAD, BookLevels
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.venue.market.generated_day import first_state, run_day
from kamou.venue.market.generated_flow import FlowSettings
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.market.tape import (
    HIGHER,
    QUOTE_MS,
    QUOTES_PER_WINDOW,
    market_trades,
    window_quotes,
)
from tests.core.market.single_rows import SingleRows

ORIGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
WINDOWS_PER_DAY = DAY_MS // FLOW_WINDOW_MS


def market(foresight: float = 0.0, **options: Any) -> GeneratedMarket:
    given_ = {"seed": 5, "origin_ms": ORIGIN_MS, "symbols": 12} | options
    made = GeneratedMarket(**given_)
    made.flow_settings = FlowSettings(foresight=foresight)
    return made


MARKET = market()


def window_ms(window: int) -> tuple[int, int]:
    start_ms = ORIGIN_MS + window * FLOW_WINDOW_MS
    return start_ms, start_ms + FLOW_WINDOW_MS


def gather(source: GeneratedMarket, symbols: tuple[str, ...], first: int, last: int) -> FlowWindows:
    """Return the windows ``first <= w < last`` as gathered from the walked stream."""
    gatherer = SingleRows(symbols)
    found = []
    for window in range(first - 1, last):  # the one before says which quote stands at the start
        start_ms, end_ms = window_ms(window)
        for column, symbol in enumerate(symbols):
            book = window_quotes(source, symbol, window).book
            for at in range(QUOTES_PER_WINDOW):
                row = slice(at, at + 1)
                quote = BookLevels(
                    bid=book.bid[row],
                    bid_qty=book.bid_qty[row],
                    ask=book.ask[row],
                    ask_qty=book.ask_qty[row],
                )
                gatherer.take_quote(column, quote)
            trades = market_trades(source, symbol, start_ms, end_ms)
            for quantity, bought in zip(trades.quantity, trades.bought, strict=True):
                gatherer.take_trade(column, float(quantity), bought=bool(bought))
        found.append(gatherer.close(end_ms))
    return FlowWindows(
        symbols=symbols,
        end_ms=np.concatenate([each.end_ms for each in found[1:]]),
        values=np.concatenate([each.values for each in found[1:]]),
    )


@pytest.mark.parametrize("step_ms", [60_000, 300_000, 3_600_000])
def test_gathered_quotes_and_trades_of_a_stretch_are_the_series_of_order_flow(step_ms: int) -> None:
    source, first = market(step_ms=step_ms), WINDOWS_PER_DAY - 4  # over midnight
    chosen = ("BTCUSDT", "SYN007USDT", "SYN012USDT")
    gathered = gather(source, chosen, first, first + 8)
    series = source.flow_windows(window_ms(first)[0], window_ms(first + 7)[1])
    columns = [source.symbols.index(each) for each in chosen]
    np.testing.assert_array_equal(gathered.end_ms, series.end_ms)
    np.testing.assert_allclose(gathered.ofi, series.ofi[..., columns], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        gathered.trade_imbalance, series.trade_imbalance[:, columns], rtol=1e-9, atol=1e-12
    )
    # The spread is constant in ticks; in bps it follows the price within the window.
    np.testing.assert_allclose(gathered.spread_bps, series.spread_bps[:, columns], rtol=0.01)


@settings(max_examples=25)
@given(window=st.integers(0, 2 * WINDOWS_PER_DAY), column=st.integers(0, 11))
def test_quotes_are_on_the_tick_around_the_price_with_five_levels_a_tick_apart(
    window: int, column: int
) -> None:
    quotes = window_quotes(MARKET, MARKET.symbols[column], window)
    book, tick = quotes.book, float(MARKET.instruments[column].tick)
    start_ms, end_ms = window_ms(window)
    assert quotes.at_ms.tolist() == list(range(start_ms + QUOTE_MS, end_ms + 1, QUOTE_MS))
    for prices in (book.bid, book.ask):
        assert prices.shape == (QUOTES_PER_WINDOW, LEVELS)
        np.testing.assert_allclose(prices / tick, np.rint(prices / tick), atol=1e-4)
    np.testing.assert_allclose(np.diff(book.bid, axis=1) / tick, -1, atol=1e-4)
    np.testing.assert_allclose(np.diff(book.ask, axis=1) / tick, 1, atol=1e-4)
    assert (book.ask[:, 0] - book.bid[:, 0] >= 0.99 * tick).all()
    assert (book.bid_qty > 0).all()
    assert (book.ask_qty > 0).all()
    mid = np.array([MARKET.prices(at_ms)[column] for at_ms in quotes.at_ms.tolist()])
    moving = np.ones(QUOTES_PER_WINDOW, dtype=bool)
    moving[HIGHER - 1 : HIGHER + 3] = False  # prices stand still, but for one higher quote
    assert (book.bid[moving, 0] <= mid[moving] + 1e-9 * mid[moving]).all()
    assert (book.ask[moving, 0] >= mid[moving] - 1e-9 * mid[moving]).all()


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    since=st.integers(-FLOW_WINDOW_MS, 2 * DAY_MS),
    length=st.integers(0, 8 * FLOW_WINDOW_MS),
)
def test_a_series_has_the_windows_that_ended_in_the_interval_whatever_was_read_before(
    seed: int, since: int, length: int
) -> None:
    source = market(seed=seed, symbols=3)
    since_ms, until_ms = ORIGIN_MS + since, ORIGIN_MS + since + length
    read = source.flow_windows(since_ms, until_ms)
    ends = [
        ORIGIN_MS + n * FLOW_WINDOW_MS
        for n in range(1, 600)
        if since_ms < ORIGIN_MS + n * FLOW_WINDOW_MS <= until_ms
    ]
    assert read.end_ms.tolist() == ends
    other = market(seed=seed, symbols=3)
    for row, end_ms in reversed(list(enumerate(ends))):
        alone = other.flow_windows(end_ms - 1, end_ms)
        np.testing.assert_array_equal(alone.values[0], read.values[row])


def next_hours(source: GeneratedMarket, days: int) -> tuple[Any, Any]:
    """Return the best level's OFI, and log returns of the hour after each window."""
    until_ms = ORIGIN_MS + days * DAY_MS
    flow = source.flow_windows(ORIGIN_MS, until_ms)
    logs = np.log(source.bars(300_000, ORIGIN_MS, until_ms).close)
    return flow.ofi[:-12, 0], logs[12:] - logs[:-12]


def test_flow_has_no_correlation_with_the_next_hour_unless_foresight_is_set() -> None:
    days = 12
    for foresight, expected in ((0.0, 0.0), (0.4, 0.4)):
        source = market(foresight=foresight)
        ofi, returns = next_hours(source, days)
        scaled = np.clip(returns / returns.std(axis=0), -4, 4)
        # Overlapping hours: about one independent value in 12.
        error = 1 / math.sqrt(ofi.size / 12)
        assert np.corrcoef(ofi.ravel(), scaled.ravel())[0, 1] == pytest.approx(
            expected, abs=4 * error
        )


@pytest.mark.parametrize("step_ms", [60_000, 300_000, 3_600_000])
def test_flow_with_full_foresight_is_the_return_of_the_next_hour_until_midnight(
    step_ms: int,
) -> None:
    source = market(foresight=1.0, step_ms=step_ms)
    bars, start = DAY_MS // step_ms, first_state(source.universe)
    _, moves = run_day(source.universe, source.paths, source.seed, 0, bars, start)
    ofi = source.flow_windows(ORIGIN_MS, ORIGIN_MS + DAY_MS).ofi[:, 0]
    for window in range(WINDOWS_PER_DAY):
        end_ms = (window + 1) * FLOW_WINDOW_MS
        opens = [row for row in range(bars) if end_ms <= row * step_ms < end_ms + HOUR_MS]
        if not opens:
            assert (ofi[window] == 0).all()
            continue
        returns = moves.log_close[opens[-1]] - moves.log_close[opens[0] - 1]
        variance = moves.variance[opens[0] * step_ms // HOUR_MS] * len(opens)
        np.testing.assert_allclose(ofi[window], 3 * returns / np.sqrt(variance), rtol=1e-9)


def test_flow_with_foresight_changes_no_price_and_no_other_series() -> None:
    planted, until_ms = market(foresight=0.5), ORIGIN_MS + 2 * DAY_MS
    planted.flow_windows(ORIGIN_MS, until_ms)
    for read in ("funding_rates", "open_interest", "long_short_ratios"):
        one, other = (getattr(each, read)(ORIGIN_MS, until_ms) for each in (planted, MARKET))
        np.testing.assert_array_equal(one.values, other.values)
    bars = [each.bars(300_000, ORIGIN_MS, until_ms) for each in (planted, MARKET)]
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(bars[0], name), getattr(bars[1], name))


def test_the_spread_of_a_window_is_a_whole_number_of_ticks_at_its_first_price() -> None:
    source, until_ms = MARKET, ORIGIN_MS + 3 * DAY_MS
    flow = source.flow_windows(ORIGIN_MS, until_ms)
    for row in range(0, len(flow.end_ms), 37):
        price = source.prices(int(flow.end_ms[row]) - FLOW_WINDOW_MS)
        ticks = flow.values[row, SPREAD] / 1e4 * price * source.universe.scale
        np.testing.assert_allclose(ticks, np.rint(ticks), atol=1e-6)
        assert (ticks > 0.99).all()
    median = np.median(flow.spread_bps, axis=0)
    ticks_bps = 1e4 / source.universe.scale / source.prices(ORIGIN_MS)
    np.testing.assert_allclose(
        median, 2 * source.half_spread_bps(ORIGIN_MS), atol=1.5 * ticks_bps.max(), rtol=0.2
    )
