"""What an exchange stands on: clock, HTTP, sockets and a nursery."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import trio

from kamou.clock import Clock
from kamou.exchange.trio_ccxt.addresses import read_address
from kamou.exchange.trio_ccxt.http_client import HttpClient, make_tls_context, open_http_client
from kamou.exchange.trio_ccxt.tap import Tap
from kamou.exchange.trio_ccxt.web_socket import WebSocket, dial


@attrs.frozen
class Endpoints:
    """Where the venue is, instead of ccxt's own addresses; an empty text means ccxt's.

    ``rest_url`` and ``ws_url`` are scheme, host and port, such as ``https://api.example.com``.
    """

    rest_url: str = ""
    ws_url: str = ""

    def check(self) -> None:
        """Check both addresses.

        Raises:
            ConfigurationError: one of them may not be dialed.
        """
        if self.rest_url:
            read_address(self.rest_url, "https", "exchange.rest_url")
        if self.ws_url:
            read_address(self.ws_url, "wss", "exchange.ws_url")


@attrs.define(eq=False)
class Wire:
    """The outside of one exchange; its tasks live in ``background``."""

    clock: Clock
    http: HttpClient
    background: trio.Nursery
    endpoints: Endpoints
    tap: Tap
    _context: ssl.SSLContext

    async def dial_socket(self, url: str, headers: Mapping[str, str]) -> WebSocket:
        """Open a WebSocket, at the host of ``endpoints.ws_url`` if that is set."""
        if self.endpoints.ws_url:
            target = read_address(url, "wss", "the URL of a WebSocket").target
            url = self.endpoints.ws_url.rstrip("/") + target
        return await dial(url, self._context, headers)


@asynccontextmanager
async def open_wire(clock: Clock, endpoints: Endpoints, tap: Tap) -> AsyncIterator[Wire]:
    """Open a wire; at the end its tasks are canceled and its connections closed.

    Raises:
        ConfigurationError: an address of the endpoints may not be dialed.
    """
    endpoints.check()
    context = make_tls_context()
    async with open_http_client(context) as http, trio.open_nursery() as background:
        yield Wire(clock, http, background, endpoints, tap, context)
        background.cancel_scope.cancel()
