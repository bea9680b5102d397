"""Trouble on WebSocket connections: what waits fails, and a new connection can be made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from ccxt.base import errors
from wsproto import events

from kamou.exchange.trio_ccxt.web_socket import SOCKET_MESSAGE_BYTES_MAX
from tests.exchange.trio_ccxt.kucoin_server import Answer, Connection, KucoinServer, ticker
from tests.exchange.trio_ccxt.test_kucoin_futures import BITCOIN, TOPIC, connected


async def close(connection: Connection) -> None:
    await connection.send_event(events.CloseConnection(1001))


async def reset(connection: Connection) -> None:
    await connection.stream.aclose()


async def send_garbage(connection: Connection) -> None:
    await connection.stream.send_all(b"\xff" * 64)


async def send_half_of_json(connection: Connection) -> None:
    await connection.send('{"type": "message", "topic"')


async def send_other_types(connection: Connection) -> None:
    await connection.push(TOPIC, "ticker", {"symbol": ["XBTUSDTM"], "ts": {}})


async def send_an_error(connection: Connection) -> None:
    await connection.send({"id": "1", "type": "error", "code": 404, "data": "no such topic"})


async def send_too_much(connection: Connection) -> None:
    for _ in range(SOCKET_MESSAGE_BYTES_MAX // 2**20 + 1):
        await connection.send_event(events.TextMessage("x" * 2**20, message_finished=False))


TROUBLE: list[Callable[[Connection], Awaitable[None]]] = [
    close,
    reset,
    send_garbage,
    send_half_of_json,
    send_other_types,
    send_an_error,
    send_too_much,
]


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_trouble_fails_what_waits_and_the_next_watch_connects_again(
    trouble: Callable[[Connection], Awaitable[None]],
) -> None:
    async with connected() as (server, exchange):
        await exchange.load_markets()
        raised: list[Exception] = []

        async def fail() -> None:
            with pytest.raises(errors.NetworkError) as caught:
                await exchange.watch_ticker(BITCOIN)
            raised.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            connection = await server.wait_for_topic(TOPIC)
            try:
                await trouble(connection)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                assert trouble is send_too_much  # the client has closed meanwhile
        assert len(raised) == 1
        assert exchange.clients == {}
        await server.wait_for(lambda: not connection.open)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push_to_the_second, server)
            update = await exchange.watch_ticker(BITCOIN)
        assert update["bid"] == 49_999.9
        assert [each.token for each in server.connections] == ["token+0==", "token+1=="]


async def push_to_the_second(server: KucoinServer) -> None:
    connection = await server.wait_for_topic(TOPIC, connection=1)
    await connection.push(TOPIC, "ticker", ticker(7))


async def test_a_message_in_parts_and_after_a_ping_is_read_whole() -> None:
    async with connected() as (server, exchange), trio.open_nursery() as nursery:
        await exchange.load_markets()
        updates = []

        async def watch() -> None:
            updates.append(await exchange.watch_ticker(BITCOIN))

        nursery.start_soon(watch)
        connection = await server.wait_for_topic(TOPIC)
        await connection.send_event(events.Ping(b"there?"))
        text = (
            '{"type":"message","topic":"/contractMarket/ticker:XBTUSDTM","subject":"ticker",'
            '"data":{"symbol":"XBTUSDTM","price":"5","bestBidPrice":"4"}}'
        )
        for part, last in ((text[:40], False), (text[40:90], False), (text[90:], True)):
            await connection.send_event(events.TextMessage(part, message_finished=last))
        await server.wait_for(
            lambda: any(isinstance(each, events.Pong) for each in connection.frames)
        )
    assert updates[0]["bid"] == 4


async def test_a_rejected_handshake_fails_what_waits_and_the_wait_it_demands_is_kept() -> None:
    async with connected() as (server, exchange):
        await exchange.load_markets()
        server.handshake = Answer(status=429, headers={"Retry-After": "7"})
        with pytest.raises(errors.NetworkError, match="rejected: 429"):
            await exchange.watch_ticker(BITCOIN)
        [backoff] = exchange.ws_dial_backoff.values()
        assert backoff["until"] - exchange.milliseconds() > 6_000
