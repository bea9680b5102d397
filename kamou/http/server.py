"""A listener: binds an address and serves one application there, as a supervised child.

The port is bound before the child reports started, so that a port that is taken is an error with
its reason. The application is a parameter.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections import Counter
from typing import Any

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from kamou.errors import ListenError
from kamou.http.connection import Connection, PeerAddress, Shared
from kamou.http.limits import Limits, address_key
from kamou.http.notices import Notices, Warn, say_nothing
from kamou.http.peer_socket import EXHAUSTED, SEND_BUFFER_BYTES, Wire
from kamou.http.traffic import Cut, Traffic, TrafficRefusal

ACCEPT_PAUSE_S = 0.1  # without free descriptors, accept fails at once, every time
FAREWELLS_MAX = 32  # rejected connections that are read to their end at a time; others are closed
LOST_IN_QUEUE = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR, errno.ECONNRESET, errno.ENETDOWN}
)
TOO_MANY = {TrafficRefusal.CONNECTIONS: "in all", TrafficRefusal.ADDRESS: "from one address"}
TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"content-length: 0\r\nretry-after: 10\r\nconnection: close\r\n\r\n"
)


@attrs.frozen(kw_only=True)
class Listener:
    """Address of one application. ``setting`` and ``option`` name its port in error messages."""

    app: Any  # an ASGI application
    host: str
    port: int  # 0: any free one
    setting: str  # web.port
    option: str  # --port
    limits: Limits = Limits()


class Server:
    """One listener as a supervised child. ``start=server.run``, ``stop=server.ask_to_stop``.

    It has no inbox: its messages are requests. ``port`` is the bound one while it listens.
    ``bound`` may be a socket that listens already (TCP or AF_UNIX); its owner closes it.
    ``traffic`` counts over restarts, too. ``warn`` takes one printable line, at most one a minute
    about each kind of trouble.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        bound: socket.socket | None = None,
        warn: Warn = say_nothing,
    ) -> None:
        self.listener = listener
        self.traffic = Traffic()
        self.port: int | None = None
        self._handed = bound
        self._stop = trio.Event()
        self._notices = Notices(warn)
        self._open: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._emptied = trio.Event()  # the last open connection has ended
        self._farewells: set[trio.CancelScope] = set()

    @property
    def bound_port(self) -> int:
        """Return the port of a server that listens."""
        assert self.port is not None, "the server has not started"
        return self.port

    def ask_to_stop(self) -> None:
        """Stop listening, let requests in flight end within the grace, then return from ``run``."""
        self._stop.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, report started, serve until asked to stop or cancelled.

        Raises:
            ListenError: the port is taken, or this user may not bind it.
            ExceptionGroup: of a MemoryError in a connection, which concerns the whole process.
        """
        self._stop = trio.Event()
        # The owner's socket stays open: another descriptor of the same socket is closed here.
        bound = self._handed.dup() if self._handed else bind(self.listener)
        try:
            bound.setblocking(False)
            self.port = 0 if bound.family == socket.AF_UNIX else bound.getsockname()[1]
            await self._serve(bound, task_status)
        finally:
            self.port = None
            bound.close()

    async def _serve(self, bound: socket.socket, task_status: trio.TaskStatus[None]) -> None:
        shared = self._shared(bound)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(self._accept, bound, shared, connections)
                task_status.started()
                await self._stop.wait()
                accepting.cancel_scope.cancel()
            bound.close()  # the last descriptor: connections in the backlog are reset at once
            await self._end_connections(shared)

    def _shared(self, bound: socket.socket) -> Shared:
        config = Config()
        config.accesslog = None
        config.errorlog = None
        config.include_server_header = False
        return Shared(
            app=self.listener.app,
            limits=self.listener.limits,
            traffic=self.traffic,
            config=config,
            context=WorkerContext(max_requests=None),
            address=_peer(bound, bound.getsockname()),
        )

    # --- accepting -------------------------------------------------------------------------------

    async def _accept(
        self, bound: socket.socket, shared: Shared, connections: trio.Nursery
    ) -> None:
        connections_max = shared.limits.affordable()
        while True:
            await trio.lowlevel.wait_readable(bound)
            try:
                raw, address = bound.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                await self._not_accepted(error)
                continue
            peer = _peer(raw, address)
            refusal = self._refusal(peer, connections_max)
            if refusal is None:
                self._admit(Wire(raw), peer, shared, connections)
            else:
                self._turn_away(Wire(raw), refusal, connections)

    async def _not_accepted(self, error: OSError) -> None:
        """Wait a little if descriptors or memory ran out; ignore a connection that was lost."""
        if error.errno in LOST_IN_QUEUE:
            return
        if error.errno not in EXHAUSTED:
            raise error
        self.traffic.refused[TrafficRefusal.DESCRIPTORS] += 1
        self._say("descriptors", f"cannot accept connections: {error.strerror}; those open go on")
        await trio.sleep(ACCEPT_PAUSE_S)

    def _refusal(self, peer: PeerAddress, connections_max: int) -> TrafficRefusal | None:
        limits = self.listener.limits
        if len(self._open) >= connections_max:
            return TrafficRefusal.CONNECTIONS
        if peer is None or self._by_address[address_key(peer[0])] < (
            limits.connections_per_address_max
        ):
            return None
        return None if limits.trusts(peer[0]) else TrafficRefusal.ADDRESS

    # --- connections -----------------------------------------------------------------------------

    def _admit(
        self, wire: Wire, peer: PeerAddress, shared: Shared, connections: trio.Nursery
    ) -> None:
        connection = Connection(wire, peer, shared)
        key = "" if peer is None else address_key(peer[0])
        self._open.add(connection)
        self._by_address[key] += 1
        self.traffic.opened()
        connections.start_soon(self._attend, connection, key)

    async def _attend(self, connection: Connection, key: str) -> None:
        """Run one connection. An error in it ends this connection only."""
        try:
            await connection.run()
        except* MemoryError:
            raise  # it concerns the process: the supervisor restarts the listener
        except* Exception as errors:
            self.traffic.failed += 1
            self._say("failed", f"a connection ended with {_first(errors)!r}")
        finally:
            self._open.discard(connection)
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]  # or the addresses of all peers would stay for ever
            self.traffic.closed()
            if not self._open:
                self._emptied.set()

    def _turn_away(self, wire: Wire, refusal: TrafficRefusal, connections: trio.Nursery) -> None:
        self.traffic.refused[refusal] += 1
        self._say(refusal.value, f"connections are turned away: too many {TOO_MANY[refusal]}")
        wire.send_now(TURNED_AWAY)
        if len(self._farewells) < FAREWELLS_MAX:
            scope = trio.CancelScope()
            self._farewells.add(scope)
            connections.start_soon(self._bid_farewell, wire, scope)
        else:
            wire.close()

    async def _bid_farewell(self, wire: Wire, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await wire.finish()
        finally:
            self._farewells.discard(scope)
            wire.close()

    async def _end_connections(self, shared: Shared) -> None:
        """End idle connections now, and the others after their answer or the grace."""
        await shared.context.terminated.set()
        for connection in self._open:
            connection.retire()
        if self._open:
            self._emptied = trio.Event()
            with trio.move_on_after(self.listener.limits.grace_s):
                await self._emptied.wait()
        for connection in self._open:
            connection.cut(Cut.STOPPED)
        for farewell in self._farewells:
            farewell.cancel()

    def _say(self, subject: str, line: str) -> None:
        self._notices.say(subject, f"listener {self.listener.host}:{self.port}: {line}")


def _peer(raw: socket.socket, address: Any) -> PeerAddress:
    """Return host and port of a socket's address; None on a Unix socket."""
    if raw.family in (socket.AF_INET, socket.AF_INET6):
        return address[0], address[1]
    return None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def bind(listener: Listener) -> socket.socket:
    """Return a listening socket.

    Raises:
        ListenError: with the port, its setting, and what to do.
    """
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # accepted sockets inherit it
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        bound.bind((listener.host, listener.port))
        bound.listen(listener.limits.backlog)
    except OSError as error:
        bound.close()
        raise ListenError(_explained(listener, error)) from error
    return bound


def is_loopback(host: str) -> bool:
    """Return True if only this machine reaches this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _explained(listener: Listener, error: OSError) -> str:
    where = f"{listener.host}:{listener.port}"
    other = f"choose another port with {listener.option} or {listener.setting}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken: another program, or another run, listens there; {other}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where} needs more rights ({error.strerror}); {other} (above 1023)"
    return (
        f"cannot listen on {where} ({error.strerror or error}); correct"
        f" {listener.setting.rpartition('.')[0]}'s host and port, or {other}"
    )
