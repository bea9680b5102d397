"""``Connection``: one accepted socket, from its first request to its close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

import attrs
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from starlette.types import ASGIApp, Message, Receive, Scope

from kamou.http.http11 import Http11, HypercornParts, SendToStream
from kamou.http.limits import Limits
from kamou.http.peer_socket import PeerSocket, SendResult
from kamou.http.traffic import Cut, Traffic

RECEIVE_BYTES = 16 * 1024  # maximum of one read

PeerAddress = tuple[str, int] | None  # host and port; None on a Unix socket


@attrs.frozen(kw_only=True)
class Shared:
    """Objects that all connections of one listener use."""

    app: ASGIApp
    limits: Limits
    traffic: Traffic
    config: Config
    context: WorkerContext
    address: PeerAddress  # the address of the listener


class Connection:
    """Server of one accepted socket; ``run`` returns when the socket is closed.

    At most two tasks use the socket: the reader, and the application that responds. The scope of
    the connection limits all their waits. The deadline of the scope is that of the idle time
    between requests, or that of the whole request.
    """

    def __init__(self, wire: PeerSocket, peer: PeerAddress, shared: Shared) -> None:
        self._wire = wire
        self._shared = shared
        self._limits = shared.limits
        self._scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._sending = trio.Lock()
        self._tasks: trio.Nursery | None = None
        self._cut: Cut | None = None
        self._lost = False  # a write failed: the peer closed or reset the connection
        self._in_request = False
        self._protocol = Http11(
            parts=HypercornParts(config=shared.config, context=shared.context, tasks=self),
            client=peer,
            server=shared.address,
            send=self._send,
            limits=shared.limits,
            traffic=shared.traffic,
        )

    async def run(self) -> None:
        """Serve until the connection ends.

        Raises:
            ExceptionGroup: the application raised errors, or the system has no memory for a read.
        """
        try:
            with self._scope:
                self._await_request()
                async with trio.open_nursery() as self._tasks:
                    with self._reading:
                        await self._read()
                    await self._protocol.handle(Closed())
                self._in_request = False
                if self._protocol.ignores_input and not self._lost:
                    self._scope.deadline = inf  # finish() has its own limit
                    await self._wire.finish()
            if self._scope.cancelled_caught and self._in_request:
                self._end_early()
        finally:
            self._wire.close()

    def retire(self) -> None:
        """End the connection now if it is idle, else after its response."""
        if not self._in_request:
            self._reading.cancel()

    def cut(self, why: Cut) -> None:
        """End the connection now, even within a request."""
        self._cut = self._cut or why
        self._scope.cancel()

    async def spawn_app(
        self, _app: object, config: Config, scope: Scope, send: SendToStream
    ) -> Callable[[Message], Awaitable[None]]:
        """Start the application for one request; hypercorn's stream calls this.

        Args:
            config: hypercorn's configuration, with the size of the queue.
            scope: the ASGI scope of the request.
            send: takes the application's messages, and None at its end.

        Returns:
            A function that sends a message to the application. At most three are sent (body, end
            of the body, disconnect), so the queue is never full.
        """
        assert self._tasks is not None, "the connection has not started"
        to_app, of_peer = trio.open_memory_channel[Message](config.max_app_queue_size)
        self._tasks.start_soon(self._respond, scope, of_peer.receive, send)
        return to_app.send

    async def _respond(self, scope: Scope, receive: Receive, send: SendToStream) -> None:
        try:
            await self._shared.app(scope, receive, send)
        except Exception:
            await send(None)  # sends 500 if no response has begun; then the connection ends
            raise
        await send(None)

    # --- reading ---------------------------------------------------------------------------------

    async def _read(self) -> None:
        bytes_max = min(RECEIVE_BYTES, self._limits.header_bytes_max)
        while True:
            data = await self._wire.receive(bytes_max)
            if data and not self._in_request:
                self._expect_response()
            await self._protocol.receive(data)
            if not data or self._protocol.ignores_input:
                break
        if self._protocol.busy:
            await trio.sleep_forever()  # until the response ends or the deadline passes

    # --- writing ---------------------------------------------------------------------------------

    async def _send(self, event: Event) -> None:
        """Handle an event of the protocol: write, close, begin or end of a request."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self._reading.cancel()
        elif isinstance(event, Updated) and event.idle:
            if self._protocol.buffered:
                self._expect_response()
            else:
                self._await_request()
        elif not self._in_request:
            self._expect_response()

    async def _write(self, data: bytes) -> None:
        if self._lost:
            return
        try:
            self._sending.acquire_nowait()  # almost always free; this costs no checkpoint
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            sent = await self._wire.send(data, stall_s=self._limits.stall_s)
        finally:
            self._sending.release()
        if sent is SendResult.STALLED:
            self.cut(Cut.STALLED)
            await trio.lowlevel.checkpoint()
        elif sent is SendResult.GONE:
            self._lost = True
            self._reading.cancel()

    # --- deadlines -------------------------------------------------------------------------------

    def _await_request(self) -> None:
        self._in_request = False
        self._scope.deadline = trio.current_time() + self._limits.keep_alive_s
        if self._shared.context.terminated.is_set():
            self._reading.cancel()

    def _expect_response(self) -> None:
        self._in_request = True
        self._scope.deadline = trio.current_time() + self._limits.request_s

    def _end_early(self) -> None:
        """Count a connection cut in a request; send an error status, or else reset it."""
        why = self._cut or Cut.SLOW
        self._shared.traffic.cut[why] += 1
        response = b""
        if not self._lost and why is not Cut.STALLED:
            response = self._protocol.finish_with(503 if self._protocol.complete else 408)
        if response:
            self._wire.send_now(response)
        else:
            self._wire.reset()
