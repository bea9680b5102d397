"""``Spots``: a source's mids, marks, volumes and quotes at the market time.

Mids are read from the source once per instant, volumes once per bar.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from kamou.clock import floor_ms
from kamou.core.arrays import Floats
from kamou.core.model import BPS, Instrument, OrderSide, Quote
from kamou.errors import RejectedError
from kamou.venue.market.market import MarketSource, Segment
from kamou.venue.matching import Spot, SymbolPath
from kamou.venue.models import VenueModels, nearest_tick, next_tick_against


class Spots:
    """A source's market at ``now_ms()``. Call ``forget`` when an instrument changes."""

    def __init__(
        self,
        source: MarketSource,
        instruments: dict[str, Instrument],
        models: VenueModels,
        now_ms: Callable[[], int],
    ) -> None:
        self.column = {symbol: i for i, symbol in enumerate(source.symbols)}
        self._source = source
        self._instruments = instruments
        self._models = models
        self._now_ms = now_ms
        self._half_spread = source.half_spread_bps()
        self._priced_ms = -1
        self._volume_ms = -1

    def forget(self) -> None:
        """Drop the marks, because an instrument's tick size changed."""
        self._priced_ms = -1

    def _mids(self) -> Floats:
        """Return the mids now, ``[symbols]``; NaN for a symbol without a market."""
        now_ms = self._now_ms()
        if self._priced_ms != now_ms:
            self._prices: Floats = self._source.prices(now_ms)
            self._priced_ms = now_ms
            self._marks: dict[str, Decimal | None] = {}  # computed from these prices
        return self._prices

    def mark(self, symbol: str) -> Decimal | None:
        """Return the symbol's mark now; None if it has no market."""
        mids = self._mids()
        if symbol not in self._marks:
            self._marks[symbol] = self._mark(symbol, mids)
        return self._marks[symbol]

    def marks_of(self, mids: Floats, symbols: tuple[str, ...]) -> dict[str, Decimal]:
        """Return the marks for ``mids``, on the present tick sizes.

        A symbol without a market is absent.
        """
        marks = {symbol: self._mark(symbol, mids) for symbol in symbols if symbol in self.column}
        return {symbol: mark for symbol, mark in marks.items() if mark is not None}

    def _mark(self, symbol: str, mids: Floats) -> Decimal | None:
        mid = float(mids[self.column[symbol]])
        return None if mid != mid else nearest_tick(mid, self._instruments[symbol].tick)

    def _bar_volumes(self) -> Floats:
        """Return the volumes of the last whole bar in base units, ``[symbols]``."""
        end = floor_ms(self._now_ms(), self._source.step_ms)
        if self._volume_ms != end:
            self._volumes: Floats = self._source.segment(end - self._source.step_ms, end).volume
            self._volume_ms = end
        return self._volumes

    def spot(self, symbol: str) -> Spot:
        """Return the market that an order in this symbol trades against now.

        Raises:
            RejectedError: ``INSTRUMENT_UNKNOWN``, ``MARKET_UNAVAILABLE``.
        """
        column = self.column.get(symbol)
        if column is None:
            raise RejectedError("INSTRUMENT_UNKNOWN", symbol)
        mid = float(self._mids()[column])
        if mid != mid:
            raise RejectedError("MARKET_UNAVAILABLE", symbol)
        return Spot(
            instrument=self._instruments[symbol],
            mid=mid,
            half_spread_bps=float(self._half_spread[column]),
            volume=float(self._bar_volumes()[column]),
            at_ms=self._now_ms(),
        )

    def path_of(self, path: Segment, column: int) -> SymbolPath:
        """Return one symbol's part of a path that ends now."""
        return SymbolPath(
            instrument=self._instruments[self._source.symbols[column]],
            open=float(path.open[column]),
            high=float(path.high[column]),
            low=float(path.low[column]),
            volume=float(path.volume[column]),
            bar_volume=float(self._bar_volumes()[column]),
            range_atr=float(path.range_atr[column]),
            half_spread_bps=float(self._half_spread[column]),
            at_ms=self._now_ms(),
        )

    def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        """Return the best quotes now; a symbol without a market is absent.

        Bid and ask are on the tick. Their quantities are the contracts that one order may take.
        """
        quotes: dict[str, Quote] = {}
        for symbol in symbols:
            mark = self.mark(symbol) if symbol in self.column else None
            if mark is None:
                continue
            spot = self.spot(symbol)
            half = spot.half_spread_bps * BPS
            tick = spot.instrument.tick
            depth = self._models.fill.depth(spot.instrument, spot.volume)
            quotes[symbol] = Quote(
                symbol=symbol,
                bid=next_tick_against(spot.mid * (1.0 - half), tick, OrderSide.SELL),
                ask=next_tick_against(spot.mid * (1.0 + half), tick, OrderSide.BUY),
                bid_qty=depth,
                ask_qty=depth,
                mark=mark,
                at_ms=spot.at_ms,
            )
        return quotes
