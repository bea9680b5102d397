"""KuCoin Futures of ccxt under Trio, against a server on loopback."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from ccxt.base import errors

from kamou.clock import SimulatedClock
from kamou.errors import ConfigurationError
from kamou.exchange.trio_ccxt.http_client import VENUE_RESPONSE_BYTES_MAX, TransportError
from kamou.exchange.trio_ccxt.kucoin_futures import open_kucoin_futures
from kamou.exchange.trio_ccxt.tap import Tap
from kamou.exchange.trio_ccxt.wire import Endpoints
from tests.exchange.trio_ccxt.kucoin_server import (
    HOLD,
    PING_INTERVAL_MS,
    Answer,
    Connection,
    KucoinServer,
    open_server,
    success,
    ticker,
)

START_MS = 1_700_000_000_000
BITCOIN = "BTC/USDT:USDT"
TOPIC = "/contractMarket/ticker:XBTUSDTM"
KEYS = {"apiKey": "key-1", "secret": "secret-1", "password": "pass-1"}
LIMIT_ORDER = (BITCOIN, "limit", "buy", 3, 49_000.0)


@asynccontextmanager
async def connected(
    config: Mapping[str, object] | None = None,
    tap: Tap | None = None,
) -> AsyncIterator[tuple[KucoinServer, Any]]:
    """Yield a server and the exchange on it; the clock follows Trio's."""
    clock = SimulatedClock(START_MS, origin_s=trio.current_time())
    async with open_server() as server:
        endpoints = Endpoints(rest_url=server.url)
        async with open_kucoin_futures(clock, endpoints, config, tap) as exchange:
            yield server, exchange


async def test_markets_and_tickers_arrive_without_an_asyncio_loop_or_a_new_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbid(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("asyncio has made a loop")

    monkeypatch.setattr(asyncio.BaseEventLoop, "__init__", forbid)
    monkeypatch.setattr(asyncio, "get_event_loop", forbid)
    monkeypatch.setattr(asyncio, "new_event_loop", forbid)
    threads = threading.active_count()
    async with connected() as (server, exchange), trio.open_nursery() as nursery:
        await exchange.load_markets()
        assert exchange.markets[BITCOIN]["contractSize"] == 0.001
        assert exchange.markets[BITCOIN]["taker"] == 0.0006
        updates = []

        async def watch() -> None:
            for _ in range(2):
                updates.append(await exchange.watch_ticker(BITCOIN))

        nursery.start_soon(watch)
        connection = await server.wait_for_topic(TOPIC)
        await connection.push(TOPIC, "ticker", ticker(1))
        await connection.push(TOPIC, "ticker", ticker(2, bid="50001.5"))
    assert [(each["symbol"], each["bid"]) for each in updates] == [
        (BITCOIN, 49_999.9),
        (BITCOIN, 50_001.5),
    ]
    assert [each.path for each in server.requests] == [
        "/api/v1/contracts/active",
        "/api/v1/bullet-public",
    ]
    assert threading.active_count() == threads
    assert connection.token == server.tokens[0] == "token+0=="  # decoded as it was issued


async def test_calls_at_the_same_time_load_the_markets_once() -> None:
    async with connected() as (server, exchange):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(exchange.load_markets)
        assert len(exchange.markets) == 2
        assert len(server.requests) == 1


async def test_a_private_request_is_signed_by_the_clock_and_has_no_partner_headers() -> None:
    async with connected(KEYS) as (server, exchange):
        server.rules["POST", "/api/v1/orders"] = lambda _: success({"orderId": "1"})
        await exchange.load_markets()
        await exchange.create_order(*LIMIT_ORDER, {"clientOid": "mine", "leverage": 3})
        assert [each.path for each in server.requests] == [
            "/api/v1/contracts/active",
            "/api/v1/orders",
        ]
        sent = server.requests[-1]
    assert json.loads(sent.body) == {
        "clientOid": "mine",
        "side": "buy",
        "symbol": "XBTUSDTM",
        "type": "limit",
        "size": 3,
        "price": "49000",
        "leverage": 3,
    }
    stamp = sent.headers["kc-api-timestamp"]
    assert START_MS <= int(stamp) < START_MS + 60_000

    def sign(text: bytes) -> str:
        return base64.b64encode(hmac.digest(b"secret-1", text, hashlib.sha256)).decode()

    assert sent.headers["kc-api-sign"] == sign(
        stamp.encode() + b"POST" + b"/api/v1/orders" + sent.body
    )
    assert sent.headers["kc-api-passphrase"] == sign(b"pass-1")
    assert not [name for name in sent.headers if "partner" in name or "broker" in name]


async def test_a_signed_query_goes_out_letter_by_letter() -> None:
    async with connected(KEYS) as (server, exchange):
        server.rules["GET", "/api/v1/orders"] = lambda _: success({"items": []})
        await exchange.load_markets()
        await exchange.futuresPrivateGetOrders({"clientOid": "a:b,c|d[e]'~", "status": "active"})
        assert server.requests[-1].target == ("/api/v1/orders?clientOid=a:b,c|d[e]'~&status=active")


TROUBLE = {
    "an error code with status 200": (
        Answer(b'{"code": "300003", "msg": "Balance insufficient."}'),
        errors.InsufficientFunds,
    ),
    "too many requests": (
        Answer(b'{"code": "429000", "msg": "Too Many Requests"}', status=429),
        errors.RateLimitExceeded,
    ),
    "a page of HTML with status 200": (
        Answer(b"<html>We are back soon</html>", headers={"Content-Type": "text/html"}),
        errors.BadResponse,
    ),
    "a page of HTML with status 503": (
        Answer(b"<html>maintenance</html>", status=503),
        errors.ExchangeNotAvailable,
    ),
    "an empty body": (Answer(b""), errors.BadResponse),
    "cut JSON": (Answer(b'{"code": "200000", "data": ['), errors.BadResponse),
    "not a number": (Answer(b'{"code": "200000", "data": {"size": NaN}}'), errors.BadResponse),
    "a redirect": (
        Answer(b'{"code": "200000", "data": {}}', 302, {"Location": "http://127.0.0.1:1/"}),
        errors.BadResponse,
    ),
}


@pytest.mark.parametrize("name", TROUBLE)
async def test_an_answer_that_is_no_success_raises_ccxts_error(name: str) -> None:
    answer, expected = TROUBLE[name]
    async with connected(KEYS) as (server, exchange):
        await exchange.load_markets()
        server.rules["POST", "/api/v1/orders"] = lambda _: answer
        with pytest.raises(expected):
            await exchange.create_order(*LIMIT_ORDER)
        assert len(server.requests) == 2  # nothing is sent again


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
HUGE = f"HTTP/1.1 200 OK\r\nContent-Length: {VENUE_RESPONSE_BYTES_MAX + 1}\r\n\r\n".encode()
BROKEN = {
    "the connection closes without an answer": b"",
    "the body is cut": CUT,
    "the answer is no HTTP": b"\x00\x01\x02 hello\r\n\r\n",
    "the answer is too large": HUGE + b" " * (VENUE_RESPONSE_BYTES_MAX + 1),
    "the answer is compressed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_leaves_the_outcome_open(name: str) -> None:
    async with connected(KEYS) as (server, exchange):
        await exchange.load_markets()
        server.rules["POST", "/api/v1/orders"] = lambda _: Answer(raw=BROKEN[name])
        with pytest.raises(errors.ExchangeNotAvailable) as raised:
            await exchange.create_order(*LIMIT_ORDER)
        assert isinstance(raised.value.__cause__, TransportError)
        assert raised.value.__cause__.may_have_arrived


async def test_a_request_without_a_connection_has_certainly_not_arrived() -> None:
    async with connected(KEYS) as (server, exchange):
        await exchange.load_markets()
    async with open_kucoin_futures(SimulatedClock(START_MS), Endpoints(server.url)) as closed:
        with pytest.raises(errors.ExchangeNotAvailable) as raised:
            await closed.load_markets()
        assert isinstance(raised.value.__cause__, TransportError)
        assert not raised.value.__cause__.may_have_arrived


async def test_a_request_without_an_answer_times_out_on_trios_clock(
    mock_clock: trio.testing.MockClock,
) -> None:
    silent = trio.Event()

    async with connected({**KEYS, "timeout": 10_000}) as (server, exchange):
        await exchange.load_markets()
        server.rules["POST", "/api/v1/orders"] = lambda _: Answer(raw=HOLD)
        raised: list[Exception] = []

        async def order() -> None:
            with pytest.raises(errors.RequestTimeout) as caught:
                await exchange.create_order(*LIMIT_ORDER)
            raised.append(caught.value)
            silent.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(order)
            await server.wait_for(lambda: len(server.requests) == 2)
            mock_clock.jump(9.999)
            await trio.testing.wait_all_tasks_blocked()
            assert not raised
            mock_clock.jump(0.002)
            await silent.wait()
    assert isinstance(raised[0].__cause__, TransportError)
    assert raised[0].__cause__.may_have_arrived


def has_pinged(connection: Connection, count: int) -> bool:
    return [each["type"] for each in connection.received].count("ping") == count


async def test_the_client_pings_at_the_interval_of_the_token(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with connected() as (server, exchange):
        await exchange.load_markets()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.watch_ticker, BITCOIN)
            connection = await server.wait_for_topic(TOPIC)
            for count in (1, 2, 3):
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(PING_INTERVAL_MS / 1_000)
                await server.wait_for(partial(has_pinged, connection, count))
            nursery.cancel_scope.cancel()
        assert connection.open


async def test_a_venue_that_answers_no_pings_fails_what_waits(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with connected() as (server, exchange):
        server.answers_pings = False
        await exchange.load_markets()
        failed = trio.Event()

        async def watch() -> None:
            with pytest.raises(errors.RequestTimeout):
                await exchange.watch_ticker(BITCOIN)
            failed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await server.wait_for_topic(TOPIC)
            for _ in range(5):
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(PING_INTERVAL_MS / 1_000)
            await failed.wait()
        assert exchange.clients == {}


@pytest.mark.parametrize(
    ("rest_url", "ws_url", "named"),
    [
        ("http://api.example.com", "", "exchange.rest_url"),
        ("ftp://127.0.0.1", "", "exchange.rest_url"),
        ("https://user:pass@api.example.com", "", "exchange.rest_url"),
        ("", "ws://10.0.0.1:8000", "exchange.ws_url"),
        ("", "https://127.0.0.1", "exchange.ws_url"),
    ],
)
async def test_plain_or_odd_addresses_are_refused_before_anything_is_sent(
    rest_url: str, ws_url: str, named: str
) -> None:
    with pytest.RaisesGroup(ConfigurationError, allow_unwrapped=True) as raised:
        async with open_kucoin_futures(SimulatedClock(START_MS), Endpoints(rest_url, ws_url)):
            pass
    assert named in str(raised.value)
    assert "pass@" not in str(raised.value)
