"""The simulated venue: an engine with the requests on their way to it.

The requests outlive the processes, so a request arrives at its time even if its sender was killed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import attrs

from kamou.core.book.updates import VenueEvent
from kamou.core.model import OrderReport
from kamou.errors import RejectedError
from kamou.venue.engine import Engine
from kamou.venue.state import OrderRequest


@attrs.define(eq=False)
class OnTheWire:
    """A request that was sent; ``answer`` has the response after its arrival.

    The response to a cancel that succeeded is None.
    """

    arrives_ms: int
    act: Callable[[], OrderReport | None]
    answer: OrderReport | RejectedError | None = None
    arrived: bool = False


class Venue:
    """The engine with the requests on their way to it and the updates of its stream.

    Times are true times.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pushed: list[VenueEvent] = []  # updates since the stream was last read
        self._wire: list[tuple[int, int, OnTheWire]] = []
        self._sent = 0

    def advance(self, to_ms: int) -> None:
        """Move the market to ``to_ms``; due requests arrive on the way."""
        while self._wire and self._wire[0][0] <= to_ms:
            at_ms, _, sent = heapq.heappop(self._wire)
            self.pushed += self.engine.advance(max(at_ms, self.engine.market_ms))
            sent.arrived = True
            try:
                sent.answer = sent.act()
            except RejectedError as rejected:
                sent.answer = rejected
            self.pushed += self.engine.take_events()
        self.pushed += self.engine.advance(to_ms)

    def place(
        self, request: OrderRequest, attached: tuple[OrderRequest, ...], arrives_ms: int
    ) -> OnTheWire:
        """Send an order that arrives at ``arrives_ms``."""
        return self._send(arrives_ms, lambda: self.engine.place(request, attached))

    def at(self, at_ms: int, happen: Callable[[], None]) -> None:
        """Schedule a change at the venue for ``at_ms``."""
        self._send(at_ms, happen)

    def cancel(self, client_order_id: str, arrives_ms: int) -> OnTheWire:
        """Send a cancel that arrives at ``arrives_ms``."""
        return self._send(arrives_ms, lambda: self.engine.cancel(client_order_id))

    def _send(self, arrives_ms: int, act: Callable[[], OrderReport | None]) -> OnTheWire:
        sent = OnTheWire(arrives_ms, act)
        self._sent += 1
        heapq.heappush(self._wire, (arrives_ms, self._sent, sent))
        return sent
