"""One accepted socket: reads, and writes with a bound on each wait for the peer."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from enum import Enum, auto

import trio

SEND_BUFFER_BYTES = 128 * 1024  # a whole page; more would only use the system's memory
LINGER_S = 1.0  # for reading a peer that still sends; a reset could discard our answer
LINGER_BYTES_MAX = 256 * 1024
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: drop what is unsent and answer with a reset
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Sent(Enum):
    """How a write ended."""

    ALL = auto()
    STALLED = auto()  # the peer read nothing for the time it had
    GONE = auto()  # the peer has closed or reset the connection


class Wire:
    """A non-blocking socket. One task may read while another writes; ``close`` it once, at the end.

    A write tries the socket first and waits only if the system's buffer is full. Most answers fit,
    and a checkpoint costs more than the call.
    """

    def __init__(self, raw: socket.socket) -> None:
        raw.setblocking(False)
        self._raw = raw
        if raw.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):  # it is lost already; the first read says so
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive(self, bytes_max: int) -> bytes:
        """Return bytes of the peer; empty at its end, or if the connection is lost."""
        while True:
            await trio.lowlevel.wait_readable(self._raw)  # first: mostly nothing is there yet
            try:
                return self._raw.recv(bytes_max)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in EXHAUSTED:
                    raise
                return b""

    async def send(self, data: bytes, *, stall_s: float) -> Sent:
        """Write all of ``data``; ``stall_s`` is the longest time without any progress."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._raw.send(rest) :]
            except BlockingIOError:
                with trio.move_on_after(stall_s) as patience:
                    await trio.lowlevel.wait_writable(self._raw)
                if patience.cancelled_caught:
                    return Sent.STALLED
            except OSError:
                return Sent.GONE
        return Sent.ALL

    def send_now(self, data: bytes) -> None:
        """Write what the system takes at once, and no more; for the last bytes before a close."""
        with contextlib.suppress(OSError):  # BlockingIOError too: it does not read anyway
            self._raw.send(data)

    async def finish(self) -> None:
        """Shut down writing, and read what the peer still sends for at most ``LINGER_S``.

        Closing a socket with unread bytes sends a reset, which can reach the peer before it has
        read our last answer (RFC 9112, 9.6).
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
        """Make ``close`` drop bytes that the peer has not read, which frees the system's memory."""
        with contextlib.suppress(OSError):
            self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def close(self) -> None:
        """Close the socket. No task may be waiting for it."""
        self._raw.close()
