"""WebSocket connections over wsproto on Trio's sockets."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress

import attrs
import h11
import trio
import wsproto
from wsproto import events

from kamou.exchange.trio_ccxt.addresses import Address, find_proxy, read_address

SOCKET_MESSAGE_BYTES_MAX = 10 * 1024 * 1024  # as ccxt's own client
SOCKET_READ_BYTES = 65_536
CLOSE_WAIT_S = 2.0  # for the close frame to go out; the peer's answer is not awaited
CLOSED_ABNORMALLY = 1006
TOO_BIG = 1009


class WebSocketError(Exception):
    """The handshake failed, or the connection ended without a close frame.

    ``retry_after_s`` is the wait that the server demanded when it rejected the handshake.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


@attrs.frozen
class Closed:
    """The peer closed the connection, with its code."""

    code: int


@attrs.frozen
class Pong:
    """The peer answered a ping frame."""


Received = str | bytes | Pong | Closed


@attrs.define(eq=False)
class WebSocket:
    """An open connection. One task receives; any task sends."""

    _stream: trio.abc.Stream
    _machine: wsproto.WSConnection
    _sending: trio.Lock = attrs.field(init=False, factory=trio.Lock)
    _parts: list[str | bytes] = attrs.field(init=False, factory=list)  # of an unfinished message
    _parts_length: int = attrs.field(init=False, default=0)
    closed: bool = attrs.field(init=False, default=False)

    async def receive(self) -> list[Received]:
        """Wait for data and return the complete messages in order, or none.

        Pings are answered here. After ``Closed`` nothing more comes.

        Raises:
            WebSocketError: the connection ended without a close frame.
        """
        try:
            data = await self._stream.receive_some(SOCKET_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.closed = True
            raise WebSocketError("the connection broke") from error
        if not data:
            self.closed = True
            raise WebSocketError("the connection ended without a close frame")
        self._machine.receive_data(bytes(data))
        return await self.take_received()

    async def take_received(self) -> list[Received]:
        """Return the messages that are complete in the data read so far."""
        received: list[Received] = []
        for event in self._machine.events():
            if isinstance(event, events.TextMessage | events.BytesMessage):
                message = self._join(event)
                if message is not None:
                    received.append(message)
            elif isinstance(event, events.Ping):
                await self._send(event.response())
            elif isinstance(event, events.Pong):
                received.append(Pong())
            elif isinstance(event, events.CloseConnection):
                received.append(await self._end(event.code, event.response()))
            if self._parts_length > SOCKET_MESSAGE_BYTES_MAX:
                received.append(await self._end(TOO_BIG, events.CloseConnection(TOO_BIG)))
            if self.closed:
                break
        return received

    def _join(self, event: events.TextMessage | events.BytesMessage) -> str | bytes | None:
        """Return the message that an event completes, or keep its part and return None."""
        data = event.data if isinstance(event.data, str) else bytes(event.data)
        if event.message_finished and not self._parts and len(data) <= SOCKET_MESSAGE_BYTES_MAX:
            return data
        self._parts.append(data)
        self._parts_length += len(data)
        if not event.message_finished or self._parts_length > SOCKET_MESSAGE_BYTES_MAX:
            return None
        parts, self._parts, self._parts_length = self._parts, [], 0
        if isinstance(data, str):
            return "".join(part for part in parts if isinstance(part, str))
        return b"".join(part for part in parts if isinstance(part, bytes))

    async def _end(self, code: int, answer: events.Event) -> Closed:
        if self._machine.state is not wsproto.connection.ConnectionState.CLOSED:
            with trio.move_on_after(CLOSE_WAIT_S):
                await self._send(answer)
        self.closed = True
        return Closed(code)

    async def send_text(self, text: str) -> None:
        """Send a text message.

        Raises:
            WebSocketError: the connection is closed or broke.
        """
        if self.closed:
            raise WebSocketError("the connection is closed")
        await self._send(events.TextMessage(text))

    async def ping(self) -> None:
        """Send a ping frame.

        Raises:
            WebSocketError: the connection is closed or broke.
        """
        if self.closed:
            raise WebSocketError("the connection is closed")
        await self._send(events.Ping())

    async def _send(self, event: events.Event) -> None:
        async with self._sending:
            try:
                await self._stream.send_all(self._machine.send(event))
            except (
                trio.BrokenResourceError,
                trio.ClosedResourceError,
                wsproto.utilities.LocalProtocolError,
            ) as error:
                self.closed = True
                raise WebSocketError("the connection broke") from error

    async def aclose(self, code: int = 1000) -> None:
        """Send a close frame if it goes out in ``CLOSE_WAIT_S``, and close the socket.

        The peer's answer is not awaited, because a peer may never send one.
        """
        with trio.CancelScope(shield=True):
            if not self.closed:
                with trio.move_on_after(CLOSE_WAIT_S), suppress(WebSocketError):
                    await self._send(events.CloseConnection(code))
            self.closed = True
            await trio.aclose_forcefully(self._stream)


async def dial(url: str, context: ssl.SSLContext, headers: Mapping[str, str]) -> WebSocket:
    """Connect to a ``wss`` URL; the caller has the deadline.

    A name is resolved by Trio in a thread of its own; a literal address needs none. Compression is
    not offered, because a small frame could then become a huge message.

    Raises:
        ConfigurationError: the URL may not be dialed, or its proxy is invalid.
        WebSocketError: there is no connection, or the server rejected the handshake.
    """
    address = read_address(url, "wss", "the URL of a WebSocket")
    proxy = find_proxy(address)
    try:
        first = address if proxy is None else proxy
        stream: trio.abc.Stream = await trio.open_tcp_stream(first.host, first.port)
    except OSError as error:
        raise WebSocketError(f"no connection to {first.authority}: {error}") from error
    try:
        if proxy is not None:
            await _open_tunnel(stream, address)
        if address.secure:
            stream = trio.SSLStream(stream, context, server_hostname=address.host)
            await stream.do_handshake()
        return await shake_hands(stream, address, headers)
    except (OSError, trio.BrokenResourceError) as error:  # an ssl.SSLError is an OSError
        await trio.aclose_forcefully(stream)
        cause = error.__cause__ or error
        raise WebSocketError(f"no connection to {address.authority}: {cause}") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def shake_hands(
    stream: trio.abc.Stream, address: Address, headers: Mapping[str, str]
) -> WebSocket:
    """Upgrade a connection to WebSocket.

    Raises:
        WebSocketError: the server rejected the upgrade, broke the protocol or closed.
    """
    machine = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    extra = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    request = events.Request(host=address.authority, target=address.target, extra_headers=extra)
    await stream.send_all(machine.send(request))
    rejected: events.RejectConnection | None = None
    while True:
        data = await stream.receive_some(SOCKET_READ_BYTES)
        if not data:
            raise WebSocketError("the connection ended during the handshake")
        try:
            machine.receive_data(bytes(data))
            # What follows the answer stays in the machine for ``take_received``.
            event = next(machine.events(), None)
        except wsproto.utilities.RemoteProtocolError as error:
            raise WebSocketError(f"the answer to the handshake is invalid: {error}") from error
        if isinstance(event, events.AcceptConnection):
            return WebSocket(stream, machine)
        if isinstance(event, events.RejectConnection):
            rejected = event
        if rejected is not None:
            wait_s = _read_retry_after(rejected)
            raise WebSocketError(f"the handshake was rejected: {rejected.status_code}", wait_s)


def _read_retry_after(rejected: events.RejectConnection) -> float | None:
    found = [value for name, value in rejected.headers if name.lower() == b"retry-after"]
    return float(found[0]) if found and found[0].isdigit() and len(found[0]) < 7 else None


async def _open_tunnel(stream: trio.abc.Stream, address: Address) -> None:
    """Ask an HTTP proxy for a tunnel to an address.

    Raises:
        WebSocketError: the proxy refused, broke the protocol or closed.
    """
    host = f"[{address.host}]" if ":" in address.host else address.host
    target = f"{host}:{address.port}"
    machine = h11.Connection(h11.CLIENT)
    request = h11.Request(method="CONNECT", target=target, headers=[("Host", target)])
    data = machine.send(request)
    assert data is not None
    await stream.send_all(data + (machine.send(h11.EndOfMessage()) or b""))
    while True:
        try:
            event = machine.next_event()
        except h11.RemoteProtocolError as error:
            raise WebSocketError(f"the proxy's answer is invalid: {error}") from error
        if event is h11.NEED_DATA:
            machine.receive_data(bytes(await stream.receive_some(SOCKET_READ_BYTES)))
        elif isinstance(event, h11.Response) and 200 <= event.status_code < 300:
            return
        elif not isinstance(event, h11.InformationalResponse):
            status = event.status_code if isinstance(event, h11.Response) else "no answer"
            raise WebSocketError(f"the proxy refused the tunnel: {status}")
