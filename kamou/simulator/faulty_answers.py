"""``FaultyAnswers``: answers of the venue, some stale, damaged or incomplete."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from typing import TypeVar

import attrs
import numpy as np

from kamou.clock import Clock
from kamou.core.market.bars import Bars
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import FillReport, Income, OrderReport, PositionReport, Quote
from kamou.exchange.engine_reads import EngineReads
from kamou.runtime.runners import run_inline
from kamou.simulator.faults import Chaos, FaultName
from kamou.venue.engine import Engine

T = TypeVar("T")

NAN = Decimal("nan")
_COLUMNS = ("open", "high", "low", "close", "volume")


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
