"""Where WebSockets are dialed: the operator's address, and through a proxy's tunnel."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from ccxt.base import errors

from kamou.clock import SimulatedClock
from kamou.exchange.trio_ccxt.addresses import read_address
from kamou.exchange.trio_ccxt.kucoin_futures import open_kucoin_futures
from kamou.exchange.trio_ccxt.web_socket import WebSocketError, _open_tunnel
from kamou.exchange.trio_ccxt.wire import Endpoints
from tests.exchange.trio_ccxt.kucoin_server import ENDPOINT, Answer, open_server, success, ticker
from tests.exchange.trio_ccxt.test_kucoin_futures import BITCOIN, START_MS, TOPIC

VENUE = read_address("wss://a.example/endpoint", "wss", "a test")


def name_endpoint(url: str) -> Answer:
    return success({"token": "t", "instanceServers": [{"endpoint": url, "pingInterval": 18_000}]})


async def test_the_operators_address_replaces_the_host_that_the_venue_names() -> None:
    async with open_server() as server, trio.open_nursery() as nursery:
        named = f"ws://127.0.0.1:1{ENDPOINT}"
        server.rules["POST", "/api/v1/bullet-public"] = lambda _: name_endpoint(named)
        server.tokens.append("t")
        endpoints = Endpoints(server.url, server.url.replace("http", "ws"))
        clock = SimulatedClock(START_MS, origin_s=trio.current_time())
        async with open_kucoin_futures(clock, endpoints) as exchange:
            await exchange.load_markets()

            async def push() -> None:
                connection = await server.wait_for_topic(TOPIC)
                await connection.push(TOPIC, "ticker", ticker(1))

            nursery.start_soon(push)
            assert (await exchange.watch_ticker(BITCOIN))["bid"] == 49_999.9


async def test_a_plain_address_that_a_venue_names_outside_of_loopback_is_not_dialed() -> None:
    async with open_server() as server:
        named = "ws://10.1.2.3/endpoint"
        server.rules["POST", "/api/v1/bullet-public"] = lambda _: name_endpoint(named)
        clock = SimulatedClock(START_MS, origin_s=trio.current_time())
        async with open_kucoin_futures(clock, Endpoints(server.url)) as exchange:
            await exchange.load_markets()
            with pytest.raises(errors.NetworkError, match="allowed to this machine only"):
                await exchange.watch_ticker(BITCOIN)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", ""),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "407"),
        (b"not HTTP\r\n\r\n", "invalid"),
        (b"", "invalid|no answer"),
    ],
)
async def test_a_tunnel_is_open_only_after_the_proxys_success(answer: bytes, failure: str) -> None:
    ours, proxy = trio.testing.memory_stream_pair()
    asked = bytearray()

    async def serve() -> None:
        while b"\r\n\r\n" not in asked:
            asked.extend(await proxy.receive_some())
        if answer:
            await proxy.send_all(answer)
        else:
            await proxy.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        if failure:
            with pytest.raises(WebSocketError, match=failure):
                await _open_tunnel(ours, VENUE)
        else:
            await _open_tunnel(ours, VENUE)
    assert asked.startswith(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n")
