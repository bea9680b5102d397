"""``TapeWalk``, which reads the tape of the generated market forward."""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Ints
from kamou.core.indicators.order_flow import LEVELS, BookLevels
from kamou.core.market.flow import FLOW_WINDOW_MS
from kamou.core.market.flow_gatherer import QUOTE_COLUMNS
from kamou.core.market.flow_stream import FlowUpdates
from kamou.venue.market.tape import (
    MarketTrades,
    TapeMarket,
    WindowQuotes,
    measure_part_ms,
    quotes_of_window,
    trades_of_part,
)

NO_TIMES = np.empty(0, dtype=np.int64)


class TapeWalk:
    """The quotes and market trades of some symbols, for reads that go forward.

    The quotes of one window and the trades of one part are kept in memory, so reads of short
    intervals cost little. A window of 60 symbols takes about 20 ms of CPU time.
    """

    def __init__(self, market: TapeMarket, symbols: tuple[str, ...]) -> None:
        """Prepare the walk.

        Raises:
            ValueError: the market does not have one of the symbols.
        """
        self._market = market
        self._columns = np.array([market.symbols.index(each) for each in symbols], dtype=np.int64)
        self._quotes: tuple[int, WindowQuotes] | None = None
        self._trades: tuple[int, list[MarketTrades]] | None = None

    def read(self, from_ms: int, to_ms: int) -> FlowUpdates:
        """Return the quotes and trades of ``(from_ms, to_ms]``.

        There are none before the origin. Rows are in the order of time, and those of one time in
        the order of the symbols.
        """
        quote_ms, quote_columns, book = self._read_quotes(from_ms, to_ms)
        found = [
            (place, trades, (from_ms < trades.at_ms) & (trades.at_ms <= to_ms))
            for part in self._find_spans(from_ms, to_ms, measure_part_ms(self._market))
            for place, trades in enumerate(self._trades_of(part))
        ]
        trade_ms = np.concatenate([NO_TIMES, *(trades.at_ms[kept] for _, trades, kept in found)])
        places = [np.full(np.count_nonzero(kept), place) for place, _, kept in found]
        quantity = [trades.quantity[kept] for _, trades, kept in found]
        bought = [trades.bought[kept] for _, trades, kept in found]
        order = np.argsort(trade_ms, kind="stable")
        return FlowUpdates(
            since_ms=from_ms,
            until_ms=to_ms,
            quote_ms=quote_ms,
            quote_columns=quote_columns,
            book=book,
            trade_ms=trade_ms[order],
            trade_columns=np.concatenate([NO_TIMES, *places])[order],
            quantity=np.concatenate([np.empty(0), *quantity])[order],
            bought=np.concatenate([np.empty(0, dtype=np.bool_), *bought])[order],
        )

    def _read_quotes(self, from_ms: int, to_ms: int) -> tuple[Ints, Ints, BookLevels]:
        width = len(self._columns)
        found = []
        for window in self._find_spans(from_ms, to_ms, FLOW_WINDOW_MS):
            quotes = self._quotes_of(window)
            found.append((quotes, (from_ms < quotes.at_ms) & (quotes.at_ms <= to_ms)))
        at_ms = np.concatenate([NO_TIMES, *(quotes.at_ms[kept] for quotes, kept in found)])
        none = np.empty((0, width, LEVELS))
        levels = {
            name: np.concatenate([none, *(getattr(each.book, name)[kept] for each, kept in found)])
            for name in QUOTE_COLUMNS
        }
        book = BookLevels(**{name: each.reshape(-1, LEVELS) for name, each in levels.items()})
        return np.repeat(at_ms, width), np.tile(np.arange(width), len(at_ms)), book

    def _find_spans(self, from_ms: int, to_ms: int, length_ms: int) -> range:
        """Return the numbers of the spans that touch ``(from_ms, to_ms]``."""
        first = max(0, (from_ms - self._market.first_ms) // length_ms)
        return range(first, max(first, -((self._market.first_ms - to_ms) // length_ms)))

    def _quotes_of(self, window: int) -> WindowQuotes:
        if self._quotes is None or self._quotes[0] != window:
            self._quotes = (window, quotes_of_window(self._market, self._columns, window))
        return self._quotes[1]

    def _trades_of(self, part: int) -> list[MarketTrades]:
        if self._trades is None or self._trades[0] != part:
            self._trades = (part, trades_of_part(self._market, self._columns, part))
        return self._trades[1]
