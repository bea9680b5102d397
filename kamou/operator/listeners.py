"""The operator's Unix socket and TCP listener, bound before supervision starts.

Each listener is its own child of the supervisor ``operators``. The socket stays open when its
listener crashes, so a restart cannot fail because another process took the port.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from kamou.data_directory.folder import Announce, DataDirectory
from kamou.errors import SocketsUnsupportedError
from kamou.http.limits import OPERATOR
from kamou.http.server import Listener, Server, bind, is_loopback
from kamou.http.traffic import Traffic
from kamou.operator.app import Operations, default_hosts, operator_app
from kamou.operator.token import new_token
from kamou.operator.unix_socket import bind_socket, remove_socket
from kamou.runtime.supervision import ChildSpec, SupervisorSpec
from kamou.settings.config import WebSettings

SOCKET_HOST = "localhost"  # the Host that a client sends over the Unix socket
LISTENER_SHUTDOWN_S = 2.0
"""Deadline of one listener at a stop. Most requests take milliseconds; a longer one is cut."""


@attrs.frozen(kw_only=True, eq=False)
class OperatorListeners:
    """The bound addresses, their traffic, and the supervisor that serves them."""

    spec: SupervisorSpec
    socket_path: Path | None  # None: the file system has no sockets
    tcp_port: int | None  # None: web.operator_tcp is off
    traffic: Mapping[str, Traffic]  # by the id of the child


@contextlib.contextmanager
def bind_listeners(
    data_dir: DataDirectory, web: WebSettings, operations: Operations, announce: Announce
) -> Iterator[OperatorListeners]:
    """Write a new token and bind the listeners; close them at the end of the block.

    The Unix socket is left out on a file system without sockets, and TCP if ``web.operator_tcp`` is
    off. The caller holds the lock of the data directory. ``announce`` takes lines for the terminal.

    Raises:
        ListenError: the TCP port or the Unix socket cannot be bound.
        SocketsUnsupportedError: the file system has no sockets, and TCP is off.
        StoreError: the token cannot be written, or a file that is no socket has the socket's path.
        OSError: the socket of an earlier run cannot be removed, or no descriptor is free.
    """
    with contextlib.ExitStack() as stack:
        servers: dict[str, Server] = {}
        token = new_token(data_dir.token)  # also with TCP off, so that an old token is invalid
        unix = _bind_unix(data_dir, web, announce)
        if unix is not None:
            stack.callback(remove_socket, data_dir.operator_socket)
            stack.enter_context(unix)
            servers["operator-socket"] = _unix_server(operations, unix, announce)
        tcp = None
        if web.operator_tcp:
            listener = _tcp_listener(operations, token, web, announce)
            tcp = stack.enter_context(bind(listener))
            servers["operator"] = Server(listener, bound=tcp, warn=announce)
        children = tuple(_child(id_, server) for id_, server in servers.items())
        yield OperatorListeners(
            spec=SupervisorSpec(id="operators", children=children, intensity=None),
            socket_path=data_dir.operator_socket if unix is not None else None,
            tcp_port=tcp.getsockname()[1] if tcp is not None else None,
            traffic={id_: server.traffic for id_, server in servers.items()},
        )


def _bind_unix(
    data_dir: DataDirectory, web: WebSettings, announce: Announce
) -> socket.socket | None:
    """Return the bound Unix socket; without socket files, announce that, return None.

    Raises:
        SocketsUnsupportedError: the file system has no sockets, and TCP is off.
        ListenError: the socket cannot be bound for another reason.
        StoreError: a file that is no socket has the socket's path.
        OSError: the socket of an earlier run cannot be removed.
    """
    try:
        return bind_socket(data_dir.operator_socket)
    except SocketsUnsupportedError as error:
        if not web.operator_tcp:
            raise SocketsUnsupportedError(
                f"{error}, or set web.operator_tcp = true; without both no command reaches this run"
            ) from error
        announce(f"{error}; until then the commands use the operator's TCP listener")
        return None


def _unix_server(operations: Operations, bound: socket.socket, announce: Announce) -> Server:
    listener = Listener(
        app=operator_app(operations, token=None, allowed_hosts=(SOCKET_HOST,)),
        host=SOCKET_HOST,
        port=0,
        setting="data_dir",
        option="--data-dir",
        limits=OPERATOR,
    )
    return Server(listener, bound=bound, warn=announce)


def _tcp_listener(
    operations: Operations, token: str, web: WebSettings, announce: Announce
) -> Listener:
    if not is_loopback(web.operator_host):
        announce(
            f"the operator's listener can halt and flatten, and others can reach its address"
            f" {web.operator_host}; put the listener behind a tunnel, or set web.operator_host to"
            " 127.0.0.1"
        )
    return Listener(
        app=operator_app(operations, token=token, allowed_hosts=default_hosts(web.operator_host)),
        host=web.operator_host,
        port=web.operator_port,
        setting="web.operator_port",
        option="--operator-port",
        limits=OPERATOR,
    )


def _child(id_: str, server: Server) -> ChildSpec:
    return ChildSpec(
        id=id_, start=server.run, stop=server.ask_to_stop, shutdown_s=LISTENER_SHUTDOWN_S
    )
