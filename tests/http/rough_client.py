"""A client that sends bytes as they are, and a server to send them to.

No client library sends what these tests send, and none shows what came back before a reset.
"""

from __future__ import annotations

import gc
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import trio
from site_client import inline

from kamou.http.limits import OPERATOR, Limits
from kamou.http.server import Listener, Server
from kamou.operator.app import Operations, default_hosts, operator_app
from kamou.store import database
from kamou.web.app import PublicSite
from kamou.web.site import Site

TOKEN = "a-token-of-this-test"
PATIENCE_S = 120.0  # of simulated time: longer than any limit of the server
Adjusted = Callable[[Limits], Limits]


@attrs.frozen(kw_only=True)
class Application:
    """One of the two listeners as Kamou serves it: application, limits, and a page that works."""

    name: str
    app: Any
    limits: Limits
    page: str


@attrs.frozen(kw_only=True)
class Heard:
    """What a connection answered, and whether it is still open."""

    data: bytes
    closed: bool
    reset: bool = False

    @property
    def statuses(self) -> list[int]:
        """Status codes of the answers, split by their lengths and not by the server's parser."""
        found, rest = [], self.data
        while rest:
            head, end, rest = rest.partition(b"\r\n\r\n")
            assert end, f"an answer without an end of its headers: {head[:200]!r}"
            first, *lines = head.split(b"\r\n")
            version, status, _ = first.split(b" ", 2)
            assert version == b"HTTP/1.1"
            found.append(int(status))
            fields = dict(line.lower().split(b": ", 1) for line in lines)
            if found[-1] >= 200 and found[-1] != 304:
                rest = rest[int(fields[b"content-length"]) :]
        return found


@attrs.define(kw_only=True)
class Bench:
    """A server that runs, what it warned of, and how to reach it."""

    application: Application
    server: Server
    said: list[str] = attrs.Factory(list)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.server.bound_port)

    async def send(
        self, *pieces: bytes, half_close: bool = False, passes: Sequence[int] = ()
    ) -> Heard:
        """Send the pieces, each after its number of scheduler passes; read until no more comes."""
        async with await self.connect() as stream:
            return await self.converse(stream, pieces, half_close=half_close, passes=passes)

    async def converse(
        self,
        stream: trio.SocketStream,
        pieces: Iterable[bytes],
        *,
        half_close: bool = False,
        passes: Sequence[int] = (),
    ) -> Heard:
        with suppress(trio.BrokenResourceError):  # it may have closed before the last piece
            for number, piece in enumerate(pieces):
                for _ in range(passes[number % len(passes)] if passes else 0):
                    await trio.lowlevel.checkpoint()
                await stream.send_all(piece)
            if half_close:
                await stream.send_eof()
        return await hear(stream)

    async def fetch(self) -> int:
        """The status of the page that must always work."""
        heard = await self.send(request(self.application.page, b"Connection: close\r\n"))
        assert heard.closed
        (status,) = heard.statuses
        return status

    async def quiet(self) -> None:
        """Wait until every connection has ended."""
        with trio.fail_after(PATIENCE_S):
            while self.server.traffic.connections_now:  # noqa: ASYNC110 - the server tells nobody
                await trio.sleep(1)


async def hear(stream: trio.SocketStream, *, backoff_reset_s: float = 2.0) -> Heard:
    """Read until the peer closes, or has said nothing for some (simulated) seconds."""
    heard = b""
    while True:
        with trio.move_on_after(backoff_reset_s) as silence:
            try:
                data = await stream.receive_some(1 << 16)
            except trio.BrokenResourceError:
                return Heard(data=heard, closed=True, reset=True)
            if not data:
                return Heard(data=heard, closed=True)
            heard += data
        if silence.cancelled_caught:
            return Heard(data=heard, closed=False)


def request(path: str, headers: bytes = b"", *, method: bytes = b"GET") -> bytes:
    """A request that both listeners understand."""
    return method + f" {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + headers + b"\r\n"


def slam(stream: trio.SocketStream) -> None:
    """Close with a reset, as a machine does that lost power and came back."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def public_application(folder: Path) -> Application:
    """The public site over a database that has seen nothing yet."""
    path = folder / "kamou.sqlite3"
    database.migrate_journal(path)
    site = PublicSite(path, Site(mode="demo", assumed_live=True), runner=inline)
    return Application(name="public", app=site, limits=Limits(), page="/how-it-works")


def operator_application(folder: Path) -> Application:
    """The operator's listener over a system of which nothing is known."""

    async def act(reason: str) -> dict[str, str]:
        return {"reason": reason}

    operations = Operations(
        snapshot=dict, status=dict, not_ready=tuple, halt=act, resume=act, flatten=act
    )
    app = operator_app(operations, token=TOKEN, allowed_hosts=default_hosts("127.0.0.1"))
    return Application(name="operator", app=app, limits=OPERATOR, page="/healthz")


def custom_application(app: Any, limits: Limits) -> Application:
    return Application(name="custom", app=app, limits=limits, page="/")


@asynccontextmanager
async def serving(application: Application, **limits: Any) -> AsyncIterator[Bench]:
    """Serve until the block ends; an exception that leaves a connection fails it."""
    said: list[str] = []
    server = Server(
        Listener(
            app=application.app,
            host="127.0.0.1",
            port=0,
            setting="web.port",
            option="--port",
            limits=attrs.evolve(application.limits, **limits),
        ),
        warn=said.append,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield Bench(application=application, server=server, said=said)
        server.ask_to_stop()


def descriptors() -> int:
    """Descriptors that this process has open."""
    gc.collect()  # what earlier tests have dropped is not ours
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
