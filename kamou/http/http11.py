"""``Http11``: hypercorn's HTTP/1.1 with fewer features, for whole requests only.

hypercorn's ``H11Protocol`` also supports WebSocket and h2c, handles errors of its peer while the
application writes, and queues bodies for applications that never read them. This subclass replaces
the loop that handles h11 events and the sending of responses, and keeps the streams and their
recycling.

``H11Protocol`` is not documented, so hypercorn is pinned to one exact version.
``tests/http/test_hypercorn_canary.py`` lists the parts that are used, and what to do when they
change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, cast

import attrs
import h11
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import (
    Body,
    EndBody,
    Request,
    Response,
    StreamClosed,
)
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState, TaskGroup, WorkerContext
from starlette.types import Message, Scope

from kamou.http.limits import Limits
from kamou.http.request_checks import (
    HttpRefusal,
    Target,
    check_request_head,
    head_too_large,
    parse_target,
)
from kamou.http.traffic import Traffic, TrafficRefusal

BODY_PARTS_MAX = 64  # 8 KB in chunks of one byte would take 100 ms of CPU time
DEAF = frozenset({h11.MUST_CLOSE, h11.CLOSED, h11.ERROR})
CAN_ANSWER = frozenset({h11.IDLE, h11.SEND_RESPONSE})
REASONS = {
    413: TrafficRefusal.BODY,
    431: TrafficRefusal.HEADERS,
    501: TrafficRefusal.METHOD,
    505: TrafficRefusal.VERSION,
}

Send = Callable[[Event], Awaitable[None]]
SendToStream = Callable[[Message | None], Awaitable[None]]
"""Takes a message of an application; None: the application has ended."""


class RequestTasks(Protocol):
    """An object that starts the application once for each request."""

    async def spawn_app(
        self, _app: object, config: Config, scope: Scope, send: SendToStream, /
    ) -> Callable[[Message], Awaitable[None]]:
        """Start the application; return a function that sends a message to it."""
        ...


@attrs.frozen(kw_only=True, eq=False)
class HypercornParts:
    """Configuration, context and tasks that the server passes to hypercorn's protocol."""

    config: Config
    context: WorkerContext
    tasks: RequestTasks


class Http11(H11Protocol):
    """Server side of one connection, from bytes to ASGI and back."""

    connection: h11.Connection

    def __init__(
        self,
        *,
        parts: HypercornParts,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Send,
        limits: Limits,
        traffic: Traffic,
    ) -> None:
        app: Any = None  # ``parts.tasks`` has the application; hypercorn only passes this on
        super().__init__(
            app,
            parts.config,
            parts.context,
            cast(TaskGroup, parts.tasks),  # its only method that is called is ``spawn_app``
            ConnectionState({}),
            ssl=False,
            client=client,
            server=server,
            send=send,
        )
        self._limits = limits
        self._traffic = traffic
        self._body = bytearray()
        self._body_parts = 0
        self._request: Request | None = None  # head received, body not complete
        self._since_read = 0  # requests begun since the last bytes arrived
        self._held_head = b""  # head of a response, sent together with its body
        self._refused = False

    @property
    def busy(self) -> bool:
        """True if a response is in progress."""
        return self.stream is not None

    @property
    def ignores_input(self) -> bool:
        """True if further bytes of the peer are ignored."""
        return self._refused or self.connection.their_state in DEAF

    @property
    def complete(self) -> bool:
        """True if the request is complete, or the peer closed or violated the protocol."""
        return self.connection.their_state not in (h11.IDLE, h11.SEND_BODY)

    @property
    def buffered(self) -> bytes:
        """Bytes that were received and are not parsed yet."""
        return self.connection.trailing_data[0]

    async def receive(self, data: bytes) -> None:
        """Parse bytes of the peer and start the requests in them.

        Bytes after a request with ``Connection: close`` or a rejected one are ignored (RFC 9112,
        9.6), because h11 would raise an error for them while the application responds.
        """
        if self.ignores_input:
            return
        self.connection.receive_data(data)
        self._since_read = 0
        await self._handle_events()

    def finish_with(self, status: int) -> bytes:
        """Return a complete response without a body; empty if none may begin now."""
        if self.connection.our_state not in CAN_ANSWER:
            return b""
        headers = [
            (b"content-length", b"0"),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        head = self.connection.send(h11.Response(status_code=status, headers=headers))
        return head + self.connection.send(h11.EndOfMessage())

    # --- the peer's side -------------------------------------------------------------------------

    async def _handle_events(self) -> None:
        """Handle received events until more bytes are needed or the connection ends."""
        while not self.ignores_input:
            if self.connection.their_state is h11.IDLE and head_too_large(
                self.buffered, self._limits
            ):
                return await self._refuse(HttpRefusal(431, TrafficRefusal.HEADERS))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                return await self._handle_peer_error(error.error_status_hint)
            if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return None
            if event is h11.PAUSED:  # the next request waits for the response to this one
                await self.can_read.clear()
                await self.can_read.wait()
            elif isinstance(event, h11.Request):
                await self._receive_head(event)
            elif isinstance(event, h11.Data):
                await self._receive_body(event)
            elif isinstance(event, h11.EndOfMessage):
                await self._start_request()
        return None

    async def _receive_head(self, request: h11.Request) -> None:
        """Keep the head of a request until its body is complete, or reject the request.

        A client that waits for ``100 Continue`` gets it.
        """
        headers = list(request.headers)
        refused = check_request_head(
            method=request.method,
            version=request.http_version,
            headers=headers,
            limits=self._limits,
        )
        target = parse_target(request.method, request.target)
        if refused is not None or target is None:
            return await self._refuse(refused or HttpRefusal(400, TrafficRefusal.MALFORMED))
        await self.send(Updated(idle=False))
        self._request = Request(
            stream_id=STREAM_ID,
            headers=_with_authority(headers, target),
            http_version=request.http_version.decode("ascii"),
            # A method is case-sensitive (RFC 9110, 9.1). hypercorn treats `head` as HEAD and h11
            # as GET, so the body would be shorter than its stated length.
            method=request.method.decode("ascii"),
            raw_path=target.path,
            state=self.connection_state,
        )
        self._body = bytearray()
        self._body_parts = 0
        if self.connection.they_are_waiting_for_100_continue:
            response = self.connection.send(h11.InformationalResponse(status_code=100, headers=[]))
            await self.send(RawData(data=response or b""))
        return None

    async def _receive_body(self, part: h11.Data) -> None:
        """Collect the body, or reject one with too many bytes or parts.

        hypercorn has no limit for a body.
        """
        self._body += part.data
        self._body_parts += 1
        if len(self._body) > self._limits.body_bytes_max or self._body_parts > BODY_PARTS_MAX:
            await self._refuse(HttpRefusal(413, TrafficRefusal.BODY))

    async def _start_request(self) -> None:
        """Count the complete request and start the application with all of it.

        So the application waits for no peer.
        """
        assert self._request is not None, "the end of a request came before its headers"
        request, self._request = self._request, None
        self._since_read += 1
        self.keep_alive_requests += 1
        self._traffic.requests += 1
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(request)
        if self._body:
            await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(self._body)))
        await self.stream.handle(EndBody(stream_id=STREAM_ID))

    async def _handle_peer_error(self, status: int) -> None:
        _, left = self.connection.trailing_data
        if left:  # the peer closed its side within a request
            await self.send(Closed())
        else:
            await self._refuse(HttpRefusal(status, REASONS.get(status, TrafficRefusal.MALFORMED)))

    async def _refuse(self, refused: HttpRefusal) -> None:
        """Count the rejection; send its status if no response has begun; then close."""
        self._refused = True
        self._traffic.refused[refused.reason] += 1
        response = self.finish_with(refused.status)
        if response:
            await self.send(RawData(data=response))
        await self.send(Closed())

    # --- the application's side ------------------------------------------------------------------

    async def stream_send(self, event: StreamEvent) -> None:
        """Send the application's response, its head with the first part of its body.

        After the response the connection waits for its next request or closes.
        """
        if isinstance(event, StreamClosed):
            await self._maybe_recycle()
        elif isinstance(event, Response):
            self._held_head = self._encode(
                h11.Response(
                    status_code=event.status_code,
                    headers=list(self._response_headers(event.headers)),
                )
            )
        elif isinstance(event, Body):
            await self._flush(self._encode(h11.Data(data=event.data)))
        elif isinstance(event, EndBody):
            await self._flush(self._encode(h11.EndOfMessage()))

    def _response_headers(
        self, given: Iterable[tuple[bytes, bytes]]
    ) -> Iterable[tuple[bytes, bytes]]:
        yield from given
        yield from self.config.response_headers("h11")
        crowded = self._since_read > self._limits.pipelined_max and self.buffered
        if crowded or self.keep_alive_requests >= self._limits.requests_max:
            yield (b"connection", b"close")

    def _encode(self, event: h11.Event) -> bytes:
        try:
            return self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return b""  # the peer violated the protocol first and gets no response

    async def _flush(self, data: bytes) -> None:
        data, self._held_head = self._held_head + data, b""
        if data:
            await self.send(RawData(data=data))


def _with_authority(
    headers: list[tuple[bytes, bytes]], target: Target
) -> list[tuple[bytes, bytes]]:
    if target.authority is None:
        return headers
    return [(b"host", target.authority), *(pair for pair in headers if pair[0] != b"host")]
