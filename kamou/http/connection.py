"""One connection from accept to close: its requests, its deadlines, and why it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import attrs
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext

from kamou.http.http11 import Http11
from kamou.http.limits import Limits
from kamou.http.peer_socket import Sent, Wire
from kamou.http.traffic import Cut, Traffic

RECEIVE_BYTES = 16 * 1024

PeerAddress = tuple[str, int] | None  # host and port; None on a Unix socket


@attrs.frozen(kw_only=True)
class Shared:
    """Objects that all connections of one listener share."""

    app: Any  # an ASGI application
    limits: Limits
    traffic: Traffic
    config: Config
    context: WorkerContext
    address: PeerAddress  # where the listener is bound


class Connection:
    """Serves one accepted socket. ``run`` returns when the socket is closed.

    At most two tasks use the socket: the reader, and the application that answers. The scope of the
    connection bounds all their waits. Its deadline is the idle time between requests, or the whole
    time of a request.
    """

    def __init__(self, wire: Wire, peer: PeerAddress, shared: Shared) -> None:
        self._wire = wire
        self._shared = shared
        self._limits = shared.limits
        self._scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._sending = trio.Lock()
        self._tasks: trio.Nursery | None = None
        self._cut: Cut | None = None
        self._lost = False  # nothing can be written to the peer
        self._in_request = False
        self._protocol = Http11(
            config=shared.config,
            context=shared.context,
            tasks=self,
            client=peer,
            server=shared.address,
            send=self._send,
            limits=shared.limits,
            traffic=shared.traffic,
        )

    async def run(self) -> None:
        """Serve until either side ends it. Raises what the application raises."""
        try:
            with self._scope:
                self._await_request()
                async with trio.open_nursery() as self._tasks:
                    with self._reading:
                        await self._read()
                    await self._protocol.handle(Closed())
                self._in_request = False
                if self._protocol.deaf and not self._lost:
                    self._scope.deadline = inf  # it has a limit of its own
                    await self._wire.finish()
            if self._scope.cancelled_caught and self._in_request:
                self._end_early()
        finally:
            self._wire.close()

    def retire(self) -> None:
        """End the connection now if it is idle, else after its answer."""
        if not self._in_request:
            self._reading.cancel()

    def cut(self, why: Cut) -> None:
        """End the connection now, also within a request."""
        self._cut = self._cut or why
        self._scope.cancel()

    async def spawn_app(
        self, app: Any, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """Start the application for one request; hypercorn's stream asks for this.

        Returns:
            A function that sends the application a message. At most three are sent (body, its
            end, disconnect), so the queue is never full.
        """
        assert self._tasks is not None, "the connection runs"
        to_app, of_peer = trio.open_memory_channel[Any](config.max_app_queue_size)
        self._tasks.start_soon(self._answer, scope, of_peer.receive, send)
        return to_app.send

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._shared.app(scope, receive, send)
        except Exception:
            await send(None)  # 500 if nothing was sent; then the connection ends with its error
            raise
        await send(None)

    # --- reading ---------------------------------------------------------------------------------

    async def _read(self) -> None:
        bytes_max = min(RECEIVE_BYTES, self._limits.header_bytes_max)
        while True:
            data = await self._wire.receive(bytes_max)
            if data and not self._in_request:
                self._expect_answer()
            await self._protocol.receive(data)
            if not data or self._protocol.deaf:
                break
        if self._protocol.busy:
            await trio.sleep_forever()  # until the answer ends, or the deadline passes

    # --- writing ---------------------------------------------------------------------------------

    async def _send(self, event: Event) -> None:
        """Carry out an event of the protocol: write, close, or note a request's begin or end."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self._reading.cancel()
        elif isinstance(event, Updated) and event.idle:
            if self._protocol.buffered:
                self._expect_answer()
            else:
                self._await_request()
        elif not self._in_request:
            self._expect_answer()

    async def _write(self, data: bytes) -> None:
        if self._lost:
            return
        try:
            self._sending.acquire_nowait()  # nearly always free, and costs no checkpoint
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            sent = await self._wire.send(data, stall_s=self._limits.stall_s)
        finally:
            self._sending.release()
        if sent is Sent.STALLED:
            self.cut(Cut.STALLED)
            await trio.lowlevel.checkpoint()
        elif sent is Sent.GONE:
            self._lost = True
            self._reading.cancel()

    # --- deadlines -------------------------------------------------------------------------------

    def _await_request(self) -> None:
        self._in_request = False
        self._scope.deadline = trio.current_time() + self._limits.keep_alive_s
        if self._shared.context.terminated.is_set():
            self._reading.cancel()

    def _expect_answer(self) -> None:
        self._in_request = True
        self._scope.deadline = trio.current_time() + self._limits.request_s

    def _end_early(self) -> None:
        """Count a connection that is cut within a request, and send an error status if possible."""
        why = self._cut or Cut.SLOW
        self._shared.traffic.cut[why] += 1
        said = b""
        if not self._lost and why is not Cut.STALLED:
            said = self._protocol.last_word(503 if self._protocol.complete else 408)
        if said:
            self._wire.send_now(said)
        else:
            self._wire.reset()
