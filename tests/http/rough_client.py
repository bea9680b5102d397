"""A client that sends raw bytes, and a server for it.

No client library sends the bytes of these tests, or shows the bytes received before a reset.
"""

from __future__ import annotations

import gc
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import trio

from kamou.core.kinds import RunMode
from kamou.http.limits import OPERATOR, Limits
from kamou.http.server import Listener, Server
from kamou.operator.app import Operations, default_hosts, operator_app
from kamou.store import database
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import inline

TOKEN = "a-token-of-this-test"
PATIENCE_S = 120.0  # simulated; longer than any limit of the server


@attrs.frozen(kw_only=True)
class Application:
    """One listener as Kamou serves it: application, limits, and a page that works."""

    name: str
    app: Any
    limits: Limits
    page: str


@attrs.frozen(kw_only=True)
class Received:
    """Bytes that the client received, and the end of the connection, if it has ended."""

    data: bytes
    closed: bool
    reset: bool = False

    @property
    def statuses(self) -> list[int]:
        """Status codes of the responses, parsed without the server's parser."""
        found, rest = [], self.data
        while rest:
            head, end, rest = rest.partition(b"\r\n\r\n")
            assert end, f"a response without an end of its headers: {head[:200]!r}"
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
    """A running server with its warnings, and methods of a client for it."""

    application: Application
    server: Server
    warnings: list[str] = attrs.Factory(list)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.server.bound_port)

    async def send(
        self, *pieces: bytes, half_close: bool = False, passes: Sequence[int] = ()
    ) -> Received:
        """Send the pieces, each after a number of scheduler passes, and then receive."""
        async with await self.connect() as stream:
            return await self.converse(stream, pieces, half_close=half_close, passes=passes)

    async def converse(
        self,
        stream: trio.SocketStream,
        pieces: Iterable[bytes],
        *,
        half_close: bool = False,
        passes: Sequence[int] = (),
    ) -> Received:
        with suppress(trio.BrokenResourceError):  # the server may have closed before the last piece
            for number, piece in enumerate(pieces):
                for _ in range(passes[number % len(passes)] if passes else 0):
                    await trio.lowlevel.checkpoint()
                await stream.send_all(piece)
            if half_close:
                await stream.send_eof()
        return await receive_all(stream)

    async def fetch(self) -> int:
        """Return the status of the page that must always work."""
        received = await self.send(request(self.application.page, b"Connection: close\r\n"))
        assert received.closed
        (status,) = received.statuses
        return status

    async def wait_until_idle(self) -> None:
        """Wait until every connection has ended."""
        with trio.fail_after(PATIENCE_S):
            while self.server.traffic.connections_now:  # noqa: ASYNC110 - the server has no event for it
                await trio.sleep(1)


async def receive_all(stream: trio.SocketStream, *, quiet_s: float = 2.0) -> Received:
    """Receive until the peer closes or sends nothing for ``quiet_s``."""
    received = b""
    while True:
        with trio.move_on_after(quiet_s) as silence:
            try:
                data = await stream.receive_some(1 << 16)
            except trio.BrokenResourceError:
                return Received(data=received, closed=True, reset=True)
            if not data:
                return Received(data=received, closed=True)
            received += data
        if silence.cancelled_caught:
            return Received(data=received, closed=False)


def request(path: str, headers: bytes = b"", *, method: bytes = b"GET") -> bytes:
    """Return a request whose form and Host header both listeners accept."""
    return method + f" {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + headers + b"\r\n"


def reset_connection(stream: trio.SocketStream) -> None:
    """Close the connection with a reset, like a machine after a power failure."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def make_public_application(folder: Path) -> Application:
    """Return the public site over an empty database."""
    path = folder / "kamou.sqlite3"
    database.migrate_journal(path)
    site = PublicSite(path, Site(mode=RunMode.DEMO, assumed_live=True), runner=inline)
    return Application(name="public", app=site, limits=Limits(), page="/how-it-works")


def make_operator_application(folder: Path) -> Application:
    """Return the operator's listener of a run without status and children."""

    async def act(reason: str) -> dict[str, str]:
        return {"reason": reason}

    operations = Operations(
        snapshot=dict, status=dict, not_ready=tuple, halt=act, resume=act, flatten=act
    )
    app = operator_app(operations, token=TOKEN, allowed_hosts=default_hosts("127.0.0.1"))
    return Application(name="operator", app=app, limits=OPERATOR, page="/healthz")


def make_custom_application(app: Any, limits: Limits) -> Application:
    return Application(name="custom", app=app, limits=limits, page="/")


@asynccontextmanager
async def serving(application: Application, **limits: Any) -> AsyncIterator[Bench]:
    """Serve until the block ends; an error that ends the server fails the block."""
    warnings: list[str] = []
    server = Server(
        Listener(
            app=application.app,
            host="127.0.0.1",
            port=0,
            setting="web.port",
            option="--port",
            limits=attrs.evolve(application.limits, **limits),
        ),
        warn=warnings.append,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield Bench(application=application, server=server, warnings=warnings)
        server.ask_to_stop()


def count_descriptors() -> int:
    """Return the number of open descriptors of this process."""
    gc.collect()  # closes descriptors that earlier tests dropped
    return len(os.listdir("/proc/self/fd"))


def measure_resident_bytes() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
