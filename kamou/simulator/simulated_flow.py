"""Quotes and trades of a simulated venue, and its stream of them with faults.

They follow no price of the simulated market, so the figures of a window stay the same whatever the
market's faults do.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from kamou.clock import Clock
from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.order_flow import LEVELS, BookLevels
from kamou.core.market.flow_gatherer import QUOTE_COLUMNS
from kamou.core.market.flow_stream import FlowUpdates
from kamou.exchange.flow_streams import FlowStreams
from kamou.runtime.runners import run_inline
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.venue.market.market import MarketSource

EVERY_MS = 5_000  # between two quotes of a symbol, and from each to the trade after it
TRADE_AFTER_MS = 1_700


def draw_number(at_ms: Ints, columns: Ints, salt: int, most: int) -> Ints:
    """Return numbers from 0 to ``most - 1`` that depend on the arguments only."""
    mixed = (at_ms // 100 * 2_654_435_761 + columns * 40_503 + salt * 97_561) % 4_294_967_291
    numbers: Ints = (mixed * 48_271 % 2_147_483_647) // 7 % most
    return numbers


@attrs.frozen
class SimulatedWalk:
    """The quotes and trades of some symbols of a simulated market."""

    columns: Ints  # of the symbols in the market

    def read(self, from_ms: int, to_ms: int) -> FlowUpdates:
        """Return the quotes and trades of ``(from_ms, to_ms]``."""
        quote_ms, quoted = self._list_times(from_ms, to_ms, 0)
        trade_ms, traded = self._list_times(from_ms, to_ms, TRADE_AFTER_MS)
        market = self.columns[quoted]
        best = 1_000 + draw_number(quote_ms, market, 1, 9)
        spread = 1 + draw_number(quote_ms, market, 2, 3)
        deeper = np.arange(LEVELS)
        bid = (best[:, np.newaxis] - deeper).astype(np.float64)
        ask = (best[:, np.newaxis] + spread[:, np.newaxis] + deeper).astype(np.float64)
        quantities = [
            np.stack(
                [1.0 + draw_number(quote_ms, market, salt + n, 20) for n in range(LEVELS)], axis=1
            )
            for salt in (10, 30)
        ]
        quantity = (1 + draw_number(trade_ms, self.columns[traded], 3, 12)).astype(np.float64)
        return FlowUpdates(
            since_ms=from_ms,
            until_ms=to_ms,
            quote_ms=quote_ms,
            quote_columns=quoted,
            book=BookLevels(bid=bid, bid_qty=quantities[0], ask=ask, ask_qty=quantities[1]),
            trade_ms=trade_ms,
            trade_columns=traded,
            quantity=quantity,
            bought=draw_number(trade_ms, self.columns[traded], 4, 2) == 1,
        )

    def _list_times(self, from_ms: int, to_ms: int, after_ms: int) -> tuple[Ints, Ints]:
        """Return the times of rows, and the places of their symbols."""
        first, last = (
            (from_ms - after_ms) // EVERY_MS + 1,
            (to_ms - after_ms) // EVERY_MS,
        )
        times = np.arange(first, last + 1, dtype=np.int64) * EVERY_MS + after_ms
        width = len(self.columns)
        return np.repeat(times, width), np.tile(np.arange(width), len(times))


class FaultyFlowStreams(FlowStreams):
    """Streams that break, stop, lag, repeat themselves and send what cannot be."""

    def __init__(self, source: MarketSource, chaos: Chaos, clock: Clock) -> None:
        super().__init__(source, run_inline)
        self._chaos = chaos
        self._true = clock
        self._held: dict[tuple[str, ...], tuple[FlowUpdates, bool]] = {}

    def change(self, symbols: tuple[str, ...], batch: FlowUpdates) -> Sequence[FlowUpdates] | None:
        """Return the batches to send instead of ``batch``; None: the stream breaks."""
        chaos, now_ms = self._chaos, self._true.now_ms()
        held, swapped = self._held.pop(symbols, (None, False))
        if chaos.inside(FaultName.DISCONNECT, now_ms):
            return None
        if chaos.inside(FaultName.HALF_OPEN, now_ms):
            return ()
        if held is not None:
            return (batch, held) if swapped else (held, batch)
        if not chaos.chance(FaultName.FLOW_TROUBLE, now_ms):
            return (batch,)
        return self._spoil(symbols, batch)

    def _spoil(self, symbols: tuple[str, ...], batch: FlowUpdates) -> Sequence[FlowUpdates] | None:
        draw = self._chaos.draw(FaultName.FLOW_TROUBLE)
        match draw.randrange(7):
            case 0:  # the stream breaks
                return None
            case 1:  # a batch is lost
                return ()
            case 2:  # a batch comes with the next one
                self._held[symbols] = (batch, False)
                return ()
            case 3:  # a batch comes after the next one
                self._held[symbols] = (batch, True)
                return ()
            case 4:  # a batch comes twice
                return (batch, batch)
            case 5:  # rows are in another order, with times of before
                turned = slice(None, None, -1)
                columns, at_ms = (
                    batch.quote_columns[turned],
                    batch.quote_ms[turned] - EVERY_MS,
                )
                book = BookLevels(
                    **{name: getattr(batch.book, name)[turned] for name in QUOTE_COLUMNS}
                )
                return (attrs.evolve(batch, quote_ms=at_ms, quote_columns=columns, book=book),)
        bid, quantity = batch.book.bid.copy(), batch.quantity.copy()
        _spoil_one(bid[:, 0], draw.randrange(2**31), 1e9)
        _spoil_one(quantity, draw.randrange(2**31), float("nan"))
        return (attrs.evolve(batch, book=attrs.evolve(batch.book, bid=bid), quantity=quantity),)


def read_rows(column: int, from_ms: int, to_ms: int) -> FlowUpdates:
    """Return one symbol's quotes and trades of ``(from_ms, to_ms]`` at the venue."""
    return SimulatedWalk(np.array([column])).read(from_ms, to_ms)


def _spoil_one(values: Floats, number: int, bad: float) -> None:
    if len(values):
        values[number % len(values)] = bad
