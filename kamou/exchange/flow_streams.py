"""``FlowStreams``: an embedded market's open streams of quotes and trades."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from kamou.clock import Clock, next_ms
from kamou.core.market.flow import FLOW_WINDOW_MS
from kamou.core.market.flow_stream import FlowUpdates
from kamou.runtime.runners import Runner
from kamou.venue.market.market import FlowWalk, MadeInDays, MarketSource, WalkedSource

FLOW_STEP_MS = 5_000  # between two batches; the end of each window is one of their times
BATCHES_WAITING_MAX = 64  # unread batches of a stream; it ends before another one


@attrs.define(eq=False)
class _Stream:
    """One stream, with the end of its newest batch."""

    symbols: tuple[str, ...]
    send: trio.MemorySendChannel[FlowUpdates]
    reached_ms: int
    window: int = -1  # of the walk, by the time since the epoch
    walk: FlowWalk | None = None


class FlowStreams:
    """The streams that are open; their quotes are walked only while they are.

    A stream never lacks a batch in its middle. It ends if its reader is
    ``BATCHES_WAITING_MAX`` batches behind, or if it was not sent for the length of a window.
    """

    def __init__(self, source: MarketSource, runner: Runner) -> None:
        """Prepare the streams of ``source``; ``runner`` reads the walks."""
        self._source = source
        self._runner = runner
        self._streams: list[_Stream] = []
        self._opened = trio.Event()

    @property
    def available(self) -> bool:
        """Return True if the market's quotes can be walked."""
        return isinstance(self._source, WalkedSource)

    def open(self, symbols: tuple[str, ...], now_ms: int) -> trio.MemoryReceiveChannel[FlowUpdates]:
        """Return a new stream of these symbols, from ``now_ms`` on.

        Raises:
            ValueError: the market does not have one of the symbols.
        """
        send, receive = trio.open_memory_channel[FlowUpdates](BATCHES_WAITING_MAX)
        self._make_walk(symbols)  # raises for an unknown symbol
        self._streams.append(_Stream(symbols, send, now_ms))
        self._opened.set()
        return receive

    async def run(self, clock: Clock) -> None:
        """Send the streams their batches until cancelled; without a stream only wait."""
        while True:
            if not self._streams:
                self._opened = trio.Event()
                await self._opened.wait()
            await clock.sleep_until(next_ms(clock.now_ms(), FLOW_STEP_MS))
            await self.send(clock.now_ms())

    async def send(self, to_ms: int) -> None:
        """Send the streams what happened since their newest batches, up to ``to_ms``."""
        for stream in tuple(self._streams):
            since_ms = stream.reached_ms
            if to_ms <= since_ms:
                continue
            if to_ms - since_ms > FLOW_WINDOW_MS:
                self.end(stream)
                continue
            window = (to_ms - 1) // FLOW_WINDOW_MS
            if stream.walk is None or stream.window != window:
                # A new twin has the days that are in memory by now.
                stream.window, stream.walk = window, self._make_walk(stream.symbols)
            batch = await self._runner(stream.walk.read, since_ms, to_ms)
            stream.reached_ms = to_ms
            self._deliver(stream, self.change(stream.symbols, batch))

    def change(self, _symbols: tuple[str, ...], batch: FlowUpdates) -> Sequence[FlowUpdates] | None:
        """Return the batches to send instead of ``batch``; None: the stream breaks."""
        return (batch,)

    def end(self, stream: _Stream) -> None:
        """End a stream; its reader still gets the batches that wait."""
        stream.send.close()
        if stream in self._streams:
            self._streams.remove(stream)

    def _deliver(self, stream: _Stream, batches: Sequence[FlowUpdates] | None) -> None:
        try:
            if batches is None:
                self.end(stream)
                return
            for batch in batches:
                stream.send.send_nowait(batch)
        except (trio.WouldBlock, trio.BrokenResourceError):
            self.end(stream)

    def _make_walk(self, symbols: tuple[str, ...]) -> FlowWalk:
        source = self._source
        if isinstance(source, MadeInDays):
            source = source.twin()
        assert isinstance(source, WalkedSource), "the venue has no flow_stream"
        return source.walk_flow(symbols)
