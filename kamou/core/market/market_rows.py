"""What the whole market did in each bar, which every shard's panel has.

A shard has the bars of its own symbols only, and a strategy may need those of Bitcoin and Ether,
and of all symbols. Whoever reads bars of all symbols computes the rows from each bar alone, so they
are the same in a backtest, after a restart and in every shard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.macro_beta import (
    BITCOIN_MOVE,
    BREADTH,
    ETHER_MOVE,
    MARKET_FIGURES,
    MEAN_MOVE,
)
from kamou.core.market.newest_rows import NewestRows

_BITCOIN_NAME = re.compile(r"(BTC|XBT)(?![A-Z])|(BTC|XBT)USD")
_ETHER_NAME = re.compile(r"ETH(?![A-Z])|ETHUSD")


def find_market_rows(symbols: Sequence[str], opens: Floats, closes: Floats) -> Floats:
    """Return the figures of each bar, ``[bars, MARKET_FIGURES]``; NaN: unknown.

    They are the log returns from open to close of Bitcoin and of Ether, the mean of all symbols,
    and the breadth: symbols that rose less those that fell, over those with a bar.

    Args:
        symbols: all symbols.
        opens: open prices, ``[bars, symbols]``; NaN: no bar.
        closes: close prices, in the same shape.
    """
    rows = np.full((len(opens), MARKET_FIGURES), np.nan)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        moves = np.log(closes / opens)
    known = np.isfinite(moves)
    for figure, name in ((BITCOIN_MOVE, _BITCOIN_NAME), (ETHER_MOVE, _ETHER_NAME)):
        column = next((at for at, symbol in enumerate(symbols) if name.match(symbol)), None)
        if column is not None:
            rows[:, figure] = np.where(known[:, column], moves[:, column], np.nan)
    count = np.count_nonzero(known, axis=1)
    some = count > 0
    total = np.where(known, moves, 0.0).sum(axis=1)
    rows[some, MEAN_MOVE] = total[some] / count[some]
    risen = np.where(known, np.sign(moves), 0.0).sum(axis=1)
    rows[some, BREADTH] = risen[some] / count[some]
    return rows


class MarketRows:
    """The rows of the newest bars of a panel.

    Args:
        window: rows to keep; 0: none.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._rows = NewestRows(window, MARKET_FIGURES)
        self._given: dict[int, Floats] = {}  # by the open time of bars that are still to come

    def give(self, open_ms: Ints, rows: Floats) -> None:
        """Take the rows of bars that are appended next."""
        if self.window:
            self._given.update(zip(open_ms.tolist(), rows, strict=True))

    def push(self, open_ms: Ints) -> None:
        """Append the rows of these bars, NaN where none was given."""
        if not self.window:
            return
        none = np.full(MARKET_FIGURES, np.nan)
        newest_ms = int(open_ms[-1])
        rows = [self._given.get(at_ms, none) for at_ms in open_ms.tolist()]
        self._given = {at_ms: row for at_ms, row in self._given.items() if at_ms > newest_ms}
        self._rows.push_block(np.stack(rows))

    def last(self, n: int) -> Floats:
        """Return the newest ``n`` rows, ``[n, MARKET_FIGURES]``, oldest first."""
        return self._rows.last(n)

    def last_of_block(self, bars: int) -> Floats:
        """Return a block's rows and ``window - 1`` before; empty if none is kept."""
        return self._rows.last_of_block(bars) if self.window else np.empty((0, MARKET_FIGURES))


class MarketReads:
    """The part of a panel that has the rows of the whole market."""

    window: int
    _market: MarketRows

    @property
    def reads_market(self) -> bool:
        """True if a strategy of the panel reads the rows of the whole market."""
        return self._market.window > 0

    def keep_market(self) -> None:
        """Keep a row for each bar of the window; call it before the first bar is added."""
        self._market = MarketRows(self.window)

    def give_market(self, open_ms: Ints, rows: Floats) -> None:
        """Give the rows of bars that are appended next, before these bars.

        Args:
            open_ms: open time of each bar, ``[bars]``.
            rows: as ``find_market_rows`` returns them.
        """
        self._market.give(open_ms, rows)

    def market(self, n: int) -> Floats:
        """Return the whole market's figures of the newest ``n`` bars, oldest first.

        They are ``[n, MARKET_FIGURES]``; see ``find_market_rows``.

        Raises:
            AssertionError: ``n`` is below 1, or more than the window.
        """
        return self._market.last(n)
