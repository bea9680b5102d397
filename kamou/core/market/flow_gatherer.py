"""``FlowGatherer``, which sums a stream of quotes and trades to order flow.

It keeps one quote and a few sums for each symbol, however many quotes come, so its memory does not
grow. It knows no time: its owner closes each window.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from kamou.core.arrays import Floats, Ints
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

    def take_quotes(self, columns: Ints, quotes: BookLevels) -> None:
        """Add one quote of each of some symbols, ``[symbols, levels]``; none twice.

        Up to ``LEVELS`` levels count. If the best level is missing, not finite, not positive or
        crossed, the stream counts as interrupted. Such values in deeper levels make their OFI
        unknown.
        """
        new = {name: _pad(getattr(quotes, name)) for name in QUOTE_COLUMNS}
        best = {name: levels[:, 0] for name, levels in new.items()}
        sound = (best["bid"] < best["ask"]) & (best["bid_qty"] > 0) & (best["ask_qty"] > 0)
        self.interrupt(columns[~sound])
        columns = columns[sound]
        new = {name: levels[sound] for name, levels in new.items()}
        pairs = {name: np.stack((self._quote[name][columns], new[name])) for name in QUOTE_COLUMNS}
        book = BookLevels(**pairs)
        self._sum[columns] += find_contributions(book)[0]
        self._depth[columns] += find_depths(book)[1]
        self._spread_bps[columns] += _find_spread_bps(new["bid"][:, 0], new["ask"][:, 0])
        self._new[columns] += 1
        for name in QUOTE_COLUMNS:
            self._quote[name][columns] = new[name]

    def take_trades(self, columns: Ints, quantity: Floats, bought: npt.NDArray[np.bool_]) -> None:
        """Add market trades, each ``[trades]``; a symbol may have several.

        Args:
            columns: the symbol of each trade.
            quantity: base units; if it is not finite, 0 or negative, the stream counts as
                interrupted.
            bought: True if the taker bought.
        """
        sound = (quantity > 0) & (quantity < np.inf)
        self.interrupt(columns[~sound])
        columns, quantity = columns[sound], quantity[sound]
        np.add.at(self._volume, columns, quantity)
        np.add.at(self._bought, columns, np.where(bought[sound], quantity, 0.0))

    def interrupt(self, columns: Ints | int) -> None:
        """Note that quotes or trades of these symbols may have been lost.

        Call it when the stream breaks, and again when it is back. The open windows of the symbols
        then have no figures, and their next quotes are compared with none.
        """
        self._complete[columns] = False
        for name in QUOTE_COLUMNS:
            self._quote[name][columns] = np.nan

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
    """Return ``[symbols, LEVELS]`` finite, positive values, NaN instead of any other."""
    padded = np.full((len(levels), LEVELS), np.nan)
    width = min(LEVELS, levels.shape[1])
    padded[:, :width] = levels[:, :width]
    return np.where((padded > 0) & (padded < np.inf), padded, np.nan)
