"""A child process with a given fate, which ends with its parent."""

from __future__ import annotations

import os
import select
import sys

from kamou.site.process_protocol import Heartbeat, encode_heartbeat

BEAT = encode_heartbeat(
    Heartbeat(
        requests=1,
        connections=0,
        accepted=0,
        refused=0,
        cut=0,
        failed=0,
        renders=0,
        memory_bytes=50 * 1024 * 1024,
        descriptors=10,
    )
)


def parent_lives(wait_s: float) -> bool:
    """Wait up to ``wait_s``; return False if standard input has ended."""
    readable, _, _ = select.select([0], [], [], wait_s)
    return not readable or bool(os.read(0, 65_536))


def main(fate: str) -> None:
    if fate != "never_serves":
        os.write(1, BEAT)
    if fate == "crashes":
        raise MemoryError
    while parent_lives(0.01 if fate in ("floods", "garbles") else 0.2):
        if fate == "floods":
            os.write(2, b"x" * 100_000)
        elif fate == "garbles":
            os.write(1, b"x" * len(BEAT))
        elif fate == "hangs":
            import signal

            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif fate != "never_serves":
            os.write(1, BEAT)


if __name__ == "__main__":
    main(sys.argv[1])
