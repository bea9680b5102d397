"""``FlowGatherer``, which sums a stream of quotes and trades to order flow.

It keeps one quote and a few sums for each symbol, however many quotes come, so its memory does not
grow. It knows no time: its owner closes each window.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.order_flow import (
    LEVELS,
    SPREAD,
    TRADE_IMBALANCE,
    WINDOW_FIGURES,
    BookLevels,
    find_contributions,
    find_depths,
    measure_trade_imbalance,
)
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.core.model import BPS_PER_UNIT

QUOTE_COLUMNS = tuple(field.name for field in attrs.fields(BookLevels))


class FlowGatherer:
    """The sums of the open window of each symbol.

    A symbol has figures for a window only if its stream was complete from the start of the window
    to its end. For OFI a quote must have stood at the start, too.
    """

    def __init__(self, symbols: tuple[str, ...]) -> None:
        self.symbols = symbols
        width = len(symbols)
        self._quote: dict[str, Floats] = {
            name: np.full((width, LEVELS), np.nan) for name in QUOTE_COLUMNS
        }
        self._complete = np.zeros(width, dtype=np.bool_)  # since the start of the window
        self._begin(width)

    def _begin(self, width: int) -> None:
        """Begin a window with the quotes that stand."""
        self._sum = np.zeros((width, LEVELS))  # of contributions
        self._new = np.zeros(width)  # number of quotes since the start
        quote = self._quote
        self._depth = (quote["bid_qty"] + quote["ask_qty"]) / 2.0  # sum over the quotes
        self._spread_bps = np.zeros(width)  # sum over the new quotes
        self._bought, self._volume = np.zeros(width), np.zeros(width)

    def take_quote(self, column: int, quote: BookLevels) -> None:
        """Add one quote of a symbol, ``[1, levels]``, with up to ``LEVELS`` levels.

        If the best level is missing, not finite, not positive or crossed, the stream counts as
        interrupted. Such values in deeper levels make their OFI unknown.
        """
        new = {name: _pad(getattr(quote, name)[0]) for name in QUOTE_COLUMNS}
        bid, ask = new["bid"][0], new["ask"][0]
        if not (0 < bid < ask < np.inf and new["bid_qty"][0] > 0 and new["ask_qty"][0] > 0):
            self.interrupt(column)
            return
        pairs = {name: np.stack((self._quote[name][column], new[name])) for name in QUOTE_COLUMNS}
        book = BookLevels(**pairs)
        self._sum[column] += find_contributions(book)[0]
        self._depth[column] += find_depths(book)[1]
        self._spread_bps[column] += _find_spread_bps(bid, ask)
        self._new[column] += 1
        for name in QUOTE_COLUMNS:
            self._quote[name][column] = new[name]

    def take_trade(self, column: int, quantity: float, *, bought: bool) -> None:
        """Add one market trade of a symbol, in base units; ``bought``: its taker bought.

        A quantity that is not finite, 0 or negative interrupts the stream.
        """
        if not 0 < quantity < np.inf:
            self.interrupt(column)
            return
        self._volume[column] += quantity
        self._bought[column] += quantity if bought else 0.0

    def interrupt(self, column: int) -> None:
        """Note that quotes or trades of a symbol may have been lost.

        Call it when the stream breaks, and again when it is back. The symbol's open window then has
        no figures, and its next quote is compared with none.
        """
        self._complete[column] = False
        for name in QUOTE_COLUMNS:
            self._quote[name][column] = np.nan

    def close(self, end_ms: int) -> FlowWindows:
        """Return the window that ends at ``end_ms``, and begin the next one.

        ``end_ms`` is a multiple of ``FLOW_WINDOW_MS``. The spread is the mean of the window's
        quotes; without any, that of the quote that stands.
        """
        assert end_ms % FLOW_WINDOW_MS == 0, end_ms
        width = len(self.symbols)
        values = np.empty((1, WINDOW_FIGURES, width))
        depth = self._depth / (self._new + 1.0)[:, np.newaxis]
        standing = _find_spread_bps(self._quote["bid"][:, 0], self._quote["ask"][:, 0])
        spread = np.where(self._new > 0, self._spread_bps / np.maximum(self._new, 1.0), standing)
        values[0, :LEVELS] = (self._sum / depth).T
        values[0, TRADE_IMBALANCE] = measure_trade_imbalance(self._bought, self._volume)
        values[0, SPREAD] = spread
        values[:, :, ~self._complete] = np.nan
        self._complete[:] = True
        self._begin(width)
        return FlowWindows(
            symbols=self.symbols, end_ms=np.array([end_ms], dtype=np.int64), values=values
        )


def _find_spread_bps(bid: Floats, ask: Floats) -> Floats:
    return (ask - bid) / ((ask + bid) / 2.0) * float(BPS_PER_UNIT)


def _pad(levels: Floats) -> Floats:
    """Return ``LEVELS`` finite, positive values, NaN instead of any other."""
    padded = np.full(LEVELS, np.nan)
    padded[: min(LEVELS, len(levels))] = levels[:LEVELS]
    return np.where((padded > 0) & (padded < np.inf), padded, np.nan)
