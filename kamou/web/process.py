"""The public site's process: ``python -P -m kamou.web.process``.

The trading process starts it. It reads its handover from standard input, sets its limits, and only
then imports the pages. It writes heartbeats to standard output and text to standard error.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import trio

from kamou.site.process_protocol import (
    HANDOVER_BYTES_MAX,
    Heartbeat,
    SiteHandover,
    decode_handover,
    encode_heartbeat,
)
from kamou.web.guard import Guard, end_without_memory, write_line

if TYPE_CHECKING:
    from kamou.web.serving import Serving

LIFELINE_PIPE, NUMBERS_PIPE, TEXT_PIPE = 0, 1, 2  # descriptors
EXIT_BAD_HANDOVER = 2  # exit code
READ_BYTES = 65_536  # of one read


def main() -> NoReturn:
    """Serve the pages until a stop signal, and exit.

    The exit code is 0 after a stop signal, ``EXIT_BAD_HANDOVER`` for an invalid handover, and that
    of ``Guard`` or ``end_without_memory`` if one of these ends the process.
    """
    numbers = os.dup(NUMBERS_PIPE)
    os.dup2(TEXT_PIPE, NUMBERS_PIPE)  # so that output of a print is text and no heartbeat
    os.set_blocking(numbers, False)  # a parent that does not read must not block the pages
    try:
        handover = decode_handover(read_line(LIFELINE_PIPE, HANDOVER_BYTES_MAX))
    except ValueError as error:
        write_line(
            f"standard input has no valid handover: {error}; start the site with `kamou run`, or"
            " serve a database with `kamou site`"
        )
        sys.exit(EXIT_BAD_HANDOVER)
    guard = Guard(lifeline=LIFELINE_PIPE, render_max_s=handover.render_max_s)
    guard.start()
    take_limits(handover)
    try:
        serve(handover, guard, numbers)
    except* MemoryError:
        end_without_memory()
    sys.exit(0)


def read_line(descriptor: int, bytes_max: int) -> bytes:
    """Return the bytes of a descriptor until a read ends in a line break, or the end.

    Raises:
        ValueError: the line is longer than ``bytes_max``.
    """
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(descriptor, READ_BYTES)
        if not chunk:
            break
        line += chunk
        if len(line) > bytes_max:
            raise ValueError(f"the line is longer than {bytes_max} bytes")
    return line


def take_limits(handover: SiteHandover) -> None:
    """Set the limits of this process: memory, descriptors, core dumps and file modes."""
    os.umask(0o077)
    if handover.memory_max_bytes:
        set_limit(resource.RLIMIT_AS, handover.memory_max_bytes)
    set_limit(resource.RLIMIT_NOFILE, handover.descriptors_max)
    set_limit(resource.RLIMIT_CORE, 0)


def set_limit(which: int, limit: int) -> None:
    """Set soft and hard limit of a resource, at most to its present hard limit."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(which, (limit, limit))


def serve(handover: SiteHandover, guard: Guard, numbers: int) -> None:
    """Serve the pages on the handed-over socket until a stop signal."""
    from kamou.store.latest_run import ASSUMED_GATE
    from kamou.web.serving import make_serving, serve_until_signal
    from kamou.web.site import Site

    site = Site(
        mode=handover.mode,
        currency=handover.currency,
        assumed_live=handover.gate == ASSUMED_GATE,
        pricing_markdown=handover.pricing_markdown,
        public_url=handover.public_url,
    )
    bound = socket.socket(fileno=handover.socket)
    served = make_serving(Path(handover.database), site, guard, bound, handover.limits)
    os.nice(handover.nice)  # after the imports, which take 0.5 s at full priority
    trio.run(serve_until_signal, served, partial(send_heartbeats, served, guard, handover, numbers))
    bound.close()


async def send_heartbeats(
    served: Serving, guard: Guard, handover: SiteHandover, descriptor: int
) -> None:
    """Send a heartbeat at once and then every ``heartbeat_s``, until canceled."""
    while True:
        # The parent does not read, or has ended, which the guard notices.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(descriptor, encode_heartbeat(measure_process(served, guard)))
        await trio.sleep(handover.heartbeat_s)


def measure_process(served: Serving, guard: Guard) -> Heartbeat:
    """Return the present figures of this process."""
    traffic = served.server.traffic
    return Heartbeat(
        requests=traffic.requests,
        connections=traffic.connections_now,
        accepted=traffic.connections_total,
        refused=sum(traffic.refused.values()),
        cut=sum(traffic.cut.values()),
        failed=traffic.failed,
        renders=guard.renders,
        memory_bytes=resident_bytes(),
        descriptors=len(os.listdir("/dev/fd")),
    )


def resident_bytes() -> int:
    """Return the resident memory in bytes; without /proc, its maximum so far."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
