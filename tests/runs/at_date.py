"""Entry point of ``kamou`` with the machine's clock set ahead or back.

``python tests/runs/at_date.py AHEAD_MS VERB ...``; the generated market is then the same on any
day.
"""

from __future__ import annotations

import sys

from kamou.clock import SystemClock

real_now_ms = SystemClock.now_ms
ahead_ms = int(sys.argv[1])


def now_ms(self: SystemClock) -> int:
    return real_now_ms(self) + ahead_ms


if __name__ == "__main__":
    SystemClock.now_ms = now_ms  # type: ignore[method-assign]  # the clock of this process is set
    from kamou.cli import main

    main(sys.argv[2:])
