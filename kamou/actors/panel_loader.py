"""The loader of the scanners' panels, and the split of the symbols among scanners.

The work is split, because a loop that is busy with history protects no position: one day is read at
a time, and at most ``ROWS_AT_ONCE`` bars go into a panel between two checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import attrs
import trio

from kamou.clock import Clock, floor_ms
from kamou.core.arrays import Floats, Ints
from kamou.core.day import DAY_MS, show_utc
from kamou.core.market.bars import get_top_ratios
from kamou.core.market.flow import FlowWindows
from kamou.core.market.market_rows import find_market_rows
from kamou.core.market.panel import Panel
from kamou.errors import RateLimitedError, UnreachableError
from kamou.exchange.base import Bars, ExchangePort, Series
from kamou.exchange.reads import FlowSource

HISTORY_TIMEOUT_S = 900.0
"""The longest time from the start of a child until all history is loaded. 35 days of 1-minute bars
of 2,000 symbols take 60 s of CPU time, and many times as long on a busy machine. A shorter timeout
would end and repeat such a start for ever."""
DAY_READ_TIMEOUT_S = 60.0  # for one day of history, which takes 2 s of CPU time
ROWS_AT_ONCE = 8  # 1 ms of CPU time for 220 symbols, 4 ms for 2,000; orders wait meanwhile


@attrs.frozen(kw_only=True)
class PanelPart:
    """The symbols of one scanner, and their columns in the bars of the port."""

    symbols: tuple[str, ...]
    columns: slice


def split_symbols(symbols: tuple[str, ...], shards: int) -> tuple[PanelPart, ...]:
    """Split the symbols into at most ``shards`` contiguous parts of nearly equal size.

    Without symbols there is one empty part; otherwise none is empty.
    """
    count = max(1, min(shards, len(symbols)))
    edges = [round(i * len(symbols) / count) for i in range(count + 1)]
    return tuple(PanelPart(symbols=symbols[a:b], columns=slice(a, b)) for a, b in pairwise(edges))


@attrs.define(eq=False)
class LoadedPanel:
    """A panel, with the times of its newest open interest and other sources."""

    panel: Panel
    open_interest_at_ms: int = -1  # at which it became available; -1: the panel has none
    funding_at_ms: int = -1  # the same of funding
    flow_at_ms: int = -1  # the same of order flow
    ratios_at_ms: int = -1  # the same of long/short ratios
    premium_at_ms: int = -1  # the same of the premium index

    def take_open_interest(self, available_ms: Ints, values: Floats) -> None:
        """Append the rows that are newer than those in the panel.

        Args:
            available_ms: time at which each row became available, ``[rows]``.
            values: open interest in base units or contracts, ``[rows, symbols]``; NaN: unknown.
        """
        for row, at_ms in enumerate(available_ms):
            if at_ms > self.open_interest_at_ms:
                self.panel.append_interest(int(at_ms), values[row])
                self.open_interest_at_ms = int(at_ms)

    def take_funding(self, settled_ms: Ints, rates: Floats) -> None:
        """Append the rates that settled after those in the panel.

        Args:
            settled_ms: time of each row, ``[rows]``.
            rates: fractions per interval, ``[rows, symbols]``; NaN: none settled.
        """
        for row, at_ms in enumerate(settled_ms):
            if at_ms > self.funding_at_ms:
                self.panel.append_funding(int(at_ms), rates[row])
                self.funding_at_ms = int(at_ms)

    def take_flow(self, end_ms: Ints, values: Floats) -> None:
        """Append the windows of order flow that ended after those in the panel.

        Args:
            end_ms: end of each window, ``[windows]``.
            values: as ``FlowWindows.values``.
        """
        new = end_ms > self.flow_at_ms
        if new.any():
            self.panel.append_flow(end_ms[new], values[new])
            self.flow_at_ms = int(end_ms[-1])

    def take_ratios(self, available_ms: Ints, accounts: Floats, top_traders: Floats) -> None:
        """Append the long/short ratios that are newer than those in the panel.

        Args:
            available_ms: time at which each row became available, ``[rows]``.
            accounts: ratios of all accounts, ``[rows, symbols]``; NaN: unknown.
            top_traders: ratios of top traders, in the same shape.
        """
        for row, at_ms in enumerate(available_ms):
            if at_ms > self.ratios_at_ms:
                self.panel.append_ratios(int(at_ms), accounts[row], top_traders[row])
                self.ratios_at_ms = int(at_ms)

    def take_premium(self, available_ms: Ints, premium: Floats) -> None:
        """Append the premium indices that are newer than those in the panel.

        Args:
            available_ms: time at which each row became available, ``[rows]``.
            premium: fractions of the index price, ``[rows, symbols]``; NaN: unknown.
        """
        for row, at_ms in enumerate(available_ms):
            if at_ms > self.premium_at_ms:
                self.panel.append_premium(int(at_ms), premium[row])
                self.premium_at_ms = int(at_ms)


@attrs.define(eq=False)
class _Reading:
    """Panels being filled, with the ends of the history that was read, in ms."""

    panels: dict[int, LoadedPanel]
    bars_until_ms: int
    known_until_ms: int  # of all but bars


class PanelLoader:
    """The loader of panels, which all scanners share.

    It returns each loaded panel once, and outlives the scanners. At a start the first scanner loads
    the panels of all others with its own, because the others call it one after the other. Later a
    scanner loads its own panel, and those of the scanners that wait with it.
    """

    def __init__(
        self,
        *,
        port: ExchangePort,
        clock: Clock,
        parts: Sequence[PanelPart],
        new_panel: Callable[[tuple[str, ...]], Panel],
        flow_source: FlowSource | None = None,
    ) -> None:
        """Prepare the loader; ``flow_source`` replaces the port's order flow."""
        self._flow_source = flow_source
        self._port = port
        self._clock = clock
        self._parts = tuple(parts)
        self._new_panel = new_panel
        self._over: trio.Event | None = None  # set when the current reading has ended
        self._wanted = set(range(len(self._parts)))
        self._ready: dict[int, _Reading] = {}

    def make_empty(self, index: int) -> LoadedPanel:
        """Return the panel of part ``index`` without history."""
        return LoadedPanel(self._new_panel(self._parts[index].symbols))

    async def load(self, index: int) -> LoadedPanel:
        """Return the panel of part ``index`` with all history up to now.

        The panel is empty if the venue does not answer in time, or its rate limit is reached. If
        cancelled, nothing of this reading is kept.
        """
        self._wanted.add(index)
        await trio.lowlevel.checkpoint()  # scanners that call at the same time share a reading
        # No trio.Lock: a task that crashes while it acquires one leaves it locked for good
        # (test_a_crash_at_any_point_loses_and_doubles_no_order_and_leaves_no_position_unprotected).
        while self._over is not None:
            await self._over.wait()
        over = self._over = trio.Event()
        try:
            return await self._load(index)
        finally:
            self._over = None
            over.set()

    async def _load(self, index: int) -> LoadedPanel:
        reading = self._ready.pop(index, None) or self._begin()
        try:
            await self._read_history(reading)
        except (UnreachableError, RateLimitedError):
            return self.make_empty(index)
        self._wanted -= reading.panels.keys()
        for other, loaded in reading.panels.items():
            if other != index:
                self._ready[other] = attrs.evolve(reading, panels={other: loaded})
        return reading.panels[index]

    def _begin(self) -> _Reading:
        """Return a reading with new panels for every part that is wanted."""
        panels = {index: self.make_empty(index) for index in sorted(self._wanted)}
        panel = next(iter(panels.values())).panel
        since_ms = floor_ms(self._clock.now_ms(), panel.period_ms) - panel.history_ms
        return _Reading(panels, bars_until_ms=since_ms, known_until_ms=since_ms)

    async def _read_history(self, reading: _Reading) -> None:
        """Read day by day until the newest closed bar.

        Raises:
            UnreachableError: the venue did not answer in time; the panels lack days.
            RateLimitedError: as the port; the panels lack days.
        """
        period_ms = next(iter(reading.panels.values())).panel.period_ms
        while True:
            now_ms = self._clock.now_ms()
            since_ms, closed_at_ms = reading.bars_until_ms, floor_ms(now_ms, period_ms)
            if since_ms >= closed_at_ms:
                return
            until_ms = min(closed_at_ms, since_ms + max(DAY_MS, period_ms))
            known_ms = now_ms if until_ms == closed_at_ms else until_ms
            with trio.move_on_after(DAY_READ_TIMEOUT_S) as limit:
                bars = await self._port.bars(period_ms, since_ms, until_ms)
                open_interest = await self._port.open_interest(reading.known_until_ms, known_ms)
                funding = await self._read_funding(reading, known_ms)
                flow = await self._read_flow(reading, known_ms)
                ratios = await self._read_ratios(reading, known_ms)
                premium = await self._read_premium(reading, known_ms)
            if limit.cancelled_caught:
                raise UnreachableError(
                    "the venue did not send bars, open interest and what else strategies read from"
                    f" {show_utc(since_ms)} to {show_utc(until_ms)} within "
                    f"{DAY_READ_TIMEOUT_S:g} s; the scanner reads again at its next bar"
                )
            for index, loaded in reading.panels.items():
                columns = self._parts[index].columns
                if funding is not None:
                    loaded.take_funding(funding.available_ms, funding.values[:, columns])
                if flow is not None:
                    loaded.take_flow(flow.end_ms, flow.values[..., columns])
                if ratios is not None:
                    top = get_top_ratios(ratios)[:, columns]
                    loaded.take_ratios(ratios.available_ms, ratios.values[:, columns], top)
                if premium is not None:
                    loaded.take_premium(premium.available_ms, premium.values[:, columns])
                if loaded.panel.reads_market:
                    market = find_market_rows(bars.symbols, bars.open, bars.close)
                    loaded.panel.give_market(bars.open_ms, market)
                await self._fill(loaded, columns, bars, open_interest)
            reading.bars_until_ms, reading.known_until_ms = until_ms, known_ms

    async def _read_funding(self, reading: _Reading, until_ms: int) -> Series | None:
        """Return the funding since the last read; None if it is not to be read.

        Panels without a strategy that reads funding keep none, and a venue may have none.

        Raises:
            UnreachableError, RateLimitedError: as the port.
        """
        wanted = any(loaded.panel.funding_settlements for loaded in reading.panels.values())
        if not wanted or not self._port.capabilities.funding_rates:
            return None
        return await self._port.funding_rates(reading.known_until_ms, until_ms)

    async def _read_flow(self, reading: _Reading, until_ms: int) -> FlowWindows | None:
        """Return the order flow since the last read; None if it is not to be read.

        Panels without a strategy that reads order flow keep none, and a venue may have none.

        Raises:
            UnreachableError, RateLimitedError: as the port.
        """
        wanted = any(loaded.panel.flow_windows for loaded in reading.panels.values())
        source = self._flow_source or (self._port if self._port.capabilities.flow_windows else None)
        if not wanted or source is None:
            return None
        return await source.flow_windows(reading.known_until_ms, until_ms)

    async def _read_ratios(self, reading: _Reading, until_ms: int) -> Series | None:
        """Return the long/short ratios since the last read, as ``_read_funding`` does.

        Raises:
            UnreachableError, RateLimitedError: as the port.
        """
        wanted = any(loaded.panel.ratio_hours for loaded in reading.panels.values())
        if not wanted or not self._port.capabilities.long_short_ratio:
            return None
        return await self._port.long_short_ratios(reading.known_until_ms, until_ms)

    async def _read_premium(self, reading: _Reading, until_ms: int) -> Series | None:
        """Return the premium index since the last read, as ``_read_funding`` does.

        Raises:
            UnreachableError, RateLimitedError: as the port.
        """
        wanted = any(loaded.panel.premium_hours for loaded in reading.panels.values())
        if not wanted or not self._port.capabilities.premium_index:
            return None
        return await self._port.premium_index(reading.known_until_ms, until_ms)

    @staticmethod
    async def _fill(loaded: LoadedPanel, columns: slice, bars: Bars, open_interest: Series) -> None:
        """Append bars and open interest, with a checkpoint every ``ROWS_AT_ONCE`` bars."""
        for rows in _slices(len(bars.open_ms)):
            loaded.panel.extend(
                bars.open_ms[rows],
                bars.open[rows, columns],
                bars.high[rows, columns],
                bars.low[rows, columns],
                bars.close[rows, columns],
                bars.volume[rows, columns],
            )
            await trio.lowlevel.checkpoint()
        loaded.take_open_interest(open_interest.available_ms, open_interest.values[:, columns])
        await trio.lowlevel.checkpoint()


def _slices(rows: int) -> Iterator[slice]:
    return (slice(row, row + ROWS_AT_ONCE) for row in range(0, rows, ROWS_AT_ONCE))
