"""The operator's Unix socket: bound and removed by a run, checked by a client.

The run holds the data directory's lock. The kernel reports the process and the user that listen on
a Unix socket. The socket needs no token, because only the user who runs Kamou can open its file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import attrs

from kamou.data_directory.private_files import FILE_MODE, set_mode
from kamou.errors import ListenError, SocketsUnsupportedError, StoreError

NAME_BYTES_MAX = 107  # sun_path has 108 bytes, the last one NUL (unix(7))
BACKLOG = 16  # commands that wait to be accepted; an operator sends one
DESCRIPTORS = Path("/proc/self/fd")
UNSUPPORTED = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EAFNOSUPPORT, errno.EINVAL}
)
"""Errors of ``bind`` on a file system without sockets (FAT: EPERM), or without AF_UNIX."""


@attrs.frozen(kw_only=True)
class ListeningProcess:
    """The ids of the process that listens on a socket, as the kernel reports them."""

    pid: int
    uid: int


@contextlib.contextmanager
def reachable_name(path: Path) -> Iterator[str]:
    """Yield a name of ``path`` that is short enough for a socket.

    The name is valid within the block. A path of more than ``NAME_BYTES_MAX`` bytes is named
    through a descriptor of its directory. Without /proc the working directory is changed within the
    block, so call it before any thread is started.

    Raises:
        OSError: the directory cannot be opened.
    """
    if len(os.fsencode(path)) <= NAME_BYTES_MAX:
        yield str(path)
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:
        descriptor = os.open(path.parent, flags)
        stack.callback(os.close, descriptor)
        if DESCRIPTORS.is_dir():
            yield f"{DESCRIPTORS}/{descriptor}/{path.name}"
            return
        before = os.open(".", flags)
        stack.callback(os.close, before)
        stack.callback(os.fchdir, before)
        os.fchdir(descriptor)
        yield path.name


def bind_socket(path: Path) -> socket.socket:
    """Return a socket that listens at ``path``, mode 0600.

    The caller holds the lock of the data directory, so an existing socket is that of an ended run
    and is replaced.

    Raises:
        SocketsUnsupportedError: the file system or the system has no Unix sockets.
        ListenError: the socket cannot be bound for another reason.
        StoreError: a file that is no socket has this path.
        OSError: the old socket cannot be removed.
    """
    _remove_old_socket(path)
    bound: socket.socket | None = None
    try:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with reachable_name(path) as name:
            set_mode(bound.fileno(), FILE_MODE)  # Linux: the mode that bind gives the file
            bound.bind(name)
            set_mode(Path(name), FILE_MODE)
        bound.listen(BACKLOG)
    except OSError as error:
        if bound is not None:
            bound.close()
        kind = SocketsUnsupportedError if error.errno in UNSUPPORTED else ListenError
        raise kind(
            f"cannot listen on the operator's socket {path}: {error.strerror or error}; choose a "
            "writable data directory on a local file system with --data-dir"
        ) from error
    return bound


def remove_socket(path: Path) -> None:
    """Remove the file of a socket that this run has closed.

    The caller holds the lock. A file that cannot be removed stays; the next run replaces it.
    """
    with contextlib.suppress(OSError):
        path.unlink()


def listening_peer(path: Path, *, deadline_s: float) -> ListeningProcess | None:
    """Connect to the socket; return the process that listens, or None if none does.

    Raises:
        TimeoutError: no connection within ``deadline_s``.
        OSError: this user may not connect, the listener's backlog is full, or the system does not
            report the peer.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        raise OSError(errno.ENOTSUP, "this system does not report which process has a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(deadline_s)
        try:
            with reachable_name(path) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        size = struct.calcsize("3i")
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, uid, _ = struct.unpack("3i", credentials)
    return ListeningProcess(pid=pid, uid=uid)


def _remove_old_socket(path: Path) -> None:
    """Remove the socket of an ended run.

    Raises:
        StoreError: a file that is no socket has this path.
        OSError: the socket cannot be removed.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StoreError(
            f"{path} must be the operator's socket, but the file there is not a socket; move it "
            "away, or choose another data directory with --data-dir"
        )
    path.unlink()
