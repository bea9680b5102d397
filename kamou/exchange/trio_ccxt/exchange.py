"""The methods of ccxt's base class that touch asyncio or the clock, on Trio.

``TrioExchange`` stands before an exchange's class of ``ccxt.pro`` in the order of bases. What it
overrides is listed with hashes in ``tests/exchange/trio_ccxt/test_ccxt_contract.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio
from ccxt.async_support.base.exchange import BaseExchange
from ccxt.base.errors import (
    BadResponse,
    BaseError,
    ExchangeClosedByUser,
    ExchangeNotAvailable,
    NetworkError,
    RequestTimeout,
)

from kamou.exchange.trio_ccxt.client import ClientOptions, TrioClient
from kamou.exchange.trio_ccxt.http_client import (
    HttpResponse,
    TransportError,
    TransportTimeoutError,
)
from kamou.exchange.trio_ccxt.promise import Promise, race
from kamou.exchange.trio_ccxt.wire import Wire

SNAPSHOTS_MAX = 5  # tries for one book
SNAPSHOT_PAUSE_S = 0.5  # before the second try, and as much more before each later one


class TrioExchange(BaseExchange):
    """A mixin that runs an exchange of ccxt on a wire and by its clock.

    An error of the transport is raised as ccxt's error, with the ``TransportError`` as its cause.
    """

    def __init__(self, wire: Wire, config: Mapping[str, object]) -> None:
        """Make the exchange with ccxt's configuration; its own throttler stays off."""
        self.wire = wire
        self.clients: dict[str, TrioClient] = {}
        self.connection_ended = trio.Event()  # set, and replaced, when any connection ends
        self._loading = trio.Lock()
        self._books_loading: set[str] = set()
        super().__init__({**config, "enableRateLimit": False})
        if wire.endpoints.rest_url:
            base = wire.endpoints.rest_url.rstrip("/")
            urls = self.urls["api"]
            self.urls["api"] = {
                name: base if isinstance(url, str) else url for name, url in urls.items()
            }

    # --- time ---

    def milliseconds(self) -> int:
        """Return the time of the wire's clock in ms; signatures and nonces are made of it."""
        return self.wire.clock.now_ms()

    def seconds(self) -> int:
        """Return the time of the wire's clock in s."""
        return self.milliseconds() // 1_000

    def microseconds(self) -> int:
        """Return the time of the wire's clock in us, exact to the millisecond."""
        return self.milliseconds() * 1_000

    async def sleep(self, milliseconds: float) -> None:
        """Sleep on Trio's clock."""
        await trio.sleep(milliseconds / 1_000)

    def init_throttler(self, _cost: object = None) -> None:
        """Make no throttler: ccxt's has one bucket for all of a venue's pools."""

    async def throttle(self, _cost: object = None) -> None:
        """Wait for nothing; the pools of ``rate_limits`` hold requests back."""
        await trio.lowlevel.checkpoint()

    # --- tasks ---

    def spawn(self, method: Callable[..., Awaitable[object]], *args: object) -> Promise:
        """Start a call in the background and return the promise of its result."""
        promise = Promise()
        self.wire.background.start_soon(_settle, promise, method, args)
        return promise

    def delay(
        self, timeout: float, method: Callable[..., Awaitable[object]], *args: object
    ) -> Promise:
        """Start a call after a time in ms; return the promise of its result."""

        async def call_later() -> object:
            await self.sleep(timeout)
            return await method(*args)

        return self.spawn(call_later)

    # --- REST ---

    def open(self, lazy: bool = False) -> None:  # noqa: FBT001, FBT002 - as ccxt calls it
        """Open nothing: the wire is open. A closed exchange sends no more requests.

        Raises:
            ExchangeClosedByUser: a request began after ``close``.
        """
        if lazy and self.closed_by_user:
            raise ExchangeClosedByUser(f"{self.id} was closed")

    async def close(self, clean_instance_data: bool = False) -> None:  # noqa: FBT001, FBT002
        """Close all WebSocket connections and refuse later requests."""
        self.closed_by_user = True
        await self.close_ws_clients()
        if clean_instance_data:
            self.clean_ws_data()
            self.clean_rest_data()

    async def fetch(
        self,
        url: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: str | None = None,
    ) -> object:
        """Send one request and return its decoded JSON.

        Raises:
            RequestTimeout: there was no response in ``timeout`` ms; the venue may have acted.
            ExchangeNotAvailable: there is no complete response. The cause, a ``TransportError``,
                says whether the venue may have received the request.
            BadResponse: the response is successful but no JSON; the venue may have acted.
            BaseError: ccxt's error for the venue's answer.
        """
        self.open(lazy=True)
        request_headers = self.prepare_request_headers(headers)
        content = body.encode() if body else None
        try:
            response = await self.wire.http.send(
                method, url, request_headers, content, self.timeout / 1_000
            )
        except TransportTimeoutError as error:
            raise RequestTimeout(self._explain(method, url, error)) from error
        except TransportError as error:
            raise ExchangeNotAvailable(self._explain(method, url, error)) from error
        return self._read_response(response, url, method, request_headers, body)

    def _read_response(
        self,
        response: HttpResponse,
        url: str,
        method: str,
        request_headers: dict[str, str],
        body: str | None,
    ) -> object:
        text = response.body.decode("utf-8", errors="replace").strip()
        decoded = self.parse_json(text)
        self.handle_errors(
            response.status,
            response.reason,
            url,
            method,
            response.headers,
            text,
            decoded,
            request_headers,
            body,
        )
        self.handle_http_status_code(response.status, response.reason, url, method, text)
        if decoded is None or not 200 <= response.status < 300:
            # ccxt would return the text, and its parsers would read it as an empty list.
            raise BadResponse(f"{self._explain(method, url, response.status)}: {text[:200]!r}")
        return decoded

    def _explain(self, method: str, url: str, cause: object) -> str:
        return f"{self.id} {method} {url.partition('?')[0]}: {cause}"

    async def load_markets(
        self,
        reload: bool = False,  # noqa: FBT001, FBT002 - as ccxt calls it
        params: Mapping[str, object] | None = None,
    ) -> object:
        """Load the markets once; calls at the same time wait for the same answer."""
        async with self._loading:
            return await self.load_markets_helper(reload=reload, params=dict(params or {}))

    # --- WebSocket ---

    def client(self, url: str) -> TrioClient:
        """Return the client of a URL; make one if there is none."""
        if url not in self.clients:
            given = {**self.streaming, **self.safe_dict(self.options, "ws", {})}
            options = ClientOptions(
                given["keepAlive"], given.get("ping") or self.ping, given.get("headers") or {}
            )
            self.clients[url] = TrioClient(url, self, options)
        return self.clients[url]

    def watch(
        self,
        url: str,
        message_hash: str,
        message: object = None,
        subscribe_hash: str | None = None,
        subscription: object = None,
    ) -> Promise:
        """Subscribe once and return the promise of the next update of a message hash."""
        client = self.client(url)
        if subscribe_hash is None and message_hash in client.futures:
            return client.futures[message_hash]
        promise = client.future(message_hash)
        key = subscribe_hash or message_hash
        new = [] if client.subscriptions.get(key) else [key]
        self._subscribe(client, new, message, subscription)
        return promise

    def watch_multiple(
        self,
        url: str,
        message_hashes: Sequence[str],
        message: object = None,
        subscribe_hashes: Sequence[str] | None = None,
        subscription: object = None,
    ) -> Promise:
        """Subscribe once and return the promise of the next update of any message hash."""
        client = self.client(url)
        promise = race([client.future(message_hash) for message_hash in message_hashes])
        new = [each for each in subscribe_hashes or () if each not in client.subscriptions]
        self._subscribe(client, new, message, subscription)
        return promise

    def _subscribe(
        self,
        client: TrioClient,
        subscribe_hashes: Sequence[str],
        message: object,
        subscription: object,
    ) -> None:
        """Connect, and send the message once connected if a subscription is new."""
        for each in subscribe_hashes:
            client.subscriptions[each] = subscription or True
        connected = client.connect(None, self.ws_dial_delay(client.url))
        if subscribe_hashes and message:
            connected.call_when_settled(
                lambda _: self.wire.background.start_soon(_send, client, message)
            )

    async def load_order_book(
        self,
        client: TrioClient,
        message_hash: str,
        symbol: str,
        limit: int | None = None,
        params: Mapping[str, object] | None = None,
    ) -> None:
        """Join a snapshot of a book and the increments that came meanwhile.

        A snapshot older than the first increment is asked for again after a pause. After
        ``SNAPSHOTS_MAX`` the client ends with an error, so that its watchers subscribe again. A
        call for a book that is already being loaded does nothing.
        """
        if symbol in self._books_loading:
            return
        self._books_loading.add(symbol)
        try:
            await self._join_snapshot(client, message_hash, symbol, limit, dict(params or {}))
        finally:
            self._books_loading.discard(symbol)

    async def _join_snapshot(
        self,
        client: TrioClient,
        message_hash: str,
        symbol: str,
        limit: int | None,
        params: dict[str, object],
    ) -> None:
        failure: object = "the snapshots are older than the increments"
        for attempt in range(SNAPSHOTS_MAX):
            await trio.sleep(SNAPSHOT_PAUSE_S * attempt)
            try:
                snapshot = await self.fetch_order_book(symbol, limit, params)
            except BaseError as error:
                failure = error
                continue
            book = self.orderbooks.get(symbol)
            if client.error or book is None:
                return
            index = self.get_cache_index(snapshot, book.cache)
            if index >= 0:
                book.reset(snapshot)
                self.handle_book_deltas(book, book.cache[index:])
                book.cache.clear()
                client.resolve(book, message_hash)
                return
        self.orderbooks[symbol] = self.order_book()
        if not client.error:
            client.on_error(NetworkError(f"no snapshot of the book of {symbol}: {failure}"))

    def on_error(self, client: TrioClient, error: BaseException) -> None:
        """Forget a client that failed, and the address with its token."""
        super().on_error(client, error)
        self._note_end(client)

    def on_close(self, client: TrioClient, code: int) -> None:
        """Forget a client that the venue closed, and the address with its token."""
        super().on_close(client, code)
        self._note_end(client)

    def _note_end(self, client: TrioClient) -> None:
        """Forget the address with its token, mark the gap, and tell subscribers."""
        addresses = self.options.get("urls") or {}
        for name, promise in list(addresses.items()):
            used = isinstance(promise, Promise) and promise.done() and not promise.error()
            if used and promise.result() == client.url:
                del addresses[name]
        self.wire.tap.mark_gap()
        self.connection_ended.set()
        self.connection_ended = trio.Event()

    async def close_ws_clients(self) -> None:
        """Close the connection of every client and forget the clients."""
        for client in list(self.clients.values()):
            await client.close()
        self.clients.clear()


async def _settle(
    promise: Promise, method: Callable[..., Awaitable[object]], args: Sequence[object]
) -> None:
    """Settle a promise with the result or the error of a call."""
    try:
        promise.resolve(await method(*args))
    except Exception as error:
        promise.reject(error)


async def _send(client: TrioClient, message: object) -> None:
    try:
        await client.send(message)
    except NetworkError as error:
        if not client.error:
            client.on_error(error)
