"""ccxt's WebSocket client on Trio: one connection to one URL, with its keep-alive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs
import trio
from ccxt.async_support.base.ws.client import Client, json_dumps
from ccxt.base.errors import ExchangeClosedByUser, NetworkError, RequestTimeout

from kamou.errors import ConfigurationError
from kamou.exchange.trio_ccxt.promise import Promise
from kamou.exchange.trio_ccxt.web_socket import (
    CLOSED_ABNORMALLY,
    Closed,
    Pong,
    Received,
    WebSocket,
    WebSocketError,
)

if TYPE_CHECKING:
    from kamou.exchange.trio_ccxt.exchange import TrioExchange


@attrs.frozen
class ClientOptions:
    """Options of a client. ``ping`` makes the venue's own message of a ping."""

    keep_alive_ms: int
    ping: Callable[[TrioClient], object] | None
    headers: Mapping[str, str]


class TrioClient(Client):
    """A client of ccxt whose connection and tasks are Trio's.

    ccxt's parsing code calls ``resolve``, ``reject``, ``future`` and ``send``, and reads
    ``subscriptions``. A connection that ended is not opened again: the exchange forgets the client
    and the next call of a ``watch_...`` method makes a new one.
    """

    def __init__(self, url: str, exchange: TrioExchange, options: ClientOptions) -> None:
        """Keep the options; ``connect`` opens the connection.

        ccxt's own constructor is not called, because it makes a future of asyncio.
        """
        self.url = url
        self.exchange = exchange
        self.options = {"headers": options.headers}
        self.futures: dict[str, Promise] = {}
        self.subscriptions: dict[str, object] = {}
        self.rejections: dict[str, BaseException] = {}
        self.keepAlive = options.keep_alive_ms
        self.ping = options.ping
        self.on_message_callback = exchange.handle_message
        self.connected = Promise()
        self.connecting = False
        self.connection: WebSocket | None = None
        self.last_retry_after: float | None = None
        self.dial_failed = False
        self._tasks = trio.CancelScope()
        self._woke = False  # the last message resolved a promise that was waited for

    def future(self, message_hash: str) -> Promise:
        """Return the promise of a message hash; make one if there is none."""
        promise = self.futures.setdefault(message_hash, Promise())
        error = self.rejections.pop(message_hash, None)
        if error is not None:
            promise.reject(error)
        return promise

    def resolve(self, result: object, message_hash: str) -> object:
        """Show the tap an update, and give it to the task that waits for its message hash."""
        self.exchange.wire.tap.take_update(message_hash, result)
        self._woke = self._woke or message_hash in self.futures
        return super().resolve(result, message_hash)

    def connect(self, _session: object = None, backoff_delay: float = 0) -> Promise:
        """Begin to connect, once, after a delay in s; return the promise of it."""
        if not self.connecting and self.connection is None:
            self.connecting = True
            self.exchange.wire.background.start_soon(self._run, backoff_delay)
        return self.connected

    def closed(self) -> bool:
        """Return True if there is no open connection."""
        return self.connection is None or self.connection.closed

    async def send(self, message: object) -> None:
        """Send a text, or a value as JSON.

        Raises:
            NetworkError: the connection is closed or broke.
        """
        if self.connection is None:
            raise NetworkError("cannot send: the connection is closed")
        try:
            text = message if isinstance(message, str) else json_dumps(message)
            await self.connection.send_text(text)
        except WebSocketError as error:
            raise NetworkError(f"cannot send: {error}") from error

    async def _run(self, delay_s: float) -> None:
        """Connect and serve the connection until it ends or ``close`` is called."""
        with self._tasks:
            await trio.sleep(delay_s)
            await self._dial()
            if self.connection is not None:
                try:
                    await self._serve(self.connection)
                finally:
                    await self.connection.aclose()

    async def _dial(self) -> None:
        """Open the connection, or end the client with the error."""
        timeout_s = self.connectionTimeout / 1000
        try:
            with trio.fail_after(timeout_s):
                self.connection = await self.exchange.wire.dial_socket(
                    self.url, self.options["headers"]
                )
        except (WebSocketError, ConfigurationError) as error:
            self.dial_failed = True
            self.last_retry_after = getattr(error, "retry_after_s", None)
            self.on_error(NetworkError(str(error)))
        except trio.TooSlowError:
            self.dial_failed = True
            self.on_error(RequestTimeout(f"no WebSocket connection in {timeout_s:g} s"))
        else:
            self.exchange.on_connected(self)
            self.connected.resolve(self.url)

    async def _serve(self, connection: WebSocket) -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._keep_alive, connection)
            await self._receive(connection)
            tasks.cancel_scope.cancel()

    async def _receive(self, connection: WebSocket) -> None:
        """Pass messages on until the connection ends."""
        try:
            batch = await connection.take_received()
            while True:
                for message in batch:
                    self._handle(message)
                    if self._woke:
                        # A task that calls a ``watch_...`` method in a loop must wait again before
                        # the next message. It wakes in the first turn and waits in the second.
                        self._woke = False
                        await trio.lowlevel.checkpoint()
                        await trio.lowlevel.checkpoint()
                if self.closed() or self.error:
                    return
                batch = await connection.receive()
        except WebSocketError as error:
            if not self.error:
                self.on_error(NetworkError(str(error)))

    def _handle(self, message: Received) -> None:
        """Pass one message to ccxt; one that ccxt cannot read ends the client."""
        if self.error:
            return
        if isinstance(message, Closed):
            self.on_close(message.code)
            return
        if isinstance(message, Pong):
            self.lastPong = self.exchange.milliseconds()
            return
        try:
            self.handle_text_or_binary_message(message)
        except Exception as error:
            # The error may be the venue's answer to a subscription, or a message of a form that
            # ccxt does not expect. Either way this connection can no longer be trusted.
            failure = NetworkError(f"a message was not understood: {error!r}")
            failure.__cause__ = error
            self.on_error(failure)

    async def _keep_alive(self, connection: WebSocket) -> None:
        """Ping the venue; if it does not answer, or takes no data, end the client."""
        while self.keepAlive and not self.closed():
            await trio.sleep(self.keepAlive / 1000)
            now_ms = self.exchange.milliseconds()
            if self.lastPong is None:
                self.lastPong = now_ms
            if self.lastPong + self.keepAlive * self.maxPingPongMisses < now_ms:
                self.on_error(RequestTimeout("the venue did not answer the pings"))
                return
            try:
                with trio.fail_after(self.keepAlive / 1000):
                    if self.ping:
                        await self.send(self.ping(self))
                    else:
                        await connection.ping()
            except (NetworkError, WebSocketError, trio.TooSlowError) as error:
                if not self.error:
                    self.on_error(NetworkError(f"cannot ping: {error}"))
                return

    def on_error(self, error: BaseException) -> None:
        """End the client: reject what waits, tell the exchange and close the connection."""
        self.error = error
        self.reject(error)
        self.exchange.on_error(self, error)
        self._tasks.cancel()

    def on_close(self, code: int = CLOSED_ABNORMALLY) -> None:
        """End the client after the venue closed the connection."""
        if not self.error:
            self.reject(NetworkError(f"the venue closed the connection with code {code}"))
        self.exchange.on_close(self, code)
        self._tasks.cancel()

    async def close(self, _code: int = 1000) -> None:
        """End the client; tasks that wait for it get ``ExchangeClosedByUser``."""
        await trio.lowlevel.checkpoint()
        self.error = self.error or ExchangeClosedByUser("the connection was closed")
        self.reject(self.error)
        self._tasks.cancel()
