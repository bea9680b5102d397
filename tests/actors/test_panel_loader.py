"""Panels that one reading loads for all scanners, equal to panels fed bar by bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.actors.panel_loader import ROWS_AT_ONCE, LoadedPanel, PanelLoader, split_symbols
from kamou.actors.scanner import Scanner
from kamou.clock import floor_ms
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.indicators.base import Indicator
from kamou.core.market.bars import Bars, Series
from kamou.core.market.flow import FlowWindows
from kamou.core.market.panel import PANEL_FIELDS, Panel
from kamou.core.strategies import make_panel
from kamou.core.strategies.evaluation import raise_failure
from kamou.core.strategies.mean_reversion import strategy as mean_reversion
from kamou.errors import UnreachableError
from kamou.exchange.base import Capabilities
from kamou.exchange.reads import FlowSource
from kamou.messages.market import BarsClosed
from kamou.runtime.mailboxes import Mailbox, WhenFull
from kamou.venue.market.generator import GeneratedMarket
from tests.actors import bars_port

ORIGIN_MS = 1_735_689_600_000
PERIOD_MS = 15 * MINUTE_MS
MARKET = GeneratedMarket(seed=11, origin_ms=ORIGIN_MS, symbols=9, step_ms=5 * MINUTE_MS)
INDICATORS: tuple[Indicator, ...] = tuple(mean_reversion().indicators)


@attrs.define
class Port:
    """Exchange port with slow or failing reads, which notes the periods of bars."""

    now_ms: int
    takes_ms: int = 0  # duration of each read by the clock
    away: int = 0  # number of the next reads that fail
    funding: bool = True  # the venue has funding rates
    flow: bool = True  # the venue has order flow
    asked: list[tuple[int, int]] = attrs.Factory(list)

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        await self._answer()
        self.asked.append((since_ms, until_ms))
        return MARKET.bars(period_ms, since_ms, min(until_ms, self.now_ms))

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        await self._answer()
        return MARKET.open_interest(since_ms, min(until_ms, self.now_ms))

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        await self._answer()
        assert self.funding, "the loader read funding, which the venue does not have"
        return MARKET.funding_rates(since_ms, min(until_ms, self.now_ms))

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        await trio.lowlevel.checkpoint()
        assert self.flow, "the loader read order flow, which the venue does not have"
        return MARKET.flow_windows(since_ms, min(until_ms, self.now_ms))

    @property
    def capabilities(self) -> Capabilities:
        known = bars_port.Port().capabilities
        return attrs.evolve(known, funding_rates=self.funding, flow_windows=self.flow)

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        self.now_ms += self.takes_ms
        if self.away:
            self.away -= 1
            raise UnreachableError("no answer")


@attrs.define
class PortClock:
    port: Port

    def now_ms(self) -> int:
        return self.port.now_ms

    async def sleep_until(self, at_ms: int) -> None:
        raise AssertionError("sleep_until was called, but a load waits for no time")


class RowCount(trio.abc.Instrument):
    """Counts the bars that go into panels between two checkpoints."""

    def __init__(self) -> None:
        self.rows = self.most = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.rows = 0

    def note(self) -> None:
        self.rows += 1
        self.most = max(self.most, self.rows)


def new_panel(symbols: tuple[str, ...]) -> Panel:
    panel = Panel(symbols, PERIOD_MS, 40, INDICATORS, open_interest_rows=8, history_bars=300)
    panel.keep_funding(4)
    panel.keep_flow(30)
    return panel


def loader(port: Port, shards: int, flow_source: FlowSource | None = None) -> PanelLoader:
    given_: dict[str, Any] = {"port": port, "clock": PortClock(port), "flow_source": flow_source}
    parts = split_symbols(MARKET.symbols, shards)
    return PanelLoader(parts=parts, new_panel=new_panel, **given_)


def fed(symbols: tuple[str, ...], since_ms: int, now_ms: int) -> Panel:
    """Return a panel that took each bar, then each hour's open interest and funding, by itself."""
    panel = new_panel(symbols)
    columns = [MARKET.symbols.index(symbol) for symbol in symbols]
    for open_ms in range(since_ms, floor_ms(now_ms, PERIOD_MS), PERIOD_MS):
        bar = MARKET.bars(PERIOD_MS, open_ms, open_ms + PERIOD_MS)
        fields = (bar.open, bar.high, bar.low, bar.close, bar.volume)
        panel.append(open_ms, *(field[0, columns] for field in fields))
    for hour_ms in range(floor_ms(since_ms, HOUR_MS) + HOUR_MS, now_ms + 1, HOUR_MS):
        seen = MARKET.open_interest(hour_ms - 1, hour_ms)
        panel.append_interest(hour_ms, seen.values[0, columns])
    funding = MARKET.funding_rates(since_ms, now_ms)
    for settled_ms, rates in zip(funding.available_ms.tolist(), funding.values, strict=True):
        panel.append_funding(settled_ms, rates[columns])
    flow = MARKET.flow_windows(since_ms, now_ms)
    panel.append_flow(flow.end_ms, flow.values[..., columns])
    return panel


def assert_equal(left: Panel, right: Panel, now_ms: int) -> None:
    """Assert that two panels are equal in everything that a strategy may read."""
    assert (left.symbols, left.bars, left.open_ms) == (right.symbols, right.bars, right.open_ms)
    for field in PANEL_FIELDS:
        np.testing.assert_array_equal(left.view(field, 40), right.view(field, 40))
    np.testing.assert_array_equal(left.count, right.count)
    np.testing.assert_array_equal(left.last_close_ms, right.last_close_ms)
    for spec in INDICATORS:
        np.testing.assert_array_equal(left.indicator(spec), right.indicator(spec))
    for one, other in zip(left.open_interest(now_ms), right.open_interest(now_ms), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(left.funding(now_ms), right.funding(now_ms), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(left.flow(now_ms), right.flow(now_ms), strict=True):
        np.testing.assert_array_equal(one, other)


def columns_of(panel: Panel) -> list[int]:
    return [MARKET.symbols.index(symbol) for symbol in panel.symbols]


async def load_all(panels: PanelLoader, shards: int) -> list[LoadedPanel]:
    """Load all panels one after the other, as a supervisor starts scanners."""
    return [await panels.load(index) for index in range(shards)]


@settings(max_examples=15)
@given(
    minutes=st.integers(0, 3 * 24 * 60),
    shards=st.integers(1, 9),
    takes_ms=st.sampled_from([0, 1, 4 * MINUTE_MS]),  # three reads within a bar
)
def test_a_loaded_panel_equals_one_that_was_fed_bar_by_bar(
    minutes: int, shards: int, takes_ms: int
) -> None:
    began_ms = ORIGIN_MS + 5 * DAY_MS + minutes * MINUTE_MS
    port = Port(began_ms, takes_ms)
    loaded = trio.run(load_all, loader(port, shards), shards)
    assert tuple(s for each in loaded for s in each.panel.symbols) == MARKET.symbols
    for each in loaded:
        panel = each.panel
        assert began_ms < panel.close_ms + PERIOD_MS, (
            "a bar that had closed when the load began is missing"
        )
        since_ms = floor_ms(began_ms, PERIOD_MS) - panel.history_ms
        until_ms = each.open_interest_at_ms
        expected = fed(panel.symbols, since_ms, panel.close_ms)
        for hour_ms in range(floor_ms(panel.close_ms, HOUR_MS) + HOUR_MS, until_ms + 1, HOUR_MS):
            seen = MARKET.open_interest(hour_ms - 1, hour_ms)
            columns = [MARKET.symbols.index(symbol) for symbol in panel.symbols]
            expected.append_interest(hour_ms, seen.values[0, columns])
        funding = MARKET.funding_rates(panel.close_ms, each.funding_at_ms)
        for settled_ms, rates in zip(funding.available_ms.tolist(), funding.values, strict=True):
            expected.append_funding(settled_ms, rates[columns_of(panel)])
        flow = MARKET.flow_windows(panel.close_ms, each.flow_at_ms)
        expected.append_flow(flow.end_ms, flow.values[..., columns_of(panel)])
        assert_equal(panel, expected, port.now_ms)


@pytest.mark.parametrize("shards", [1, 8])
def test_few_bars_go_into_panels_between_two_checkpoints(
    shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = RowCount()
    append_block = Panel.append_block

    def counted(panel: Panel, *bars: Any) -> Any:
        for _ in bars[0]:
            rows.note()
        return append_block(panel, *bars)

    monkeypatch.setattr(Panel, "append_block", counted)
    port = Port(ORIGIN_MS + 8 * DAY_MS)
    trio.run(load_all, loader(port, shards), shards, instruments=[rows])
    assert 0 < rows.most <= ROWS_AT_ONCE


def test_every_day_is_read_once_however_many_scanners_there_are() -> None:
    asked = []
    for shards in (1, 8):
        port = Port(ORIGIN_MS + 8 * DAY_MS + 5 * HOUR_MS)
        trio.run(load_all, loader(port, shards), shards)
        asked.append(port.asked)
    assert asked[0] == asked[1]
    assert all(until_ms - since_ms <= DAY_MS for since_ms, until_ms in asked[0])
    assert sum(until - since for since, until in asked[0]) == new_panel(()).history_ms


async def test_a_scanner_that_crashed_loads_only_its_own_symbols() -> None:
    port = Port(ORIGIN_MS + 8 * DAY_MS)
    panels = loader(port, 3)
    await load_all(panels, 3)
    made: list[tuple[str, ...]] = []

    def counted(symbols: tuple[str, ...]) -> Panel:
        made.append(symbols)
        return new_panel(symbols)

    panels._new_panel = counted
    again = await panels.load(1)
    assert made == [again.panel.symbols] == [split_symbols(MARKET.symbols, 3)[1].symbols]


async def test_scanners_that_ask_at_the_same_time_share_one_reading() -> None:
    port = Port(ORIGIN_MS + 8 * DAY_MS)
    panels = loader(port, 3)
    await load_all(panels, 3)
    once, port.asked = len(port.asked), []
    async with trio.open_nursery() as nursery:
        for index in range(3):
            nursery.start_soon(panels.load, index)
    assert len(port.asked) == once


@pytest.mark.parametrize("reads", range(8))
async def test_only_a_load_with_a_failed_read_leaves_an_empty_panel_and_the_next_is_whole(
    reads: int,
) -> None:
    port = Port(ORIGIN_MS + 8 * DAY_MS)
    panels = loader(port, 2)
    answer: Callable[[], Any] = port._answer
    left = [reads]

    async def away_after_some() -> None:
        left[0] -= 1
        port.away = int(left[0] == 0)
        await answer()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Port, "_answer", lambda self: away_after_some())
        first = await panels.load(0)
    assert (first.panel.bars == 0) == (reads > 0)
    for each in (await panels.load(1), await panels.load(0)):
        panel = each.panel
        since_ms = port.now_ms - panel.history_ms
        assert_equal(panel, fed(panel.symbols, since_ms, port.now_ms), port.now_ms)


@pytest.mark.parametrize("steps", [1, 2, 5, 13, 21])
async def test_a_canceled_load_keeps_no_panel_and_the_next_loads_are_whole(steps: int) -> None:
    port = Port(ORIGIN_MS + 8 * DAY_MS)
    panels = loader(port, 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(panels.load, 0)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert not panels._ready
    for each in await load_all(panels, 2):
        panel = each.panel
        since_ms = port.now_ms - panel.history_ms
        assert_equal(panel, fed(panel.symbols, since_ms, port.now_ms), port.now_ms)


async def test_bars_that_arrive_while_a_scanner_recovers_are_in_its_panel_once() -> None:
    began_ms = ORIGIN_MS + 6 * DAY_MS + 10 * HOUR_MS
    port = Port(began_ms)
    inbox: Mailbox[Any] = Mailbox(
        "scanner-0", 2, WhenFull.CONFLATE, key=lambda bars: "bars", now_ms=port_now(port)
    )
    ranked: Mailbox[Any] = Mailbox("veto", 100, now_ms=port_now(port))
    scanner = Scanner(
        index=0,
        inbox=inbox,
        clock=PortClock(port),
        panels=loader(port, 1),
        symbols=MARKET.symbols,
        strategies=(),
        veto=ranked,
        on_strategy_failed=raise_failure,
        handler_deadline_s=30,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scanner.run)
        for number in range(1, 4):  # three bars close while it recovers
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            assert not inbox.up
            port.now_ms = began_ms + number * PERIOD_MS
            inbox.put_nowait(closed(port.now_ms))
        while not inbox.up or inbox.statistics().depth:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    panel = scanner._panel
    since_ms = began_ms - panel.history_ms
    assert panel.close_ms == port.now_ms
    assert_equal(panel, fed(panel.symbols, since_ms, port.now_ms), port.now_ms)


def port_now(port: Port) -> Callable[[], int]:
    return lambda: port.now_ms


def closed(at_ms: int) -> BarsClosed:
    """Return the feed's message with the newest bar and all that became known since."""
    bar = MARKET.bars(PERIOD_MS, at_ms - PERIOD_MS, at_ms)
    seen = MARKET.open_interest(at_ms - PERIOD_MS, at_ms)
    funding = MARKET.funding_rates(at_ms - PERIOD_MS, at_ms)
    flow = MARKET.flow_windows(at_ms - PERIOD_MS, at_ms)
    return BarsClosed(
        cause_id="test",
        cycle_at_ms=at_ms,
        period_ms=PERIOD_MS,
        open_ms=bar.open_ms,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=bar.volume,
        open_interest_ms=seen.available_ms,
        open_interest=seen.values,
        funding_ms=funding.available_ms,
        funding_rates=funding.values,
        flow_ms=flow.end_ms,
        flow=flow.values,
    )


def test_a_venue_without_funding_rates_is_not_asked_for_them() -> None:
    port = Port(ORIGIN_MS + 5 * DAY_MS, funding=False)
    (loaded,) = trio.run(load_all, loader(port, 1), 1)
    assert loaded.panel.count.all()
    assert np.isnan(loaded.panel.funding(port.now_ms)[1]).all()


def test_a_venue_without_order_flow_is_not_asked_for_it() -> None:
    port = Port(ORIGIN_MS + 5 * DAY_MS, flow=False)
    (loaded,) = trio.run(load_all, loader(port, 1), 1)
    assert loaded.panel.count.all()
    assert np.isnan(loaded.panel.flow(port.now_ms)[1]).all()


@pytest.mark.parametrize("listed", [True, False])
def test_gathered_windows_are_loaded_in_the_place_of_those_of_the_venue(listed: bool) -> None:
    class Gathered:
        async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
            flow = MARKET.flow_windows(since_ms, until_ms)
            return attrs.evolve(flow, values=-flow.values)

    port = Port(ORIGIN_MS + 5 * DAY_MS, flow=listed)
    loaded = trio.run(load_all, loader(port, 2, Gathered()), 2)
    for each in loaded:
        columns = [MARKET.symbols.index(symbol) for symbol in each.panel.symbols]
        end_ms, values = each.panel.flow(port.now_ms)
        expected = MARKET.flow_windows(int(end_ms[0]) - 1, port.now_ms)
        np.testing.assert_array_equal(end_ms, expected.end_ms)
        np.testing.assert_array_equal(values, -expected.values[..., columns])


def test_the_panel_of_mean_reversion_is_warm_after_a_load() -> None:
    chosen = (mean_reversion(),)
    port = Port(ORIGIN_MS + 12 * DAY_MS)
    panels = loader(port, 1)
    panels._new_panel = lambda symbols: make_panel(chosen, symbols, PERIOD_MS)
    (loaded,) = trio.run(load_all, panels, 1)
    assert (loaded.panel.count >= chosen[0].warmup_bars(PERIOD_MS)).all()
