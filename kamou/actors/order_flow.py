"""The gatherers of order flow, one per shard, which make windows of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import trio

from kamou.actors.gathered_flow import GatheredFlow
from kamou.actors.panel_loader import PanelPart
from kamou.clock import Clock
from kamou.core.market.flow import FlowWindows
from kamou.core.market.flow_stream import FlowUpdates, StreamedFlow
from kamou.exchange.base import ExchangePort
from kamou.runtime.supervision import ChildSpec

SILENT_MS = 30_000  # a stream without a batch for so long is taken as broken
REOPEN_MS = 1_000  # between a break and the next stream


@attrs.frozen(kw_only=True, eq=False)
class OrderFlowGatherer:
    """The actor that gathers one shard's stream into windows.

    It hands each window over once, at the latest ``late_ms`` after its end. A window during which
    the stream broke, was silent, or lagged by more than that at its end is unknown. The state is
    one open window, so a restart loses no more than that.
    """

    _port: ExchangePort
    _clock: Clock
    _part: PanelPart
    _index: int
    _gathered: GatheredFlow
    _late_ms: int

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Gather until cancelled."""
        flow = StreamedFlow(self._part.symbols, self._clock.now_ms())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, flow)
            nursery.start_soon(self._close_late, flow)
            task_status.started()

    async def _receive(self, flow: StreamedFlow) -> None:
        """Read one stream after the other."""
        while True:
            with self._port.flow_updates(self._part.symbols) as stream:
                self._gathered.note_stream(self._index, is_open=True)
                try:
                    while (batch := await _receive_batch(stream)) is not None:
                        self._put(flow.take(batch))
                finally:
                    self._gathered.note_stream(self._index, is_open=False)
            flow.lose()
            await self._clock.sleep_until(self._clock.now_ms() + REOPEN_MS)

    async def _close_late(self, flow: StreamedFlow) -> None:
        """Close each window as unknown if it is still open ``late_ms`` after its end."""
        while True:
            await self._clock.sleep_until(flow.end_ms + self._late_ms)
            self._put(flow.close_late(self._clock.now_ms() - self._late_ms))

    def _put(self, windows: Sequence[FlowWindows]) -> None:
        for window in windows:
            self._gathered.put(self._index, window)


async def _receive_batch(stream: trio.MemoryReceiveChannel[FlowUpdates]) -> FlowUpdates | None:
    """Return the next batch; None if the stream ended or was silent for ``SILENT_MS``."""
    with trio.move_on_after(SILENT_MS / 1000):
        try:
            return await stream.receive()
        except trio.EndOfChannel:
            pass
    return None


def make_gatherers(
    gathered: GatheredFlow | None, port: ExchangePort, clock: Clock, late_ms: int
) -> tuple[ChildSpec, ...]:
    """Return a gatherer for each part of ``gathered``.

    Args:
        gathered: takes the windows; None: there are no gatherers.
        port: has the capability ``flow_stream``.
        clock: the clock of the actors.
        late_ms: time after its end at which a window that is still open becomes unknown.
    """

    if gathered is None:
        return ()
    make = partial(OrderFlowGatherer, port=port, clock=clock, gathered=gathered, late_ms=late_ms)

    def make_child(index: int, part: PanelPart) -> ChildSpec:
        async def start(task_status: trio.TaskStatus[None]) -> None:
            await make(index=index, part=part).run(task_status)

        return ChildSpec(id=f"order_flow-{index}", start=start)

    return tuple(make_child(index, part) for index, part in enumerate(gathered.parts))
