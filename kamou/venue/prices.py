"""``MarketPrices``: the market of all symbols at one instant, as one value.

It never changes. A later instant, and a changed contract specification, make another value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cached_property

import attrs

from kamou.clock import floor_ms
from kamou.core.arrays import Floats
from kamou.core.market.fill_prices import nearest_tick, next_tick_against
from kamou.core.model import BPS, Instrument, OrderSide, Quote
from kamou.errors import RejectedError
from kamou.venue.computed import Computed
from kamou.venue.market.market import MarketSource, Segment
from kamou.venue.model_protocols import FillModel


@attrs.frozen(kw_only=True)
class Spot:
    """One symbol's market at an instant."""

    instrument: Instrument
    mid: float
    half_spread_bps: float
    volume: float  # of the last closed bar, in base units


@attrs.frozen(kw_only=True)
class SymbolPath:
    """One symbol's price path over an interval that ends at the market time."""

    instrument: Instrument
    open: float
    high: float
    low: float
    volume: float  # on the path, in base units; 0 inside an unfinished recorded bar
    bar_volume: float  # of the last whole bar, in base units; it sets the slippage of stops
    range_atr: float  # of the widest bar
    half_spread_bps: float

    def reached(self, side: OrderSide) -> float:
        """Return the extreme that triggers a stop of ``side``: the low for a sell."""
        return side.worse(self.low, self.high)


@attrs.frozen(kw_only=True)
class _Columns:
    """A source with its columns and fill model, which never change."""

    source: MarketSource
    number: Mapping[str, int]  # symbol -> column
    fill: FillModel


@attrs.frozen(kw_only=True, eq=False)
class MarketPrices:
    """Mids, mark prices, volumes and quotes at an instant, for given instruments.

    Mark prices, volumes, spreads and quotes are computed at their first read, because most of them
    are never read.
    """

    at_ms: int
    instruments: Mapping[str, Instrument]
    mids: Floats  # [symbols]; NaN for a symbol without a market
    _columns: _Columns
    _marks: dict[str, Decimal | None] = attrs.field(factory=dict, init=False)
    _quotes: dict[str, Quote] = attrs.field(factory=dict, init=False)

    def mark(self, symbol: str) -> Decimal | None:
        """Return the symbol's mark price; None if it has no market."""
        if symbol not in self._marks:
            mid = float(self.mids[self._columns.number[symbol]])
            known = mid == mid
            tick = self.instruments[symbol].tick
            self._marks[symbol] = nearest_tick(mid, tick) if known else None
        return self._marks[symbol]

    def marks(self, symbols: Iterable[str]) -> dict[str, Decimal]:
        """Return the mark prices of the symbols; a symbol without a market is absent."""
        marks = {symbol: self.mark(symbol) for symbol in symbols if symbol in self._columns.number}
        return {symbol: mark for symbol, mark in marks.items() if mark is not None}

    @cached_property
    def bar_volumes(self) -> Floats:
        """The volumes of the last whole bar in base units, ``[symbols]``."""
        source = self._columns.source
        end_ms = floor_ms(self.at_ms, source.step_ms)
        volumes: Floats = source.segment(end_ms - source.step_ms, end_ms).volume
        return volumes

    @cached_property
    def _half_spreads_bps(self) -> Floats:
        """Half the quoted spreads in basis points of mid, ``[symbols]``."""
        return self._columns.source.half_spread_bps(self.at_ms)

    def spot(self, symbol: str) -> Spot:
        """Return the market that an order in this symbol trades against.

        Raises:
            RejectedError: ``INSTRUMENT_UNKNOWN``, the source has no such symbol, or
                ``MARKET_UNAVAILABLE``, the symbol has no market now.
        """
        column = self._columns.number.get(symbol)
        if column is None:
            raise RejectedError("INSTRUMENT_UNKNOWN", symbol)
        mid = float(self.mids[column])
        if mid != mid:
            raise RejectedError("MARKET_UNAVAILABLE", symbol)
        return Spot(
            instrument=self.instruments[symbol],
            mid=mid,
            half_spread_bps=float(self._half_spreads_bps[column]),
            volume=float(self.bar_volumes[column]),
        )

    def path_of(self, path: Segment, column: int) -> SymbolPath:
        """Return one symbol's part of a path that ends at ``at_ms``."""
        return SymbolPath(
            instrument=self.instruments[self._columns.source.symbols[column]],
            open=float(path.open[column]),
            high=float(path.high[column]),
            low=float(path.low[column]),
            volume=float(path.volume[column]),
            bar_volume=float(self.bar_volumes[column]),
            range_atr=float(path.range_atr[column]),
            half_spread_bps=float(self._half_spreads_bps[column]),
        )

    def quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        """Return the best quotes; a symbol without a market is absent.

        Bid and ask are on the tick. Their quantities are the contracts that one order may take.
        """
        return {symbol: self._quote(symbol, mark) for symbol, mark in self.marks(symbols).items()}

    def _quote(self, symbol: str, mark: Decimal) -> Quote:
        quote = self._quotes.get(symbol)
        if quote is None:
            quote = self._quotes[symbol] = self._make_quote(self.spot(symbol), mark)
        return quote

    def _make_quote(self, spot: Spot, mark: Decimal) -> Quote:
        half = spot.half_spread_bps * BPS
        tick = spot.instrument.tick
        depth = self._columns.fill.depth(spot.instrument, spot.volume)
        return Quote(
            symbol=spot.instrument.symbol,
            bid=next_tick_against(spot.mid * (1.0 - half), tick, OrderSide.SELL),
            ask=next_tick_against(spot.mid * (1.0 + half), tick, OrderSide.BUY),
            bid_qty=depth,
            ask_qty=depth,
            mark=mark,
            at_ms=self.at_ms,
        )


class PriceReader:
    """The prices of one source at any instant."""

    def __init__(self, source: MarketSource, fill: FillModel) -> None:
        self.column = {symbol: number for number, symbol in enumerate(source.symbols)}
        self._source = source
        self._columns = _Columns(
            source=source,
            number=self.column,
            fill=fill,
        )
        self._newest: Computed[MarketPrices] = Computed()

    def at(self, at_ms: int, instruments: Mapping[str, Instrument]) -> MarketPrices:
        """Return the prices at an instant, without a read if the last call asked for them."""
        return self._newest.get(
            (at_ms, instruments),
            lambda: self.make_prices(self._source.prices(at_ms), at_ms, instruments),
        )

    def make_prices(
        self, mids: Floats, at_ms: int, instruments: Mapping[str, Instrument]
    ) -> MarketPrices:
        """Return the prices at an instant from its mids, which the caller has read."""
        return MarketPrices(at_ms=at_ms, instruments=instruments, mids=mids, columns=self._columns)
