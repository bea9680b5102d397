"""``FaultyAnswers``: answers of the venue, some stale, damaged or incomplete."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import TypeVar

import attrs
import numpy as np

from kamou.clock import Clock
from kamou.core.day import HOUR_MS
from kamou.core.market.bars import Bars, Series, empty_series
from kamou.core.market.flow import FlowWindows, empty_flow
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import FillReport, Income, OrderReport, PositionReport, Quote
from kamou.exchange.engine_reads import EngineReads
from kamou.runtime.runners import run_inline
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.venue.engine import Engine

T = TypeVar("T")

NAN = Decimal("nan")
_COLUMNS = ("open", "high", "low", "close", "volume")


SOURCE_STALE_MS = 3 * HOUR_MS  # more than two periods of each source


class SourceDamage(StrEnum):
    """What ``bad_sources`` does to an answer."""

    MISSING = "no observation"
    STALE = "no observation of the last 3 h"
    NOT_A_NUMBER = "every value is NaN"
    OTHER_UNIT = "every value is 100 times larger"


_FACTORS = {SourceDamage.NOT_A_NUMBER: np.nan, SourceDamage.OTHER_UNIT: 100.0}


class FaultyAnswers(EngineReads):
    """The answers of a venue with the faults of ``Chaos``; its clock has true time."""

    def __init__(self, engine: Engine, chaos: Chaos, true_clock: Clock) -> None:
        super().__init__(engine, true_clock, run_inline)
        self._chaos = chaos
        self._true = true_clock

    def data_ms(self) -> int:
        """Return the time in ms up to which the venue serves market data."""
        now_ms = self._true.now_ms()
        frozen = self._chaos.inside(FaultName.FROZEN_FEED, now_ms)
        if frozen:
            return frozen[0]
        stale = self._chaos.inside(FaultName.STALE_FEED, now_ms)
        return now_ms - min(90_000, now_ms - stale[0]) if stale else now_ms

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        bars = await super().bars(period_ms, since_ms, until_ms)
        if not len(bars.open_ms) or not self._chaos.inside(FaultName.BAD_DATA, self._true.now_ms()):
            return bars
        draw = self._chaos.draw(FaultName.BAD_DATA)
        row, column = draw.randrange(len(bars.open_ms)), draw.randrange(len(bars.symbols))
        kind = draw.randrange(3)
        if kind == 0:  # a bar is missing
            keep = np.arange(len(bars.open_ms)) != row
            return attrs.evolve(
                bars,
                open_ms=bars.open_ms[keep],
                **{name: getattr(bars, name)[keep] for name in _COLUMNS},
            )
        bad = {name: getattr(bars, name).copy() for name in _COLUMNS}
        for name in _COLUMNS if kind == 1 else ("close",):
            bad[name][row, column] = np.nan
        return attrs.evolve(bars, **bad)

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return self._damage_series(await super().open_interest(since_ms, until_ms))

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        return self._damage_series(await super().funding_rates(since_ms, until_ms))

    async def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        return self._damage_series(await super().long_short_ratios(since_ms, until_ms))

    async def premium_index(self, since_ms: int, until_ms: int) -> Series:
        return self._damage_series(await super().premium_index(since_ms, until_ms))

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        flow = await super().flow_windows(since_ms, until_ms)
        damage = self._draw_damage(len(flow.end_ms))
        if damage is SourceDamage.MISSING:
            return empty_flow(flow.symbols)
        if damage is SourceDamage.STALE:
            kept = flow.end_ms <= self._true.now_ms() - SOURCE_STALE_MS
            return attrs.evolve(flow, end_ms=flow.end_ms[kept], values=flow.values[kept])
        return flow if damage is None else attrs.evolve(flow, values=flow.values * _FACTORS[damage])

    def _damage_series(self, series: Series) -> Series:
        """Return the series as it is, or damaged in one way inside of ``bad_sources``."""
        damage = self._draw_damage(len(series.available_ms))
        if damage is SourceDamage.MISSING:
            return empty_series(series.symbols, series.period_ms)
        if damage is SourceDamage.STALE:
            return series.between(0, self._true.now_ms() - SOURCE_STALE_MS)
        if damage is None:
            return series
        return attrs.evolve(series, values=series.values * _FACTORS[damage])

    def _draw_damage(self, rows: int) -> SourceDamage | None:
        """Return the damage of a source with ``rows`` observations; None: none."""
        if not rows or not self._chaos.inside(FaultName.BAD_SOURCES, self._true.now_ms()):
            return None
        return self._chaos.draw(FaultName.BAD_SOURCES).choice(list(SourceDamage))

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        quotes = self._late_quotes(await super().quotes(symbols))
        if quotes and self._chaos.inside(FaultName.BAD_DATA, self._true.now_ms()):
            draw = self._chaos.draw(FaultName.BAD_DATA)
            symbol = sorted(quotes)[draw.randrange(len(quotes))]
            quote = quotes[symbol]
            match draw.randrange(4):
                case 0:
                    quotes[symbol] = attrs.evolve(quote, bid=quote.ask, ask=quote.bid)
                case 1:
                    quotes[symbol] = attrs.evolve(quote, mark=NAN)
                case 2:
                    quotes[symbol] = attrs.evolve(quote, ask=NAN)
                case 3:
                    del quotes[symbol]
        return quotes

    def _late_quotes(self, quotes: dict[str, Quote]) -> dict[str, Quote]:
        """Return the quotes as of the time up to which data is served."""
        data_ms = self.data_ms()
        if data_ms >= self._true.now_ms():
            return quotes
        prices = self.engine.source.prices(data_ms)
        late: dict[str, Quote] = {}
        for symbol, quote in quotes.items():
            price = prices[self.engine.source.symbols.index(symbol)]
            tick = self.engine.instruments[symbol].tick
            then = round_to_tick(Decimal(repr(float(price))), tick, ROUND_FLOOR)
            late[symbol] = attrs.evolve(quote, bid=then, ask=then + tick, mark=then, at_ms=data_ms)
        return late

    async def marks_at(self, symbols: tuple[str, ...], at_ms: int) -> dict[str, Decimal]:
        marks = await super().marks_at(symbols, at_ms)
        if marks and self._chaos.inside(FaultName.BAD_DATA, self._true.now_ms()):
            draw = self._chaos.draw(FaultName.BAD_DATA)
            symbol = sorted(marks)[draw.randrange(len(marks))]
            if draw.randrange(2):
                marks[symbol] = NAN
            else:
                del marks[symbol]
        return marks

    async def positions(self) -> tuple[PositionReport, ...]:
        return self._lie(await super().positions())

    async def open_orders(self) -> tuple[OrderReport, ...]:
        return self._lie(await super().open_orders())

    async def fills(self, since_ms: int) -> tuple[FillReport, ...]:
        return self._lie(await super().fills(since_ms))

    async def income(self, since_ms: int) -> tuple[Income, ...]:
        return self._lie(await super().income(since_ms))

    def _lie(self, listed: tuple[T, ...]) -> tuple[T, ...]:
        """Return the list, without one of its rows if ``lying_venue`` strikes."""
        if not listed or not self._chaos.chance(FaultName.LYING_VENUE, self._true.now_ms()):
            return listed
        out = self._chaos.draw(FaultName.LYING_VENUE).randrange(len(listed))
        return listed[:out] + listed[out + 1 :]
