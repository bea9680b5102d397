"""A small server that speaks as much of KuCoin Futures as these tests need, on loopback.

It is written from KuCoin's API reference and shares no code with the product. Contracts are
invented; their fields are those of the reference.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import trio
import wsproto
from wsproto import events
from wsproto.connection import ConnectionState

ENDPOINT = "/endpoint"
PING_INTERVAL_MS = 18_000
HOLD = b"hold"  # as an answer: the server keeps the connection open and sends nothing


def contract(symbol: str, base: str, multiplier: float) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "rootSymbol": "USDT",
        "type": "FFWCSX",
        "firstOpenDate": 1_585_555_200_000,
        "expireDate": None,
        "settleDate": None,
        "baseCurrency": base,
        "quoteCurrency": "USDT",
        "settleCurrency": "USDT",
        "maxOrderQty": 1_000_000,
        "maxPrice": 1_000_000.0,
        "lotSize": 1,
        "tickSize": 0.1,
        "indexPriceTickSize": 0.01,
        "multiplier": multiplier,
        "initialMargin": 0.01,
        "maintainMargin": 0.005,
        "makerFeeRate": 0.0002,
        "takerFeeRate": 0.0006,
        "isDeleverage": True,
        "isQuanto": False,
        "isInverse": False,
        "markMethod": "FairPrice",
        "fairMethod": "FundingRate",
        "status": "Open",
        "fundingFeeRate": 0.0001,
        "nextFundingRateTime": 11_057_610,
        "markPrice": 50_000.0,
        "indexPrice": 50_001.0,
        "lastTradePrice": 50_000.5,
        "maxLeverage": 100,
    }


CONTRACTS = [contract("XBTUSDTM", "XBT", 0.001), contract("ETHUSDTM", "ETH", 0.01)]


@attrs.frozen
class Request:
    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@attrs.define
class Answer:
    """What the server sends for a request. ``raw`` replaces the whole response."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = attrs.Factory(dict)
    raw: bytes | None = None


def success(data: object) -> Answer:
    return Answer(json.dumps({"code": "200000", "data": data}).encode())


@attrs.define(eq=False)
class Connection:
    """One WebSocket connection of the server."""

    stream: trio.SocketStream
    machine: wsproto.WSConnection
    token: str
    topics: list[str] = attrs.Factory(list)
    received: list[dict[str, Any]] = attrs.Factory(list)
    frames: list[events.Event] = attrs.Factory(list)
    open: bool = True
    sending: trio.Lock = attrs.Factory(trio.Lock)

    async def send(self, message: object) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        await self.send_event(events.TextMessage(text))

    async def send_event(self, event: events.Event) -> None:
        async with self.sending:
            await self.stream.send_all(self.machine.send(event))

    async def push(self, topic: str, subject: str, data: object) -> None:
        await self.send({"type": "message", "topic": topic, "subject": subject, "data": data})


Rule = Callable[[Request], Answer]


@attrs.define(eq=False)
class KucoinServer:
    port: int
    requests: list[Request] = attrs.Factory(list)
    connections: list[Connection] = attrs.Factory(list)
    rules: dict[tuple[str, str], Rule] = attrs.Factory(dict)  # (method, path) -> its answer
    every: Rule | None = None  # the answer to all other requests
    tokens: list[str] = attrs.Factory(list)
    answers_pings: bool = True
    acknowledges: bool = True
    handshake: Answer | None = None  # instead of accepting a WebSocket
    _changed: trio.Event = attrs.Factory(trio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until a condition on the server holds; it is asked after every change."""
        while not condition():
            await self._changed.wait()

    async def wait_for_topic(self, topic: str, connection: int = 0) -> Connection:
        await self.wait_for(
            lambda: (
                len(self.connections) > connection and topic in self.connections[connection].topics
            )
        )
        return self.connections[connection]

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                data = b""
                while True:
                    while b"\r\n\r\n" not in data:
                        more = await stream.receive_some()
                        if not more:
                            return
                        data += more
                    head, _, rest = data.partition(b"\r\n\r\n")
                    lines = head.decode("latin-1").split("\r\n")
                    method, target, _ = lines[0].split(" ", 2)
                    headers = {
                        name.lower(): value.strip()
                        for name, _, value in (line.partition(":") for line in lines[1:])
                    }
                    if headers.get("upgrade", "").lower() == "websocket":
                        await self._serve_socket(stream, target, data)
                        return
                    length = int(headers.get("content-length", "0"))
                    while len(rest) < length:
                        rest += await stream.receive_some()
                    request = Request(method, target, headers, rest[:length])
                    data = rest[length:]
                    if not await self._answer(stream, request):
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _answer(self, stream: trio.SocketStream, request: Request) -> bool:
        self.requests.append(request)
        self._change()
        answer = self._find_answer(request)
        if answer.raw == HOLD:
            await trio.sleep_forever()
        if answer.raw is not None:
            await stream.send_all(answer.raw)
            return False
        headers = {"Content-Type": "application/json", **answer.headers}
        headers["Content-Length"] = str(len(answer.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {answer.status} Reason\r\n{lines}\r\n".encode("latin-1")
        await stream.send_all(head + answer.body)
        return True

    def _find_answer(self, request: Request) -> Answer:
        rule = self.rules.get((request.method, request.path))
        rule = rule or self.every
        if rule is not None:
            return rule(request)
        if request.path == "/api/v1/contracts/active":
            return success(CONTRACTS)
        if request.path in ("/api/v1/bullet-public", "/api/v1/bullet-private"):
            token = f"token+{len(self.tokens)}=="
            self.tokens.append(token)
            server = {
                "endpoint": f"ws://127.0.0.1:{self.port}{ENDPOINT}",
                "protocol": "websocket",
                "encrypt": False,
                "pingInterval": PING_INTERVAL_MS,
                "pingTimeout": 10_000,
            }
            return success({"token": token, "instanceServers": [server]})
        return Answer(b'{"code": "404", "msg": "no such path"}', status=404)

    async def _serve_socket(self, stream: trio.SocketStream, target: str, data: bytes) -> None:
        machine = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        machine.receive_data(data)
        token = parse_qs(urlsplit(target).query).get("token", [""])[0]
        connection = Connection(stream, machine, token)
        if self.handshake is not None:
            answer = self.handshake
            reject = events.RejectConnection(
                status_code=answer.status,
                headers=[(k.encode(), v.encode()) for k, v in answer.headers.items()],
            )
            await connection.send_event(reject)
            return
        next(machine.events())
        await connection.send_event(events.AcceptConnection())
        self.connections.append(connection)
        if token not in self.tokens:
            await connection.send({"type": "error", "code": 401, "data": "token is invalid"})
            return
        await connection.send({"id": "welcome", "type": "welcome"})
        self._change()
        try:
            while data := await stream.receive_some():
                machine.receive_data(data)
                for event in machine.events():
                    await self._take(connection, event)
                self._change()
        finally:
            connection.open = False
            self._change()

    async def _take(self, connection: Connection, event: events.Event) -> None:
        connection.frames.append(event)
        if connection.machine.state is ConnectionState.CLOSED:
            return  # the client has answered the server's close frame
        if isinstance(event, events.Ping | events.CloseConnection):
            await connection.send_event(event.response())
        if not isinstance(event, events.TextMessage):
            return
        message = json.loads(event.data)
        connection.received.append(message)
        if message["type"] == "ping" and self.answers_pings:
            await connection.send({"id": message["id"], "type": "pong"})
        if message["type"] == "subscribe":
            connection.topics.append(message["topic"])
            if self.acknowledges:
                await connection.send({"id": message["id"], "type": "ack"})


@asynccontextmanager
async def open_server() -> AsyncIterator[KucoinServer]:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = KucoinServer(listener.socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, server.serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


def ticker(sequence: int, bid: str = "49999.9", ask: str = "50000.1") -> dict[str, Any]:
    return {
        "symbol": "XBTUSDTM",
        "sequence": sequence,
        "side": "sell",
        "price": bid,
        "size": 16,
        "tradeId": str(sequence),
        "bestBidSize": 795,
        "bestBidPrice": bid,
        "bestAskPrice": ask,
        "bestAskSize": 284,
        "ts": 1_700_000_000_000_000_000 + sequence,
    }
