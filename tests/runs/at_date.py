"""Entry point of ``kamou`` with another date, and with the assumed gate.

``python tests/runs/at_date.py AHEAD_MS VERB ...``; the generated market is then the same on any
day.
"""

from __future__ import annotations

import sys
from functools import partial

from kamou.clock import SystemClock

real_now_ms = SystemClock.now_ms
ahead_ms = int(sys.argv[1])


def now_ms(self: SystemClock) -> int:
    return real_now_ms(self) + ahead_ms


if __name__ == "__main__":
    SystemClock.now_ms = now_ms  # type: ignore[method-assign]  # the clock of this process is set
    from kamou.cli import main
    from kamou.runs import service
    from kamou.runs.assumed_live import AssumedLiveGate

    # A few days earn no size, so these runs have a gate that no run of Kamou can have.
    service.Service = partial(service.Service, gate=AssumedLiveGate())  # type: ignore[misc,assignment]  # in this process only
    main(sys.argv[2:])
