"""``Server``, a supervised child that serves one application on a ``Listener``.

The port is bound before the child reports started, so that a port in use is an error with its
reason.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections import Counter

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from starlette.types import ASGIApp

from kamou.errors import ListenError
from kamou.http.connection import Connection, PeerAddress, Shared
from kamou.http.limits import Limits, address_key
from kamou.http.notices import Notices, Warn, ignore_line
from kamou.http.peer_socket import EXHAUSTED, SEND_BUFFER_BYTES, PeerSocket
from kamou.http.traffic import Cut, Traffic, TrafficRefusal

ACCEPT_PAUSE_S = 0.1  # without free descriptors accept fails immediately each time
REJECTED_MAX = 32  # rejected connections that are read to their end at once; more are closed
LOST_IN_QUEUE = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR, errno.ECONNRESET, errno.ENETDOWN}
)
TOO_MANY = {TrafficRefusal.CONNECTIONS: "in total", TrafficRefusal.ADDRESS: "from one address"}
REJECTION = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"content-length: 0\r\nretry-after: 10\r\nconnection: close\r\n\r\n"
)


@attrs.frozen(kw_only=True)
class Listener:
    """An application with its address; errors name ``setting`` and ``option``."""

    app: ASGIApp | None  # None: only to bind the address
    host: str
    port: int  # 0: any free port
    setting: str  # web.port
    option: str  # --port
    limits: Limits = Limits()


class Server:
    """One listener as a supervised child.

    Its ``ChildSpec`` has ``start=server.run`` and ``stop=server.ask_to_stop``. ``port`` is the
    bound port while the server listens (0 on a Unix socket), else None. ``bound`` may be a socket
    that already listens (TCP or AF_UNIX); its owner closes it. ``traffic`` goes on counting after a
    restart. ``warn`` takes a printable line, at most one of a kind per ``NOTICE_PERIOD_S``.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        bound: socket.socket | None = None,
        warn: Warn = ignore_line,
    ) -> None:
        self.listener = listener
        self.traffic = Traffic()
        self.port: int | None = None
        self._given_socket = bound
        self._stop = trio.Event()
        self._notices = Notices(warn)
        self._open: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._all_closed = trio.Event()  # the last open connection has ended
        self._rejected: set[trio.CancelScope] = set()

    @property
    def bound_port(self) -> int:
        """Port of a server that listens; 0 on a Unix socket."""
        assert self.port is not None, "the server has not started"
        return self.port

    def ask_to_stop(self) -> None:
        """Make ``run`` stop listening, end requests within the grace, and return."""
        self._stop.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind the address or use ``bound``, report started, serve until stopped.

        Raises:
            ListenError: the address cannot be bound: taken, not allowed for this user, or invalid.
            OSError: no descriptor is free.
            ExceptionGroup: a connection had a MemoryError, which concerns the whole process; or
                accepting failed for a reason other than a lost connection or a lack of resources.
        """
        self._stop = trio.Event()
        # A second descriptor of the owner's socket, so that the owner's stays open.
        bound = self._given_socket.dup() if self._given_socket else bind(self.listener)
        try:
            bound.setblocking(False)  # noqa: FBT003  # the method takes it by position only
            self.port = 0 if bound.family == socket.AF_UNIX else bound.getsockname()[1]
            await self._serve(bound, task_status)
        finally:
            self.port = None
            bound.close()

    async def _serve(self, bound: socket.socket, task_status: trio.TaskStatus[None]) -> None:
        shared = self._make_shared(bound)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(self._accept, bound, shared, connections)
                task_status.started()
                await self._stop.wait()
                accepting.cancel_scope.cancel()
            bound.close()  # the last descriptor: the kernel resets connections in the backlog
            await self._end_connections(shared)

    def _make_shared(self, bound: socket.socket) -> Shared:
        app = self.listener.app
        assert app is not None, "this listener only has an address"
        config = Config()
        config.accesslog = None
        config.errorlog = None
        config.include_server_header = False
        return Shared(
            app=app,
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
        connections_max = shared.limits.affordable_connections()
        while True:
            await trio.lowlevel.wait_readable(bound)
            try:
                raw, address = bound.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                await self._handle_accept_error(error)
                continue
            peer = _peer(raw, address)
            refusal = self._find_refusal(peer, connections_max)
            if refusal is None:
                self._admit(PeerSocket(raw), peer, shared, connections)
            else:
                self._reject(PeerSocket(raw), refusal, connections)

    async def _handle_accept_error(self, error: OSError) -> None:
        """Wait if resources ran out; ignore a lost connection; raise any other error."""
        if error.errno in LOST_IN_QUEUE:
            return
        if error.errno not in EXHAUSTED:
            raise error
        self.traffic.refused[TrafficRefusal.DESCRIPTORS] += 1
        self._warn(
            "descriptors",
            f"cannot accept connections: {error.strerror}; open ones go on, new ones wait",
        )
        await trio.sleep(ACCEPT_PAUSE_S)

    def _find_refusal(self, peer: PeerAddress, connections_max: int) -> TrafficRefusal | None:
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
        self, wire: PeerSocket, peer: PeerAddress, shared: Shared, connections: trio.Nursery
    ) -> None:
        connection = Connection(wire, peer, shared)
        key = "" if peer is None else address_key(peer[0])
        self._open.add(connection)
        self._by_address[key] += 1
        self.traffic.count_opened()
        connections.start_soon(self._attend, connection, key)

    async def _attend(self, connection: Connection, key: str) -> None:
        """Run one connection; an error other than MemoryError ends only this connection."""
        try:
            await connection.run()
        except* MemoryError:
            raise  # concerns the process: the supervisor restarts the listener
        except* Exception as errors:
            self.traffic.failed += 1
            self._warn("failed", f"a connection ended with {_first_error(errors)!r}")
        finally:
            self._open.discard(connection)
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]  # so that memory does not grow with the peers
            self.traffic.count_closed()
            if not self._open:
                self._all_closed.set()

    def _reject(self, wire: PeerSocket, refusal: TrafficRefusal, connections: trio.Nursery) -> None:
        self.traffic.refused[refusal] += 1
        self._warn(
            refusal,
            f"connections are rejected, because too many are open {TOO_MANY[refusal]}; "
            f"{len(self._open)} are open in total",
        )
        wire.send_now(REJECTION)
        if len(self._rejected) < REJECTED_MAX:
            scope = trio.CancelScope()
            self._rejected.add(scope)
            connections.start_soon(self._drain_rejected, wire, scope)
        else:
            wire.close()

    async def _drain_rejected(self, wire: PeerSocket, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await wire.finish()
        finally:
            self._rejected.discard(scope)
            wire.close()

    async def _end_connections(self, shared: Shared) -> None:
        """End idle connections now, and the others after their response or the grace."""
        await shared.context.terminated.set()
        for connection in self._open:
            connection.retire()
        if self._open:
            self._all_closed = trio.Event()
            with trio.move_on_after(self.listener.limits.grace_s):
                await self._all_closed.wait()
        for connection in self._open:
            connection.cut(Cut.STOPPED)
        for rejected in self._rejected:
            rejected.cancel()

    def _warn(self, subject: str, line: str) -> None:
        self._notices.say(subject, f"listener {self.listener.host}:{self.port}: {line}")


def _peer(raw: socket.socket, address: tuple[str, int]) -> PeerAddress:
    """Return host and port of a socket's address; None on a Unix socket."""
    if raw.family in (socket.AF_INET, socket.AF_INET6):
        return address[0], address[1]
    return None


def _first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def bind(listener: Listener) -> socket.socket:
    """Return a listening socket.

    Raises:
        ListenError: the address cannot be bound; the message has port, setting and next step.
        OSError: no descriptor is free.
    """
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # inherited by accepted sockets
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        bound.bind((listener.host, listener.port))
        bound.listen(listener.limits.backlog)
    except OSError as error:
        bound.close()
        raise ListenError(_explain_bind_error(listener, error)) from error
    return bound


def is_loopback(host: str) -> bool:
    """Return True if the host is a loopback address or ``localhost``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _explain_bind_error(listener: Listener, error: OSError) -> str:
    where = f"{listener.host}:{listener.port}"
    other = f"choose another port with {listener.option} or {listener.setting}"
    host = f"{listener.setting.removesuffix('port')}host"  # web.host or web.operator_host
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken: another program, or another run, listens there; {other}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where} needs more rights ({error.strerror}); {other} (above 1023)"
    return f"cannot listen on {where} ({error.strerror or error}); correct {host}, or {other}"
