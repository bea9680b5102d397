"""The actor that steps an embedded venue, and the interface of such a venue."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

import attrs
import trio

from kamou.clock import Clock, next_ms
from kamou.core.book.updates import VenueEvent
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.messages.orders import ReconcileNow
from kamou.runtime.mailbox_sides import Outbox

# Time before midnight at which the next day is generated, which takes seconds on a busy machine.
MADE_AHEAD_MS = HOUR_MS


class SteppedPort(Protocol):
    """A venue in this process, whose market moves only if it is stepped or used."""

    async def step(self, to_ms: int) -> bool:
        """Advance to ``to_ms``; return True if updates may have been lost."""
        ...

    async def catch_up(self, to_ms: int) -> None: ...

    async def prepare(self, at_ms: int) -> None: ...

    async def stream_flow(self) -> None:
        """Send the streams of quotes and trades their batches, until cancelled."""
        ...

    def events(self) -> trio.MemoryReceiveChannel[VenueEvent]: ...


@attrs.frozen(kw_only=True, eq=False)
class ExchangeActor:
    """The actor that steps the venue and forwards its updates to the order manager.

    A step is due at each multiple of ``step_ms``. The order manager's mailbox never blocks: a full
    one drops the update and asks the reconciler to reconcile.
    """

    _port: SteppedPort
    _clock: Clock
    _step_ms: int
    _orders: Outbox[VenueEvent]
    _reconciler: Outbox[ReconcileNow]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move the market to the present, report started, then step it with the clock."""
        await self._port.catch_up(self._clock.now_ms())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._forward)
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._make_ahead)
            nursery.start_soon(self._port.stream_flow)
            task_status.started()

    async def _forward(self) -> None:
        with self._port.events() as pushed:
            async for event in pushed:
                self._orders.put_nowait(event)
                # All that wait in one turn of the loop; a fill comes with the end of its order.
                with suppress(trio.WouldBlock, trio.EndOfChannel):
                    while True:
                        self._orders.put_nowait(pushed.receive_nowait())

    async def _keep_time(self) -> None:
        while True:
            due_ms = next_ms(self._clock.now_ms(), self._step_ms)
            await self._clock.sleep_until(due_ms)
            if await self._port.step(max(due_ms, self._clock.now_ms())):
                self._reconciler.put_nowait(ReconcileNow())

    async def _make_ahead(self) -> None:
        """Generate the next day's market ``MADE_AHEAD_MS`` before each midnight."""
        while True:
            midnight_at_ms = next_ms(self._clock.now_ms(), DAY_MS)
            await self._clock.sleep_until(midnight_at_ms - MADE_AHEAD_MS)
            await self._port.prepare(midnight_at_ms)
            await self._clock.sleep_until(midnight_at_ms)
