"""HTTP over httpx: the one module of this room that knows the library."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import httpx
import trio

from kamou.exchange.trio_ccxt.addresses import Address, find_proxy, read_address

VENUE_RESPONSE_BYTES_MAX = 16 * 1024 * 1024  # KuCoin's list of 500 contracts has about 1 MB
KEEP_ALIVE_S = 15  # an idle connection is closed before a venue or a proxy would do so
CONNECTIONS_MAX = 20
# Errors after which the venue has certainly not received the request.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class TransportError(Exception):
    """A request has no complete response.

    ``may_have_arrived`` is False if the venue has certainly not received the request.
    """

    def __init__(self, reason: str, *, may_have_arrived: bool) -> None:
        super().__init__(reason)
        self.may_have_arrived = may_have_arrived


class TransportTimeoutError(TransportError):
    """The response was not complete in time; the venue may have received the request."""


@attrs.frozen
class HttpResponse:
    """A complete response. Headers of one name are joined with a comma."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


@attrs.define
class HttpClient:
    """Sends requests over kept connections, one pool for each proxy."""

    _context: ssl.SSLContext
    _clients: dict[Address | None, httpx.AsyncClient] = attrs.field(init=False, factory=dict)

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
    ) -> HttpResponse:
        """Send one request and return its response; nothing is repeated or redirected.

        The path and the query go out letter by letter, because they may be signed.

        Raises:
            ConfigurationError: the URL may not be dialed, or its proxy is invalid.
            TransportError: there is no complete response, or a too large or compressed one.
            TransportTimeoutError: there is none after ``timeout_s``.
        """
        address = read_address(url, "https", "the URL of a request")
        client = self._client(find_proxy(address))
        request = client.build_request(
            method,
            f"{address.scheme}://{address.authority}",
            headers={**headers, "Accept-Encoding": "identity"},
            content=body,
            extensions={"target": address.target.encode("ascii")},
        )
        with trio.move_on_after(timeout_s) as scope:
            try:
                return await _receive(client, request)
            except UNSENT as error:
                raise TransportError(_explain(error), may_have_arrived=False) from error
            except httpx.HTTPError as error:
                raise TransportError(_explain(error), may_have_arrived=True) from error
        assert scope.cancelled_caught
        raise TransportTimeoutError(f"no response in {timeout_s:g} s", may_have_arrived=True)

    def _client(self, proxy: Address | None) -> httpx.AsyncClient:
        if proxy not in self._clients:
            self._clients[proxy] = httpx.AsyncClient(
                verify=self._context,
                proxy=None if proxy is None else f"http://{proxy.authority}",
                limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEP_ALIVE_S),
                timeout=None,  # ``send`` has a deadline for the whole
                trust_env=False,  # it would also read passwords from ~/.netrc
                follow_redirects=False,
            )
        return self._clients[proxy]

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()


async def _receive(client: httpx.AsyncClient, request: httpx.Request) -> HttpResponse:
    response = await client.send(request, stream=True)
    try:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise TransportError("the response is compressed", may_have_arrived=True)
        body = bytearray()
        try:
            async for part in response.aiter_raw():
                body += part
                if len(body) > VENUE_RESPONSE_BYTES_MAX:
                    # Ends the loop by an error: httpx's generators are not closed by a break.
                    await response.aclose()
        except (httpx.HTTPError, httpx.StreamError):
            if len(body) <= VENUE_RESPONSE_BYTES_MAX:
                raise
        if len(body) > VENUE_RESPONSE_BYTES_MAX:
            reason = f"the response has more than {VENUE_RESPONSE_BYTES_MAX} bytes"
            raise TransportError(reason, may_have_arrived=True)
    finally:
        with trio.CancelScope(shield=True):
            await response.aclose()
    headers = {name.title(): value for name, value in response.headers.items()}
    return HttpResponse(response.status_code, response.reason_phrase, headers, bytes(body))


def _explain(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def make_tls_context() -> ssl.SSLContext:
    """Return the checks of certificates; it obeys ``SSL_CERT_FILE``."""
    return httpx.create_ssl_context()


@asynccontextmanager
async def open_http_client(context: ssl.SSLContext) -> AsyncIterator[HttpClient]:
    """Open a client; its connections are closed at the end."""
    client = HttpClient(context)
    try:
        yield client
    finally:
        with trio.CancelScope(shield=True):
            await client.aclose()
