"""An embedded venue's stream has every quote and trade from its opening, or ends."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from kamou.clock import SimulatedClock
from kamou.core.day import MINUTE_MS
from kamou.core.market.flow import FLOW_WINDOW_MS
from kamou.core.market.flow_stream import FlowUpdates
from kamou.exchange.flow_streams import BATCHES_WAITING_MAX, FLOW_STEP_MS, FlowStreams
from kamou.runtime.runners import make_thread_runner, run_inline
from kamou.venue.market import tape, tape_walk
from kamou.venue.market.generator import GeneratedMarket
from tests.venue.memory_market import FLAT, MemoryMarket

ORIGIN_MS = 1_735_689_600_000
START_MS = ORIGIN_MS + 7 * MINUTE_MS + 1_234


def market() -> GeneratedMarket:
    return GeneratedMarket(seed=4, origin_ms=ORIGIN_MS, symbols=5, step_ms=60_000)


def received(stream: trio.MemoryReceiveChannel[FlowUpdates]) -> tuple[list[FlowUpdates], bool]:
    """Return the batches that wait, and whether the stream has ended after them."""
    batches: list[FlowUpdates] = []
    while True:
        try:
            batches.append(stream.receive_nowait())
        except trio.WouldBlock:
            return batches, False
        except trio.EndOfChannel:
            return batches, True


async def test_a_stream_has_each_quote_and_trade_from_its_opening_in_steps_of_five_seconds(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source, clock = market(), SimulatedClock(start_ms=START_MS)
    streams = FlowStreams(source, run_inline)
    nursery.start_soon(streams.run, clock)
    symbols = source.symbols[1:3]
    stream = streams.open(symbols, clock.now_ms())
    await clock.sleep_until(START_MS + 4 * MINUTE_MS)
    batches, ended = received(stream)
    assert not ended
    assert batches[0].since_ms == START_MS
    assert all(one.until_ms == other.since_ms for one, other in pairwise(batches))
    assert {batch.until_ms % FLOW_STEP_MS for batch in batches} == {0}
    assert any(batch.until_ms % FLOW_WINDOW_MS == 0 for batch in batches)
    whole = market().walk_flow(symbols).read(START_MS, batches[-1].until_ms)
    for name in ("quote_ms", "quote_columns", "trade_ms", "trade_columns", "quantity", "bought"):
        found = np.concatenate([getattr(batch, name) for batch in batches])
        np.testing.assert_array_equal(found, getattr(whole, name))
    bids = np.concatenate([batch.book.bid for batch in batches])
    np.testing.assert_array_equal(bids, whole.book.bid)


async def test_nothing_is_walked_without_an_open_stream(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[int] = []
    read = tape.quotes_of_window

    def noted(source: Any, columns: Any, window: int) -> Any:
        walked.append(window)
        return read(source, columns, window)

    monkeypatch.setattr(tape_walk, "quotes_of_window", noted)
    clock = SimulatedClock(start_ms=START_MS)
    streams = FlowStreams(market(), run_inline)
    nursery.start_soon(streams.run, clock)
    await clock.sleep_until(START_MS + 30 * MINUTE_MS)
    assert walked == []
    with streams.open(("BTCUSDT",), clock.now_ms()):
        await clock.sleep_until(START_MS + 34 * MINUTE_MS)
    assert walked == [7, 8]
    await clock.sleep_until(START_MS + 60 * MINUTE_MS)
    assert walked == [7, 8]


async def test_a_stream_whose_reader_is_too_slow_ends_after_its_whole_batches(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    clock = SimulatedClock(start_ms=START_MS)
    streams = FlowStreams(market(), run_inline)
    nursery.start_soon(streams.run, clock)
    slow, quick = (streams.open(("BTCUSDT",), clock.now_ms()) for _ in range(2))
    read = 0
    for _ in range(BATCHES_WAITING_MAX + 10):
        await quick.receive()
        read += 1
    batches, ended = received(slow)
    assert ended
    assert len(batches) == BATCHES_WAITING_MAX
    assert all(one.until_ms == other.since_ms for one, other in pairwise(batches))
    assert read == BATCHES_WAITING_MAX + 10


async def test_a_stream_ends_if_the_venue_stood_still_for_a_window() -> None:
    streams = FlowStreams(market(), run_inline)
    stream = streams.open(("BTCUSDT",), START_MS)
    await streams.send(START_MS + FLOW_WINDOW_MS)
    await streams.send(START_MS + 2 * FLOW_WINDOW_MS + 1)
    batches, ended = received(stream)
    assert ended
    assert [batch.until_ms for batch in batches] == [START_MS + FLOW_WINDOW_MS]


async def test_a_clock_that_was_set_back_sends_nothing_twice() -> None:
    streams = FlowStreams(market(), run_inline)
    stream = streams.open(("BTCUSDT",), START_MS)
    for at_ms in (10_000, 5_000, 10_000, 12_000):
        await streams.send(START_MS + at_ms)
    spans = [(each.since_ms - START_MS, each.until_ms - START_MS) for each in received(stream)[0]]
    assert spans == [(0, 10_000), (10_000, 12_000)]


async def test_a_walk_on_a_thread_is_that_of_the_loop() -> None:
    found: list[Any] = []
    for runner in (run_inline, make_thread_runner()):
        streams = FlowStreams(market(), runner)
        stream = streams.open(("BTCUSDT", "ETHUSDT"), START_MS)
        for at_ms in range(START_MS, START_MS + 6 * MINUTE_MS, 7_000):
            await streams.send(at_ms)
        found.append(np.concatenate([each.book.bid_qty for each in received(stream)[0]]))
    np.testing.assert_array_equal(*found)


def test_a_recorded_market_has_no_stream() -> None:
    assert not FlowStreams(MemoryMarket({"AAA": [FLAT]}), run_inline).available


def test_a_stream_of_an_unknown_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match="index"):
        FlowStreams(market(), run_inline).open(("NONEUSDT",), START_MS)
