"""The site: serves the public and the operator's application on two listeners.

Both ports are bound before the actor reports started, so a port that is taken is an error with a
name and not a site that is silently absent. The applications are handed in: this file knows no
page. Hypercorn's Trio worker runs in the supervisor's own loop and tree.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
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


class SiteActor:
    """A supervised child. ``start=actor.run``, ``stop=actor.ask_to_stop`` in its child spec.

    It has no inbox: its messages are requests. ``ports`` are the bound ones while it listens.
    """

    def __init__(
        self, *, public: Listener, operator: Listener, warn: Callable[[str], None]
    ) -> None:
        self._listeners = (public, operator)
        self._warn = warn
        self._stop = trio.Event()
        self.ports: tuple[int, ...] = ()

    def ask_to_stop(self) -> None:
        """Stop listening, let requests in flight end within the grace, then return from ``run``."""
        self._stop.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, report started, serve until asked to stop or cancelled.

        Raises:
            ListenError: a port is taken, or not ours to take.
        """
        self._stop = trio.Event()
        sockets: list[socket.socket] = []
        try:
            for listener in self._listeners:
                sockets.append(bind(listener))
            self.ports = tuple(bound.getsockname()[1] for bound in sockets)
            operator = self._listeners[1]
            if not is_loopback(operator.host):
                self._warn(
                    f"the operator's listener is bound to {operator.host}, which others can"
                    " reach: it can halt and flatten; put it behind a tunnel or bind 127.0.0.1"
                )
            async with trio.open_nursery() as nursery:
                for listener, bound in zip(self._listeners, sockets, strict=True):
                    await nursery.start(partial(self._serve, listener.app, bound))
                task_status.started()
        finally:
            self.ports = ()
            for bound in sockets:
                bound.close()

    async def _serve(
        self, app: Any, bound: socket.socket, task_status: trio.TaskStatus[Any]
    ) -> None:
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
            app, config, shutdown_trigger=self._stop.wait, task_status=task_status, mode="asgi"
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
