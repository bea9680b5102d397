"""The feed, which sends each ``FeedShard`` its bars and what else became known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Never

import attrs
import numpy as np

from kamou.actors.base import Actor
from kamou.clock import floor_ms, next_ms
from kamou.core.indicators.macro_beta import MARKET_FIGURES
from kamou.core.market.bars import empty_series, get_top_ratios
from kamou.core.market.flow import FlowWindows, empty_flow
from kamou.core.market.market_rows import find_market_rows
from kamou.errors import RateLimitedError, UnreachableError
from kamou.exchange.base import Bars, ExchangePort, Series
from kamou.exchange.reads import FlowSource
from kamou.messages.market import BarsClosed
from kamou.runtime.mailbox_sides import Outbox
from kamou.settings.config import CycleSettings


@attrs.frozen(kw_only=True)
class FeedShard:
    """Neighboring symbols, their columns in bars, and the mailbox of their scanner."""

    index: int
    symbols: tuple[str, ...]
    columns: slice
    inbox: Outbox[BarsClosed]


@attrs.frozen(kw_only=True)
class _Read:
    """The answers of one cycle's reads; None: not read."""

    bars: Bars | None = None
    open_interest: Series | None = None
    funding: Series | None = None
    flow: FlowWindows | None = None
    ratios: Series | None = None
    premium: Series | None = None


@attrs.define(kw_only=True, eq=False, slots=False)
class Feed(Actor[Never]):
    """The reader of new market data, which sends each shard its columns in each cycle.

    The feed never waits for a scanner. If a read fails or no bar closed, the shards get a message
    without bars, and the next cycle reads from the end of the last bars. It reads funding, order
    flow, long/short ratios and premium index only if a strategy does and the venue has them.
    """

    name: str = attrs.field(init=False, default="feed")
    _port: ExchangePort
    _shards: Sequence[FeedShard]
    _settings: CycleSettings = attrs.field(alias="cycle")
    _period_ms: int
    _on_cycle: Callable[[int], None]
    _funding_wanted: bool = False
    _flow_wanted: bool = False
    _flow_source: FlowSource | None = None  # None: the port, if its venue has order flow
    _ratios_wanted: bool = False
    _premium_wanted: bool = False
    # The next cycle, and what was read before it.
    _cycle: int = attrs.field(init=False)
    _known_ms: int = attrs.field(init=False)  # all but bars was read until then
    _next_open_ms: int = attrs.field(init=False)

    @property
    def _cycle_period_ms(self) -> int:
        return self._settings.period_s * 1000

    @property
    def _delay_ms(self) -> int:
        return self._settings.bar_delay_ms

    async def recover(self) -> None:
        now = self.clock.now_ms()
        self._known_ms = now
        self._cycle = next_ms(now - self._delay_ms, self._cycle_period_ms)
        # Reads begin with the bar that closes with that cycle; later it has closed already.
        self._next_open_ms = floor_ms(self._cycle - 1, self._period_ms)

    def next_due_ms(self) -> int | None:
        return self._cycle + self._delay_ms

    async def handle(self, message: Never) -> None:
        raise AssertionError(f"the feed takes no messages, but got {message!r}")

    async def tick(self) -> None:
        cycle_at_ms = self._cycle
        # After a stall the missed cycles are skipped; their bars come with the next cycle.
        self._cycle = (
            floor_ms(self.clock.now_ms() - self._delay_ms, self._cycle_period_ms)
            + self._cycle_period_ms
        )
        read = await self._read(cycle_at_ms)
        market = np.empty((0, MARKET_FIGURES))
        if read.bars is not None:
            market = find_market_rows(read.bars.symbols, read.bars.open, read.bars.close)
        for shard in self._shards:
            columns = self._columns(shard, cycle_at_ms, read)
            shard.inbox.put_nowait(attrs.evolve(columns, market=market))
        self._on_cycle(cycle_at_ms)

    async def _read(self, cycle_at_ms: int) -> _Read:
        until_ms = floor_ms(cycle_at_ms, self._period_ms)
        if until_ms <= self._next_open_ms:
            return _Read()
        try:
            bars = await self._port.bars(self._period_ms, self._next_open_ms, until_ms)
            open_interest = await self._port.open_interest(self._known_ms, cycle_at_ms)
            funding = None
            if self._funding_wanted and self._port.capabilities.funding_rates:
                funding = await self._port.funding_rates(self._known_ms, cycle_at_ms)
            flow = None
            listed = self._port if self._port.capabilities.flow_windows else None
            if self._flow_wanted and (source := self._flow_source or listed):
                flow = await source.flow_windows(self._known_ms, cycle_at_ms)
            ratios = None
            if self._ratios_wanted and self._port.capabilities.long_short_ratio:
                ratios = await self._port.long_short_ratios(self._known_ms, cycle_at_ms)
            premium = None
            if self._premium_wanted and self._port.capabilities.premium_index:
                premium = await self._port.premium_index(self._known_ms, cycle_at_ms)
        except (UnreachableError, RateLimitedError):
            return _Read()
        if len(bars.open_ms):
            self._next_open_ms = int(bars.open_ms[-1]) + self._period_ms
            self._known_ms = cycle_at_ms
        return _Read(
            bars=bars,
            open_interest=open_interest,
            funding=funding,
            flow=flow,
            ratios=ratios,
            premium=premium,
        )

    def _columns(self, shard: FeedShard, cycle_at_ms: int, read: _Read) -> BarsClosed:
        part, bars = shard.columns, read.bars
        open_interest, funding = read.open_interest, read.funding
        flow = read.flow or empty_flow(shard.symbols)
        flow_values = flow.values[..., part] if read.flow else flow.values
        empty = np.empty((0, len(shard.symbols)))
        fields = [empty] * 5
        open_ms = open_interest_ms = funding_ms = np.empty(0, dtype=np.int64)
        values = rates = empty
        if bars is not None:
            open_ms = bars.open_ms
            columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
            fields = [column[:, part] for column in columns]
        if open_interest is not None:
            open_interest_ms, values = open_interest.available_ms, open_interest.values[:, part]
        if funding is not None:
            funding_ms, rates = funding.available_ms, funding.values[:, part]
        ratios, premium = (
            series or empty_series((), self._period_ms) for series in (read.ratios, read.premium)
        )
        return BarsClosed(
            cause_id=f"cycle:{cycle_at_ms}",
            cycle_at_ms=cycle_at_ms,
            period_ms=self._period_ms,
            open_ms=open_ms,
            open=fields[0],
            high=fields[1],
            low=fields[2],
            close=fields[3],
            volume=fields[4],
            open_interest_ms=open_interest_ms,
            open_interest=values,
            funding_ms=funding_ms,
            funding_rates=rates,
            flow_ms=flow.end_ms,
            flow=flow_values,
            ratios_ms=ratios.available_ms,
            ratios=ratios.values[:, part],
            top_ratios=get_top_ratios(ratios)[:, part],
            premium_ms=premium.available_ms,
            premium=premium.values[:, part],
        )
