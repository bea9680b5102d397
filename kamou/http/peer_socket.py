"""``PeerSocket``, an accepted socket whose writes wait a limited time."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from enum import Enum, auto

import trio

SEND_BUFFER_BYTES = 128 * 1024  # one page; more would only use the kernel's memory
LINGER_S = 1.0  # for reading from a peer that still sends; a reset could discard the response
LINGER_BYTES_MAX = 256 * 1024  # of such reading
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: discard unsent bytes and send a reset
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class SendResult(Enum):
    """The result of ``PeerSocket.send``."""

    ALL = auto()
    STALLED = auto()  # the peer read nothing for ``stall_s``
    GONE = auto()  # the peer has closed or reset the connection, or the write failed


class PeerSocket:
    """A non-blocking socket; one task may read while another writes.

    The owner calls ``close`` once, at the end. A write waits only if the kernel's buffer is full,
    because most responses fit and a checkpoint costs more than the call.
    """

    def __init__(self, raw: socket.socket) -> None:
        raw.setblocking(False)  # noqa: FBT003  # the method takes it by position only
        self._raw = raw
        if raw.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):  # the connection is lost; the first read reports it
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive(self, bytes_max: int) -> bytes:
        """Return up to ``bytes_max`` bytes; none at the end or if the connection is lost.

        Raises:
            OSError: the system has no descriptor or memory for the read.
        """
        while True:
            await trio.lowlevel.wait_readable(self._raw)  # usually no byte is there yet
            try:
                return self._raw.recv(bytes_max)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in EXHAUSTED:
                    raise
                return b""

    async def send(self, data: bytes, *, stall_s: float) -> SendResult:
        """Write ``data`` until all is written, the peer stalls for ``stall_s`` or is gone."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._raw.send(rest) :]
            except BlockingIOError:
                with trio.move_on_after(stall_s) as patience:
                    await trio.lowlevel.wait_writable(self._raw)
                if patience.cancelled_caught:
                    return SendResult.STALLED
            except OSError:
                return SendResult.GONE
        return SendResult.ALL

    def send_now(self, data: bytes) -> None:
        """Write as much as the kernel accepts at once: the last bytes before a close."""
        with contextlib.suppress(OSError):  # includes BlockingIOError, of a peer that does not read
            self._raw.send(data)

    async def finish(self) -> None:
        """Shut down writing; read until the peer ends, ``LINGER_S`` at most.

        Reading also ends after about ``LINGER_BYTES_MAX`` bytes. A connection that is already lost
        is not read.

        Closing a socket with unread bytes sends a reset, which can reach the peer before it has
        read the last response (RFC 9112, 9.6).

        Raises:
            OSError: as ``receive``.
        """
        try:
            self._raw.shutdown(socket.SHUT_WR)
        except OSError:
            return
        received = 0
        with trio.move_on_after(LINGER_S):
            while received < LINGER_BYTES_MAX:
                data = await self.receive(64 * 1024)
                if not data:
                    return
                received += len(data)

    def reset(self) -> None:
        """Make ``close`` reset the connection and discard unsent bytes, to free memory."""
        with contextlib.suppress(OSError):
            self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def close(self) -> None:
        """Close the socket; no task may be waiting for it."""
        self._raw.close()
