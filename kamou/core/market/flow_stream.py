"""A stream of quotes and market trades, in batches, and its windows of order flow.

A batch says which interval it covers, so that a lost, repeated or late batch shows. What is
doubtful makes a window unknown, never wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.order_flow import BookLevels
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.core.market.flow_gatherer import QUOTE_COLUMNS, FlowGatherer


@attrs.frozen(kw_only=True, eq=False)
class FlowUpdates:
    """All quotes and market trades of a stream's symbols in ``(since_ms, until_ms]``.

    The first batch of a stream begins when the stream was opened, and each further one where the
    batch before ended. Columns index the symbols that were asked for. Quotes are in the order of
    their time, as ``[quotes, levels]``, with quantities in base units. A level that the book does
    not have is NaN.
    """

    since_ms: int
    until_ms: int
    quote_ms: Ints  # ``[quotes]``, times of the venue
    quote_columns: Ints
    book: BookLevels
    trade_ms: Ints  # ``[trades]``
    trade_columns: Ints
    quantity: Floats  # base units
    bought: npt.NDArray[np.bool_]  # the taker was the buyer


class StreamedFlow:
    """The windows of one stream, each closed once and in the order of time.

    A window has figures only for symbols whose quotes and trades came complete, in order and
    sound, from its start to its end, and not too late. The first window is unknown, because its
    start was missed.

    Args:
        symbols: the symbols of the stream.
        now_ms: the present; the first window is the one that contains it.
    """

    def __init__(self, symbols: tuple[str, ...], now_ms: int) -> None:
        self.end_ms = now_ms - now_ms % FLOW_WINDOW_MS + FLOW_WINDOW_MS  # of the open window
        self._gatherer = FlowGatherer(symbols)
        self._all = np.arange(len(symbols))
        self._reached_ms: int | None = None  # end of the newest batch; None: none came

    def lose(self) -> None:
        """Note that the stream broke, so the open window is unknown."""
        self._gatherer.interrupt(self._all)

    def take(self, batch: FlowUpdates) -> list[FlowWindows]:
        """Add a batch, and return the windows that it completes.

        A batch that came before is dropped. After a gap or an overlap the open window is unknown.
        """
        if self._reached_ms is not None and batch.until_ms <= self._reached_ms:
            return []
        gap = batch.since_ms != self._reached_ms
        misplaced = _find_misplaced(batch)
        # Rows before the open window belong to one that was closed without them.
        from_ms = max(batch.since_ms, self._reached_ms or 0, self.end_ms - FLOW_WINDOW_MS)
        self._reached_ms = batch.until_ms
        closed: list[FlowWindows] = []
        while True:
            if gap and (not closed or self.end_ms - FLOW_WINDOW_MS < batch.since_ms):
                self._gatherer.interrupt(self._all)
            self._add(batch, from_ms, min(self.end_ms, batch.until_ms))
            self._gatherer.interrupt(misplaced)
            if self.end_ms > batch.until_ms:
                return closed
            from_ms = self.end_ms
            closed.append(self._close())

    def close_late(self, until_ms: int) -> list[FlowWindows]:
        """Return the windows that ended by ``until_ms`` and are open; they are unknown."""
        closed = []
        while self.end_ms <= until_ms:
            self._gatherer.interrupt(self._all)
            closed.append(self._close())
        return closed

    def _close(self) -> FlowWindows:
        window = self._gatherer.close(self.end_ms)
        self.end_ms += FLOW_WINDOW_MS
        return window

    def _add(self, batch: FlowUpdates, from_ms: int, until_ms: int) -> None:
        """Add the rows of ``(from_ms, until_ms]``, all of the open window."""
        rows = np.flatnonzero((from_ms < batch.quote_ms) & (batch.quote_ms <= until_ms))
        for part in _split_by_symbol(rows, batch.quote_columns[rows]):
            book = BookLevels(**{name: getattr(batch.book, name)[part] for name in QUOTE_COLUMNS})
            self._gatherer.take_quotes(batch.quote_columns[part], book)
        traded = (from_ms < batch.trade_ms) & (batch.trade_ms <= until_ms)
        self._gatherer.take_trades(
            batch.trade_columns[traded], batch.quantity[traded], batch.bought[traded]
        )


def _find_misplaced(batch: FlowUpdates) -> Ints:
    """Return the symbols with rows outside of the interval or quotes out of order."""
    found = []
    for at_ms, columns in (
        (batch.quote_ms, batch.quote_columns),
        (batch.trade_ms, batch.trade_columns),
    ):
        found.append(columns[(at_ms <= batch.since_ms) | (at_ms > batch.until_ms)])
    by_symbol = np.argsort(batch.quote_columns, kind="stable")
    columns, at_ms = batch.quote_columns[by_symbol], batch.quote_ms[by_symbol]
    found.append(columns[1:][(np.diff(at_ms) < 0) & (np.diff(columns) == 0)])
    return np.concatenate(found)


def _split_by_symbol(rows: Ints, columns: Ints) -> Iterator[Ints]:
    """Yield each symbol's first row, then each symbol's second row, and so on."""
    by_symbol = np.argsort(columns, kind="stable")
    ordered = columns[by_symbol]
    place = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    for turn in range(int(place.max(initial=-1)) + 1):
        yield rows[by_symbol[place == turn]]
