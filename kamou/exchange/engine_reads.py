"""``EngineReads``: an ``Engine``'s account, orders, quotes and market data."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from kamou.clock import Clock
from kamou.core.market.bars import Bars, Series
from kamou.core.market.flow import FlowWindows
from kamou.core.model import (
    Account,
    FillReport,
    Income,
    Instrument,
    OrderReport,
    Permissions,
    PositionReport,
    Quote,
)
from kamou.runtime.runners import Runner
from kamou.venue.engine import Engine
from kamou.venue.market.market import MadeInDays, MarketSource

T = TypeVar("T")

# A twin is dropped if the interval of its last read ended longer ago than this. A twin has up to 4
# days of bars, each of about 30 MB at 2,000 symbols.
TWIN_KEPT_MS = 60_000


class EngineReads:
    """The reads of one engine, which the caller has advanced to the present.

    ``runner`` reads days that are not in memory, from a twin of a market that is ``MadeInDays``.
    """

    def __init__(self, engine: Engine, clock: Clock, runner: Runner) -> None:
        self.engine = engine
        self.twin: MadeInDays | None = None  # for reads of the past
        # Computed once, because isinstance with a protocol compares every member.
        self._in_days = engine.source if isinstance(engine.source, MadeInDays) else None
        self._clock = clock
        self._runner = runner
        self._twin_read_at_ms = 0

    def data_ms(self) -> int:
        """Return the time in ms up to which market data can be read."""
        return self._clock.now_ms()

    async def instruments(self) -> tuple[Instrument, ...]:
        return self.engine.source.instruments

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        until_ms = min(until_ms, self.data_ms())
        return await self._read_market(
            since_ms, until_ms, lambda market: market.bars(period_ms, since_ms, until_ms)
        )

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        until_ms = min(until_ms, self.data_ms())
        return await self._read_market(
            since_ms, until_ms, lambda market: market.open_interest(since_ms, until_ms)
        )

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        until_ms = min(until_ms, self.data_ms())
        return await self._read_market(
            since_ms, until_ms, lambda market: market.funding_rates(since_ms, until_ms)
        )

    async def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        until_ms = min(until_ms, self.data_ms())
        return await self._read_market(
            since_ms, until_ms, lambda market: market.long_short_ratios(since_ms, until_ms)
        )

    async def premium_index(self, since_ms: int, until_ms: int) -> Series:
        until_ms = min(until_ms, self.data_ms())
        return await self._read_market(
            since_ms, until_ms, lambda market: market.premium_index(since_ms, until_ms)
        )

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        until_ms = min(until_ms, self.data_ms())
        return await self._read_market(
            since_ms, until_ms, lambda market: market.flow_windows(since_ms, until_ms)
        )

    async def _read_market(
        self, since_ms: int, until_ms: int, read: Callable[[MarketSource], T]
    ) -> T:
        """Return ``read`` of the market, or of its twin on the runner if days are missing."""
        in_days = self._in_days
        if in_days is None or in_days.holds(since_ms, until_ms):
            return read(self.engine.source)
        if self.twin is None:
            self.twin = in_days.twin()
        self._twin_read_at_ms = until_ms
        return await self._runner(read, self.twin)

    def drop_idle_twin(self, now_ms: int) -> None:
        """Drop a twin if the interval of its last read ended over ``TWIN_KEPT_MS`` ago."""
        if self.twin is not None and now_ms - self._twin_read_at_ms > TWIN_KEPT_MS:
            self.twin = None

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        return self.engine.quotes(symbols)

    async def marks_at(self, symbols: tuple[str, ...], at_ms: int) -> dict[str, Decimal]:
        """Return the engine's mark prices at ``at_ms``, rounded to the present tick size.

        A symbol without a market then, and any symbol at a future time, is absent.
        """
        if at_ms > self.data_ms():
            return {}
        mid_prices = await self._read_market(at_ms, at_ms + 1, lambda market: market.prices(at_ms))
        return self.engine.marks_of(mid_prices, symbols)

    async def account(self) -> Account:
        return self.engine.account()

    async def positions(self) -> tuple[PositionReport, ...]:
        return self.engine.positions()

    async def open_orders(self) -> tuple[OrderReport, ...]:
        return self.engine.open_orders()

    async def order(self, client_order_id: str) -> OrderReport | None:
        return self.engine.order(client_order_id)

    async def fills(self, since_ms: int) -> tuple[FillReport, ...]:
        return self.engine.fills(since_ms)

    async def income(self, since_ms: int) -> tuple[Income, ...]:
        return self.engine.income(since_ms)

    async def permissions(self) -> Permissions:
        """Return permissions that allow trading, and no withdrawals or transfers."""
        return Permissions(trade=True, withdraw=False, transfer=False)

    async def server_time_ms(self) -> int:
        return self._clock.now_ms()
