"""Past marks of the embedded venue: the marks of its positions at that time."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import numpy as np
import pytest
import trio

from kamou.actors.midnight_reader import read_closes
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.bars import Bars, Dataset, empty_series
from kamou.data_directory.folder import MEMORY
from kamou.exchange.base import PortChecks
from kamou.exchange.embedded import SimulatedExchange
from kamou.runtime.runners import Runner, make_thread_runner, run_inline
from kamou.venue.engine import Engine
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.market.market import MarketSource
from kamou.venue.market.recorded import RecordedMarket
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore
from tests.exchange.port_fakes import Latch, LeapClock, Permits, Proofs

D = Decimal
ORIGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
STEP_MS = 300_000
BARS = 60
TIMES = (0, 1, STEP_MS - 1, STEP_MS, 7_777_777, 12_345_678, DAY_MS, DAY_MS + 3_600_001)
NAN = float("nan")

Marks = dict[str, Decimal]


def generated() -> GeneratedMarket:
    return GeneratedMarket(seed=5, origin_ms=ORIGIN_MS, symbols=6)


def recorded() -> RecordedMarket:
    """Return 60 recorded bars of 5 minutes: BBB lacks bars 20 to 29, CCC lacks bars 40 to 59."""
    draw = np.random.default_rng(8)
    close = 100.0 * np.exp(np.cumsum(draw.normal(0, 0.004, (BARS, 3)), axis=0))
    open_ = close * np.exp(draw.normal(0, 0.002, (BARS, 3)))
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    volume = np.full((BARS, 3), 1e5)
    for prices in (open_, high, low, close, volume):
        prices[20:30, 1] = prices[40:, 2] = NAN
    symbols = ("AAA", "BBB", "CCC")
    bars = Bars(
        symbols=symbols,
        period_ms=STEP_MS,
        open_ms=ORIGIN_MS + STEP_MS * np.arange(BARS, dtype=np.int64),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
    )
    return RecordedMarket(
        Dataset(
            name="made",
            bars=bars,
            funding=empty_series(symbols, 8 * HOUR_MS),
            open_interest=empty_series(symbols, HOUR_MS),
        )
    )


def port_on(source: MarketSource, runner: Runner = run_inline) -> SimulatedExchange:
    engine = Engine(
        source, VenueModels(), VenueStore(MEMORY), start_ms=ORIGIN_MS, wallet_balance=D(10_000)
    )
    return SimulatedExchange(
        engine,
        PortChecks(
            clock=LeapClock(ORIGIN_MS),
            permits=Permits(),
            halted=Latch(),
            journal_proof=Proofs().commit,
        ),
        runner=runner,
    )


async def read_twice(
    port: SimulatedExchange, times: tuple[int, ...], end_ms: int
) -> list[tuple[Marks, Marks]]:
    """Return for each time the marks quoted then, and its past marks read at ``end_ms``."""
    clock, symbols = port._clock, port.engine.source.symbols
    quoted: list[Marks] = []
    for at_ms in times:
        await clock.sleep_until(at_ms)
        quotes = await port.quotes(symbols)
        quoted.append({symbol: quote.mark for symbol, quote in quotes.items()})
    await clock.sleep_until(end_ms)
    listed = [await port.marks_at((*symbols, "NONE"), at_ms) for at_ms in times]
    return list(zip(quoted, listed, strict=True))


@pytest.mark.parametrize("threaded", [False, True], ids=["in place", "on a thread"])
def test_a_past_mark_of_a_generated_market_is_the_mark_that_was_quoted_then(
    threaded: bool,
) -> None:
    async def main() -> list[tuple[Marks, Marks]]:
        port = port_on(generated(), make_thread_runner() if threaded else run_inline)
        times = tuple(ORIGIN_MS + at for at in TIMES)
        return await read_twice(port, times, ORIGIN_MS + 6 * DAY_MS + 1)

    found = trio.run(main)
    assert all(quoted == listed for quoted, listed in found)
    assert all(len(quoted) == 6 for quoted, _ in found)


def test_a_past_mark_of_a_recorded_market_is_the_quoted_one_and_absent_without_a_bar() -> None:
    times = tuple(ORIGIN_MS + bar * STEP_MS + 1 for bar in (0, 5, 19, 20, 29, 30, 39, 40, 59))
    end_ms = ORIGIN_MS + (BARS - 1) * STEP_MS + 2
    found = trio.run(partial(read_twice, port_on(recorded()), times, end_ms))
    assert all(quoted == listed for quoted, listed in found)
    shown = ["".join(symbol[0] for symbol in sorted(listed)) for _, listed in found]
    assert shown == ["ABC", "ABC", "ABC", "AC", "AC", "ABC", "ABC", "AB", "AB"]


async def test_a_market_has_no_marks_before_it_begins_nor_of_the_future() -> None:
    port = port_on(generated())
    symbols = port.engine.source.symbols
    assert await port.marks_at(symbols, ORIGIN_MS - 1) == {}
    assert await port.marks_at(symbols, ORIGIN_MS + 1) == {}
    assert len(await port.marks_at(symbols, ORIGIN_MS)) == 6


async def test_the_past_mark_at_midnight_is_the_close_of_the_bar_that_ends_then() -> None:
    port = port_on(generated())
    await port._clock.sleep_until(ORIGIN_MS + 3 * DAY_MS)
    instruments = {each.symbol: each for each in await port.instruments()}
    symbols = tuple(instruments)
    for day in (1, 2, 3):
        for period_ms in (STEP_MS, HOUR_MS):
            at_ms = ORIGIN_MS + day * DAY_MS
            closes = await read_closes(port, period_ms, at_ms, instruments)
            assert closes == await port.marks_at(symbols, at_ms)
