"""A port for tests that need the same port twice."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import closing

# Linux gives ports from 32768 on to connections and to listeners on port 0 (ip(7)), so one of
# those may go to another test between two uses.
LOWEST, ABOVE = 20_000, 32_768


def find_port_for_two_uses() -> int:
    """Return a free port of 127.0.0.1 that the system gives to nobody who does not ask for it."""
    own = os.getpid() * 7 % (ABOVE - LOWEST)  # tests in parallel begin elsewhere
    for port in itertools.chain(range(LOWEST + own, ABOVE), range(LOWEST, LOWEST + own)):
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
