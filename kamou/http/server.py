"""A listener: binds an address and serves one application there, as a supervised child.

The port is bound before the child reports started, so a port that is taken is an error with a name
and not a site that is silently absent. The application is handed in: this file knows no page.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from functools import partial
from typing import Any

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from kamou.errors import ListenError

BACKLOG = 128  # connections that wait to be accepted
GRACE_S = 1.0  # requests in flight at an orderly stop; pages take milliseconds
KEEP_ALIVE_S = 15.0  # an idle connection of a reader who turns the page
HEADERS_BYTES_MAX = 16 * 1024


@attrs.frozen(kw_only=True)
class Listener:
    """Where one application is served. ``setting`` and ``option`` name its port to a human."""

    app: Any  # an ASGI application
    host: str
    port: int  # 0: any free one
    setting: str  # web.port
    option: str  # --port


class Server:
    """One listener as a supervised child. ``start=server.run``, ``stop=server.ask_to_stop``.

    It has no inbox: its messages are requests. ``port`` is the bound one while it listens. A
    socket that already listens may be handed in (``bound``: TCP or AF_UNIX); it stays its owner's
    to close.
    """

    def __init__(self, listener: Listener, *, bound: socket.socket | None = None) -> None:
        self.listener = listener
        self._handed = bound
        self._stop = trio.Event()
        self.port: int | None = None

    @property
    def bound_port(self) -> int:
        """The port, of a server that listens."""
        assert self.port is not None, "it has not started"
        return self.port

    def ask_to_stop(self) -> None:
        """Stop listening, let requests in flight end within the grace, then return from ``run``."""
        self._stop.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, report started, serve until asked to stop or cancelled.

        Raises:
            ListenError: the port is taken, or not ours to take.
        """
        self._stop = trio.Event()
        bound = self._handed or bind(self.listener)
        try:
            self.port = 0 if bound.family == socket.AF_UNIX else bound.getsockname()[1]
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(self._serve, bound))
                task_status.started()
        finally:
            self.port = None
            if self._handed is None:
                bound.close()

    async def _serve(self, bound: socket.socket, task_status: trio.TaskStatus[Any]) -> None:
        # hypercorn owns and closes the descriptor that it is given: it gets its own
        config = Config()
        config.bind = [f"fd://{bound.dup().detach()}"]
        config.accesslog = None
        config.errorlog = None
        config.include_server_header = False
        config.graceful_timeout = GRACE_S
        config.keep_alive_timeout = KEEP_ALIVE_S
        config.h11_max_incomplete_size = HEADERS_BYTES_MAX
        config.backlog = BACKLOG
        await serve(
            self.listener.app,
            config,
            shutdown_trigger=self._stop.wait,
            task_status=task_status,
            mode="asgi",
        )


def bind(listener: Listener) -> socket.socket:
    """A listening socket.

    Raises:
        ListenError: with the port, its setting, and what to do.
    """
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((listener.host, listener.port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise ListenError(_explained(listener, error)) from error
    return bound


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this address."""
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
        return f"{where} is not ours to take ({error.strerror}); {other} (above 1023)"
    return (
        f"cannot listen on {where} ({error.strerror or error}); correct"
        f" {listener.setting.rpartition('.')[0]}'s host and port, or {other}"
    )
